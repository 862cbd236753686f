"""The four public functions: `generate_music`, `understand_music`, `create_sample`, `format_sample`.

Each is a short composition over the two handlers. Errors of this package never leave them: they come back as
`success=False` with one sentence in `error`. Either handler may be absent (None) where it is not needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.descriptions import Settings, check_argument, checked_metadata, describe
from acestep_like.errors import AceStepError, InputError, LMError, NotLoadedError
from acestep_like.params import GenerationConfig, GenerationParams
from acestep_like.progress import CancelToken, Observer, Progress, StepEvent, stop_on_error
from acestep_like.results import AudioResult, CreateSampleResult, FormatSampleResult, GenerationResult, UnderstandResult

if TYPE_CHECKING:
    from acestep_like.diffusion.request import DiffusionOutput, DiffusionRequest
    from acestep_like.handler import AceStepHandler
    from acestep_like.items import Item
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.lm.requests import Description, ThinkRequest, Thought
    from acestep_like.preparation import Job

__all__ = [
    "AudioResult",
    "CreateSampleResult",
    "FormatSampleResult",
    "GenerationConfig",
    "GenerationParams",
    "GenerationResult",
    "UnderstandResult",
    "create_sample",
    "format_sample",
    "generate_music",
    "understand_audio",
    "understand_music",
]

_DONE = "✅ Generation completed successfully!"
_NO_DIT = ("❌ Model not fully initialized. Please initialize all components first.", "Model not fully initialized")

# Where each stage ends on the progress scale; upstream's numbers, fed by real counts.
_LM_METADATA, _LM_DONE, _PREPARING, _STEPS_BEGIN, _STEPS_DONE, _SAVING = 0.1, 0.5, 0.51, 0.52, 0.8, 0.99


def generate_music(
    dit_handler: AceStepHandler | None,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig | None = None,
    save_dir: str | Path | None = None,
    progress: Callable[..., object] | None = None,
    *,
    on_step: Observer | None = None,
    cancel: CancelToken | None = None,
) -> GenerationResult:
    """Make music.

    Args:
        dit_handler: a loaded handler.
        llm_handler: a loaded handler, or None to work without thinking.
        params, config: what to make; neither is changed. `config` None takes the defaults.
        save_dir: folder for the files, made when missing; None saves none.
        progress: called as `progress(value, desc=text)` with a value from 0 to 1 from real counts. An exception
            raised in it stops the run.
        on_step: called after each step of the sampler with a `StepEvent` (clean estimate, `preview()` to listen in).
        cancel: a token whose `cancel()` stops the run within one step.

    Returns:
        The audios in order, or `success=False` with the reason in `error`, and then no file was left.
    """
    try:
        return _generate(dit_handler, llm_handler, params, config, save_dir, Progress(progress), on_step, cancel)
    except NotLoadedError as error:
        return _failed(_NO_DIT[0], error)
    except LMError as error:
        return _failed(f"❌ LM generation failed: {error}", error)
    except AceStepError as error:
        return _failed(f"Error: {error}", error)


def _failed(status: str, error: AceStepError) -> GenerationResult:
    return GenerationResult(success=False, status_message=status, error=str(error), exception=error)


def _generate(
    dit_handler: AceStepHandler | None,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig | None,
    save_dir: str | Path | None,
    report: Progress,
    on_step: Observer | None,
    cancel: CancelToken | None,
) -> GenerationResult:
    from acestep_like import delivery, hearing, preparation
    from acestep_like.items import diffusion_requests, settle_items

    clock = _Clock()
    if dit_handler is None or dit_handler.checkpoint is None:
        return GenerationResult(success=False, status_message=_NO_DIT[0], error=_NO_DIT[1])
    job = preparation.prepare(params, GenerationConfig() if config is None else config, dit_handler.checkpoint)
    if llm_handler is not None and llm_handler.defers_to_words:
        job = preparation.heed_words(job)
    folder = _output_folder(save_dir)
    clock.lap("preparation_time")

    thoughts = _think(job, llm_handler, report, cancel)
    clock.lap("lm_total_time")
    if job.source is not None and (part := hearing.part_to_hear(job)) is not None:
        encoded = dit_handler.encode_audio((job.source.samples, delivery.SAMPLE_RATE))
        job = hearing.heed_source(replace(job, encoded=encoded), dit_handler.heard_plan(encoded, part))
    items = settle_items(job, thoughts or [None] * len(job.seeds))
    requests = diffusion_requests(job, items)
    report(_PREPARING, "Preparing inputs...")
    clock.lap("preparation_time")

    outputs = _sample(dit_handler, requests, report, on_step, cancel)
    clock.lap("dit_total_time_cost")

    lm_name = llm_handler.name if llm_handler is not None and thoughts else ""
    loras = [lora.facts() for lora in getattr(dit_handler, "loras", ()) if lora.scale != 0]
    audios, seams = _audios(job, items, outputs, lm_name, {"loras": loras} if loras else {})
    report(_SAVING, "Preparing audio data...")
    if cancel is not None:
        cancel.raise_if_cancelled()
    if folder is not None:
        delivery.save_all(audios, folder, job.config, _recipe(dit_handler, lm_name))
    clock.lap("saving_time")
    extra = _extra_outputs(thoughts, items, outputs, clock.costs(thoughts, outputs))
    extra["loras"] = loras
    if any(seams):
        extra["seams"] = seams
    report(1.0, "Done")
    return GenerationResult(audios, _status(job, thoughts, items, outputs, llm_handler, audios), extra)


def _output_folder(save_dir: str | Path | None) -> Path | None:
    if save_dir is None:
        return None
    if not isinstance(save_dir, str | Path) or not str(save_dir).strip():
        raise InputError("save_dir", save_dir, "a folder, or None to save nothing")
    from acestep_like.audio.formats import prepare_output_dir

    return prepare_output_dir(save_dir)


def _think(
    job: Job, llm_handler: LLMHandler | None, report: Progress, cancel: CancelToken | None
) -> list[Thought] | None:
    """One thought an item, or None when the language model does not run."""
    from acestep_like.preparation import think_request

    ready = llm_handler is not None and bool(llm_handler.llm_initialized)
    request = think_request(job, ready)
    if request is None or llm_handler is None:
        return None

    thoughts = llm_handler.think(request, cancel=cancel, observer=_LMProgress(report, request))
    report(_LM_DONE, "Language model done")
    return thoughts


class _LMProgress:
    """Tokens of all chunks on one scale: a count that starts anew is the next chunk."""

    def __init__(self, report: Progress, request: ThinkRequest) -> None:
        size = request.chunk_size if request.allow_batch else 1
        self._chunks = -(-len(request.seeds) // size)
        self._report, self._phase, self._chunk, self._done = report, "", 0, 0

    def __call__(self, phase: str, done: int, most: int) -> None:
        if phase != self._phase:
            self._phase, self._chunk = phase, 0
        elif done < self._done:
            self._chunk += 1
        self._done = done
        start, end = (0.0, _LM_METADATA) if phase == "metadata" else (_LM_METADATA, _LM_DONE)
        text = "Planning the song..." if phase == "metadata" else "Writing audio codes..."
        self._report.span(start, end, self._chunk * most + done, self._chunks * most, text)


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
                with stop_on_error("The step callback"):
                    on_step(replace(event, items=tuple(places[row] for row in event.items)))
            text = "Decoding audio..." if event.step == event.total else f"Step {event.step} of {event.total}"
            report.span(start, start + width, event.step, event.total, text)

        outputs.append((places, dit_handler.generate(request, observer=observe, cancel=cancel)))
    return outputs


def _audios(
    job: Job,
    items: Sequence[Item],
    outputs: Sequence[tuple[list[int], DiffusionOutput]],
    lm_name: str,
    adapters: dict[str, Any],
) -> tuple[list[AudioResult], list[dict[str, Any] | None]]:
    """The finished audios in the order of the items, unsaved, and their seam reports."""
    from acestep_like import delivery

    raw = {place: output.audio[row] for places, output in outputs for row, place in enumerate(places)}
    audios, seams = [], []
    for place, item in enumerate(items):
        finished = delivery.finish_audio(job, item, raw[place])
        params = {**delivery.item_params(job, item, lm_name), **adapters}
        silent = delivery.is_silent(finished.samples)
        key = delivery.audio_key(params)
        audios.append(AudioResult("", finished.samples, key, delivery.SAMPLE_RATE, params, silent))
        seams.append(finished.seams)
    return audios, seams


def _recipe(dit_handler: AceStepHandler, lm_name: str) -> dict[str, Any]:
    """What a file's recipe says besides the parameters: versions and digests of the weights."""
    from acestep_like import __version__
    from acestep_like.checkpoints.hashes import hashes

    info = dit_handler.checkpoint
    assert info is not None
    return {"acestep_like": __version__, "checkpoint": {"name": info.name, "sha256": hashes(info)}, "lm": lm_name}


def _extra_outputs(
    thoughts: Sequence[Thought] | None,
    items: Sequence[Item],
    outputs: Sequence[tuple[list[int], DiffusionOutput]],
    time_costs: dict[str, float],
) -> dict[str, Any]:
    """Upstream's keys. Tensors are [B, ...], or a list of single items where their lengths differ."""

    def tensor(name: str) -> Any:
        parts = [getattr(output, name) for _, output in outputs]
        if any(part is None for part in parts):
            return None
        rows = {place: part[row] for (places, _), part in zip(outputs, parts, strict=True)
                for row, place in enumerate(places)}  # fmt: skip
        return parts[0] if len(parts) == 1 else [rows[place] for place in range(len(items))]

    latents, masks = tensor("latents"), tensor("chunk_masks")
    tokens = {place: output.lyric_token_ids[row] for places, output in outputs if output.lyric_token_ids
              for row, place in enumerate(places)}  # fmt: skip
    return {
        "lm_metadata": dict(thoughts[0].metadata) if thoughts else None,
        "lm_metadata_items": [dict(thought.metadata) for thought in thoughts] if thoughts else [],
        "time_costs": time_costs,
        "latents": latents,
        "masks": masks,
        "pred_latents": latents,
        "target_latents": tensor("source_latents"),
        "src_latents": tensor("source_latents"),
        "chunk_masks": masks,
        "latent_masks": masks,
        "context_latents": tensor("context_latents"),
        "encoder_hidden_states": tensor("encoder_hidden_states"),
        "encoder_attention_mask": tensor("encoder_attention_mask"),
        "lyric_token_idss": [list(tokens[place]) for place in sorted(tokens)],
        "timesteps": [float(value) for value in outputs[0][1].timesteps],
        "seed_value": ", ".join(str(item.request.seed) for item in items),
    }


def _status(
    job: Job,
    thoughts: Sequence[Thought] | None,
    items: Sequence[Item],
    outputs: Sequence[tuple[list[int], DiffusionOutput]],
    llm_handler: LLMHandler | None,
    audios: Sequence[AudioResult],
) -> str:
    """Upstream's lines, and one sentence for everything that was not done as asked."""
    notes = [*job.notes, *(note for item in items for note in item.notes)]
    notes += [note for _, output in outputs for note in output.status]
    if job.params.thinking and job.task.name == "text2music" and thoughts is None:
        ready = llm_handler is not None and llm_handler.llm_initialized
        if not ready:
            notes.append("No language model is loaded; nothing was planned by one.")
    silent = [str(place + 1) for place, audio in enumerate(audios) if audio.silent]
    if silent:
        notes.append(f"Item {', '.join(silent)} is silent and was not saved.")
    size = job.config.lm_batch_chunk_size if job.config.allow_lm_batch else 1
    chunks = [thoughts[start : start + size] for start in range(0, len(thoughts), size)] if thoughts else []
    lines = [_chunk_line(number, chunk) for number, chunk in enumerate(chunks, 1)]
    return "\n".join([*dict.fromkeys(notes), *lines, _DONE])


def _chunk_line(number: int, chunk: Sequence[Thought]) -> str:
    phase1, phase2 = sum(t.phase1_s for t in chunk), sum(t.phase2_s for t in chunk)
    return (
        f"✅ LM chunk {number}: phase1_time: {phase1:.2f}s, phase2_time: {phase2:.2f}s, "
        f"total_time: {phase1 + phase2:.2f}s"
    )


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
        self, thoughts: Sequence[Thought] | None, outputs: Sequence[tuple[list[int], DiffusionOutput]]
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


def understand_music(
    llm_handler: LLMHandler | None,
    audio_codes: str,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    *,
    seed: int = -1,
) -> UnderstandResult:
    """Read caption, lyrics, metadata and tracks from audio codes (`<|audio_code_N|>` repeated, 5 a second).

    `top_k` and `top_p` None are off; `seed` -1 draws one.
    """

    def ask(**options: Any) -> Description:
        check_argument("audio_codes", audio_codes)
        if not audio_codes.strip():
            raise InputError("audio_codes", audio_codes, "'<|audio_code_N|>' tokens", "No audio codes provided.")
        assert llm_handler is not None
        return llm_handler.understand(audio_codes, **options)

    settings = Settings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return describe(llm_handler, UnderstandResult(), ask, settings, "Failed to understand audio codes")


def understand_audio(
    dit_handler: AceStepHandler | None, llm_handler: LLMHandler | None, audio: Any, **options: Any
) -> UnderstandResult:
    """Read caption, lyrics, metadata, tracks and chords from a recording: `understand_music` on the codes of a file, an
    `(array, sample_rate)` pair or an earlier audio. `options` are those of `understand_music`.

    Where the checkpoint has ears, tracks, tempo, key, meter and chords are what those hear: latents tell more than
    codes.
    """
    if dit_handler is None or dit_handler.checkpoint is None:
        return UnderstandResult(success=False, status_message=_NO_DIT[0], error=_NO_DIT[1])
    try:
        encoded = dit_handler.encode_audio(audio)
        result = understand_music(llm_handler, dit_handler.convert_src_audio_to_codes(encoded), **options)
        if not result.success:
            return result
        chances, plan = dit_handler.heard_tracks(encoded), dit_handler.heard_plan(encoded)
    except AceStepError as error:
        return UnderstandResult(success=False, status_message=f"Error: {error}", error=str(error))
    if chances is not None:
        from acestep_like.codec.track_ear import sounding

        result.tracks = sounding(chances)
    if plan is not None:
        from acestep_like.harmony import chart_text

        assert plan.bpm is not None and plan.keyscale is not None
        result.bpm, result.timesignature = round(plan.bpm), plan.timesignature or ""
        result.keyscale, result.chords = plan.keyscale.ace_name, chart_text(plan)
    return result


def create_sample(
    llm_handler: LLMHandler | None,
    query: str,
    instrumental: bool = False,
    vocal_language: str | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    *,
    seed: int = -1,
) -> CreateSampleResult:
    """Make a song idea (caption, lyrics, metadata) from a description in plain words."""

    def ask(**options: Any) -> Description:
        for name, value in (("query", query), ("instrumental", instrumental), ("vocal_language", vocal_language)):
            check_argument(name, value)
        assert llm_handler is not None
        return llm_handler.inspire(query, instrumental=instrumental, vocal_language=vocal_language, **options)

    settings = Settings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    result = describe(llm_handler, CreateSampleResult(), ask, settings, "Failed to create sample")
    result.instrumental = result.instrumental or (result.success and instrumental)
    return result


def format_sample(
    llm_handler: LLMHandler | None,
    caption: str,
    lyrics: str,
    user_metadata: dict[str, Any] | None = None,
    temperature: float = 0.85,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    use_constrained_decoding: bool = True,
    constrained_decoding_debug: bool = False,
    *,
    seed: int = -1,
) -> FormatSampleResult:
    """Put a caption and lyrics into the form the models know, with metadata; `user_metadata` (bpm, duration, keyscale,
    timesignature, language) is kept as given."""

    def ask(**options: Any) -> Description:
        check_argument("caption", caption)
        check_argument("lyrics", lyrics)
        assert llm_handler is not None
        return llm_handler.format(caption, lyrics, user_metadata=checked_metadata(user_metadata), **options)

    settings = Settings(
        temperature, top_k, top_p, repetition_penalty, use_constrained_decoding, constrained_decoding_debug, seed
    )
    return describe(llm_handler, FormatSampleResult(), ask, settings, "Failed to format input")
