"""Making music from parameters to files, as one function that raises; `api.generate_music` wraps it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.formats import prepare_output_dir
from acestep_like.inference.handlers import loaded_dit, optional_lm
from acestep_like.inference.inputs import prepare
from acestep_like.inference.merge import diffusion_requests, merge_items
from acestep_like.inference.postprocess import SAMPLE_RATE, finish_audio, is_silent
from acestep_like.inference.recipes import audio_key, file_recipe, item_params, save_all
from acestep_like.inference.report import extra_outputs, status_message
from acestep_like.inference.source_analysis import apply_detected_plan, part_to_analyse
from acestep_like.inference.thinking import apply_caption_facts, think
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.progress import CancelToken, Observer, Progress, StepEvent
from acestep_like.types.results import AudioResult, GenerationResult

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.inference.inputs import GenerationJob
    from acestep_like.inference.merge import Item
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.diffusion.request import DiffusionOutput, DiffusionRequest
    from acestep_like.models.lm.requests import LMOutput

# Where each stage ends on the progress scale; upstream's numbers, fed by real counts.
_PREPARING, _STEPS_BEGIN, _STEPS_DONE, _SAVING = 0.51, 0.52, 0.8, 0.99


def run_pipeline(
    dit_handler: AceStepHandler | None,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig | None,
    save_dir: str | Path | None,
    report: Progress,
    on_step: Observer | None,
    cancel: CancelToken | None,
) -> GenerationResult:
    """Make music: what `generate_music` does, but raising. `on_step` may raise too; what it raises passes.

    Raises:
        AceStepError: of any kind; nothing was written.
    """
    clock = _Clock()
    dit, checkpoint = loaded_dit(dit_handler)
    lm = optional_lm(llm_handler)
    job = prepare(params, GenerationConfig() if config is None else config, checkpoint)
    if lm is not None and lm.defers_to_words:
        job = apply_caption_facts(job)
    folder = None if save_dir is None else prepare_output_dir(save_dir)
    clock.lap("preparation_time")

    thoughts = think(job, lm, report, cancel)
    clock.lap("lm_total_time")
    if job.source is not None and (part := part_to_analyse(job)) is not None:
        encoded = dit.encode_audio((job.source.samples, SAMPLE_RATE), cancel=cancel)
        job = apply_detected_plan(replace(job, encoded=encoded), dit.detect_structure(encoded, part))
    items = merge_items(job, thoughts or [None] * len(job.seeds))
    requests = diffusion_requests(job, items)
    report(_PREPARING, "Preparing inputs...")
    clock.lap("preparation_time")

    with dit.reserved(cancel):  # the adapters that are noted are those that every item was sampled with
        outputs = _sample(dit, requests, report, on_step, cancel)
        loras = [lora.facts() for lora in dit.loras if lora.scale != 0]
    clock.lap("dit_total_time_cost")

    lm_name = lm.name if lm is not None and thoughts else ""
    audios, seams = _audios(job, items, outputs, lm_name, {"loras": loras} if loras else {})
    report(_SAVING, "Preparing audio data...")
    if cancel is not None:
        cancel.raise_if_cancelled()
    if folder is not None:
        save_all(audios, folder, job.config, file_recipe(checkpoint, lm_name))
    clock.lap("saving_time")
    extra = extra_outputs(thoughts, items, outputs, clock.costs(thoughts, outputs))
    extra["loras"] = loras
    if any(seams):
        extra["seams"] = seams
    report(1.0, "Done")
    return GenerationResult(
        audios, status_message(job, thoughts, items, outputs, audios, lm_loaded=lm is not None), extra
    )


def _sample(
    dit_handler: AceStepHandler,
    requests: Sequence[tuple[list[int], DiffusionRequest]],
    report: Progress,
    on_step: Observer | None,
    cancel: CancelToken | None,
) -> list[tuple[list[int], DiffusionOutput]]:
    """Run every request; report the steps of all of them on one scale."""
    outputs = []
    width = (_STEPS_DONE - _STEPS_BEGIN) / len(requests)
    for index, (places, request) in enumerate(requests):
        start = _STEPS_BEGIN + index * width
        report(start, f"Generating music (batch size: {len(places)})...")

        def observe(event: StepEvent, start: float = start, places: Sequence[int] = places) -> None:
            if on_step is not None:
                on_step(replace(event, items=tuple(places[row] for row in event.items)))
            text = "Decoding audio..." if event.step == event.total else f"Step {event.step} of {event.total}"
            report.span(start, start + width, event.step, event.total, text)

        outputs.append((places, dit_handler.generate(request, observer=observe, cancel=cancel)))
    return outputs


def _audios(
    job: GenerationJob,
    items: Sequence[Item],
    outputs: Sequence[tuple[list[int], DiffusionOutput]],
    lm_name: str,
    adapters: dict[str, Any],
) -> tuple[list[AudioResult], list[dict[str, Any] | None]]:
    """The finished audios in the order of the items, unsaved, and their seam reports."""
    raw = {place: output.audio[row] for places, output in outputs for row, place in enumerate(places)}
    audios, seams = [], []
    for place, item in enumerate(items):
        finished = finish_audio(job, item, raw[place])
        params = {**item_params(job, item, lm_name), **adapters}
        silent = is_silent(finished.samples)
        key = audio_key(params)
        audios.append(AudioResult("", finished.samples, key, SAMPLE_RATE, params, silent))
        seams.append(finished.seams)
    return audios, seams


class _Clock:
    """Wall-clock laps; the laps of a run add up to its total."""

    def __init__(self) -> None:
        self._begin = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Add the time since the last lap to `name`."""
        now = time.perf_counter()
        self._laps[name] = self._laps.get(name, 0.0) + now - self._last
        self._last = now

    def costs(
        self, thoughts: Sequence[LMOutput] | None, outputs: Sequence[tuple[list[int], DiffusionOutput]]
    ) -> dict[str, float]:
        """`time_costs` in seconds. The four totals (preparation, LM, DiT, saving) add up to the pipeline's."""
        costs: dict[str, float] = {}
        for _, output in outputs:
            for name, seconds in output.time_costs.items():
                costs[name] = costs.get(name, 0.0) + seconds
        if "dit_diffusion_per_step_time_cost" in costs:  # a rate, not a sum
            costs["dit_diffusion_per_step_time_cost"] /= len(outputs)
        costs["dit_total_time_cost"] = self._laps["dit_total_time_cost"]
        costs["preparation_time"] = self._laps["preparation_time"]
        costs["saving_time"] = self._laps["saving_time"]
        if thoughts is not None:
            costs["lm_phase1_time"] = sum(thought.phase1_s for thought in thoughts)
            costs["lm_phase2_time"] = sum(thought.phase2_s for thought in thoughts)
            costs["lm_total_time"] = self._laps["lm_total_time"]
        costs["pipeline_total_time"] = self._last - self._begin
        return costs
