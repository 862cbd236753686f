"""Making music from parameters to files, as one function that raises; `api.generate_music` wraps it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.audio.formats import parse_format, prepare_output_dir
from acestep_like.audio.level import INAUDIBLE_PEAK, is_silent
from acestep_like.errors import InputError
from acestep_like.inference.handlers import loaded_dit, optional_lm
from acestep_like.inference.inputs import read_order, read_references, read_source
from acestep_like.inference.job import Models, run_steps, step
from acestep_like.inference.merge import build_requests, merge_items
from acestep_like.inference.postprocess import finish_audio
from acestep_like.inference.recipes import audio_key, file_recipe, item_params, save_all
from acestep_like.inference.report import extra_outputs, status_message
from acestep_like.inference.source_analysis import detect_structure
from acestep_like.inference.thinking import read_caption_facts, think
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.progress import CancelToken, Observer, Progress, StepEvent
from acestep_like.types.results import AudioResult, GenerationResult
from acestep_like.types.units import SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.inference.job import GenerationJob
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.diffusion.request import DiffusionOutput, DiffusionRequest
    from acestep_like.models.lm.requests import LMOutput

# Where each stage ends on the progress scale; upstream's numbers, fed by real counts.
_PREPARING, _STEPS_BEGIN, _STEPS_DONE, _SAVING = 0.51, 0.52, 0.8, 0.99


READING = (
    step(read_source, adds="source windows lineage known"),
    step(read_references, adds="references lineage", needs="lineage"),
)
"""The audio of an order. No model runs yet: what can be wrong with the input is known afterwards."""
THINKING = (
    step(read_caption_facts, adds="defers_to_caption caption_facts"),
    step(think, adds="lm_outputs", needs="caption_facts"),
)
"""What the language model decides."""
ASKING = (
    step(detect_structure, adds="encoded detected", needs="source known"),
    step(
        merge_items,
        adds="items",
        needs="source known lm_outputs defers_to_caption caption_facts detected",
    ),
    step(build_requests, adds="requests", needs="items source windows references encoded"),
)
"""All of it joined to what the DiT is asked."""


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
    models = Models(dit, optional_lm(llm_handler), report, _checked_token(cancel))
    job = read_order(params, GenerationConfig() if config is None else config, checkpoint)
    job = run_steps(READING, job, models)
    if save_dir is not None:
        parse_format(job.config.audio_format)  # what it needs must be installed
    folder = None if save_dir is None else prepare_output_dir(save_dir)
    clock.lap("preparation_time")
    job = run_steps(THINKING, job, models)
    clock.lap("lm_total_time")
    job = run_steps(ASKING, job, models)
    report(_PREPARING, "Preparing inputs...")
    clock.lap("preparation_time")

    with dit.reserved(cancel):  # the adapters that are noted are those that every item was sampled with
        outputs = _sample(dit, job.requests, report, on_step, cancel)
        loras = [lora.facts() for lora in dit.loras if lora.scale != 0]
    clock.lap("dit_total_time_cost")

    lm_name = models.lm.name if models.lm is not None and job.lm_outputs else ""
    audios, seams = _audios(job, outputs, lm_name, {"loras": loras} if loras else {})
    report(_SAVING, "Preparing audio data...")
    if cancel is not None:
        cancel.raise_if_cancelled()
    if folder is not None:
        save_all(audios, folder, job.config, file_recipe(checkpoint, lm_name))
    clock.lap("saving_time")
    extra = extra_outputs(job, outputs, clock.costs(job.lm_outputs, outputs))
    extra["loras"] = loras
    if any(seams):
        extra["seams"] = seams
    report(1.0, "Done")
    status = status_message(job, outputs, audios, lm_loaded=models.lm is not None)
    return GenerationResult(audios, status, extra)


def _checked_token(cancel: CancelToken | None) -> CancelToken | None:
    if cancel is not None and not isinstance(cancel, CancelToken):
        raise InputError("cancel", cancel, "a CancelToken, or None")
    return cancel


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
    outputs: Sequence[tuple[list[int], DiffusionOutput]],
    lm_name: str,
    adapters: dict[str, Any],
) -> tuple[list[AudioResult], list[dict[str, Any] | None]]:
    """The finished audios in the order of the items, unsaved, and their seam reports."""
    raw = {place: output.audio[row] for places, output in outputs for row, place in enumerate(places)}
    audios, seams = [], []
    for place, item in enumerate(job.items):
        finished = finish_audio(job, item, raw[place])
        params = {**item_params(job, item, lm_name), **adapters}
        silent = is_silent(finished.samples, INAUDIBLE_PEAK)
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
        self, lm_outputs: Sequence[LMOutput] | None, outputs: Sequence[tuple[list[int], DiffusionOutput]]
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
        if lm_outputs is not None:
            costs["lm_phase1_time"] = sum(answer.phase1_s for answer in lm_outputs)
            costs["lm_phase2_time"] = sum(answer.phase2_s for answer in lm_outputs)
            costs["lm_total_time"] = self._laps["lm_total_time"]
        costs["pipeline_total_time"] = self._last - self._begin
        return costs
