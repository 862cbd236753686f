"""From a caller's parameters to a checked job: the order, the checkpoint's limits, and the audio that goes in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from acestep_like.audio.io import MAX_SECONDS, load_audio
from acestep_like.audio.level import digest, source_gain
from acestep_like.audio.splice import pad_for_windows
from acestep_like.errors import InputError, UnsupportedTaskError
from acestep_like.inference.job import Additions, GenerationJob, Models, Source
from acestep_like.inference.provenance import NOTHING_KNOWN, origin_of
from acestep_like.music.sections import plain_lyrics, sung_lines
from acestep_like.types.params import INSTRUMENTAL, GenerationConfig, GenerationParams
from acestep_like.types.seeds import item_seeds
from acestep_like.types.tasks import task_spec
from acestep_like.types.units import CODE_RATE_HZ, LATENT_RATE_HZ, SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.types.parsed import Window

DEFAULT_DURATION_S = 30.0
"""Length of music without words when neither the caller nor the language model says one."""
_LINE_S, _AROUND_S, _LONGEST_DEFAULT_S = 4.0, 12.0, 240.0
_MAX_REFERENCES = 16
_TURBO_STEPS = 20


def default_duration_s(lyrics: str) -> float:
    """Length where none is given or planned: 30 s without words, else 4 s a line and 12 s around them, 30 to 240 s."""
    lines = sung_lines(lyrics)
    if not lines:
        return DEFAULT_DURATION_S
    return min(max(DEFAULT_DURATION_S, _AROUND_S + _LINE_S * len(lines)), _LONGEST_DEFAULT_S)


def fallback_duration_s(job: GenerationJob) -> float:
    """The length that follows from given codes or else from the lyrics, within the checkpoint's limit."""
    codes = len(job.parsed.codes)
    wanted = codes / CODE_RATE_HZ if codes else default_duration_s(job.lyrics)
    return min(wanted, job.checkpoint.max_duration_s or math.inf)


def read_order(params: GenerationParams, config: GenerationConfig, checkpoint: CheckpointInfo) -> GenerationJob:
    """The job of an order that the loaded checkpoint can do; no audio is read yet.

    Raises:
        InputError: a value or combination that is not accepted.
        UnsupportedTaskError: the checkpoint cannot do the task.
    """
    if not isinstance(params, GenerationParams):
        raise InputError("params", params, "a GenerationParams")
    if not isinstance(config, GenerationConfig):
        raise InputError("config", config, "a GenerationConfig")
    (asked, parsed), batch = params.parsed(), config.checked()
    seeds = batch.seeds if isinstance(batch.seeds, list) else []
    defaults = checkpoint.defaults
    job = GenerationJob(
        params=asked,
        config=batch,
        checkpoint=checkpoint,
        task=task_spec(asked.task_type),
        parsed=parsed,
        seeds=item_seeds(batch.batch_size, seeds, asked.seed, batch.use_random_seed),
        lyrics=INSTRUMENTAL if asked.instrumental else plain_lyrics(asked.lyrics),
        inference_steps=asked.inference_steps if asked.given("inference_steps") else defaults.inference_steps,
        shift=asked.shift if asked.given("shift") else defaults.shift,
        guidance_scale=asked.guidance_scale if asked.given("guidance_scale") else defaults.guidance_scale,
        notes=_unused(params, asked, len(seeds), batch.batch_size),
    )
    _check_checkpoint(job)
    return job


def _unused(given: GenerationParams, params: GenerationParams, seeds: int, batch_size: int) -> tuple[str, ...]:
    """Sentences about what was given and has no use; `params` is the checked copy."""
    notes = []
    if seeds > batch_size:
        notes.append(f"{seeds} seeds were given for {batch_size} items; the rest is unused.")
    unused = [name for name in ("inference_steps", "shift") if params.timesteps and params.given(name)]
    if unused:
        notes.append(f"timesteps were given: they are the schedule, and {' and '.join(unused)} was not used.")
    spec = task_spec(params.task_type)
    if params.flow_edit_morph and not spec.flow_edits:
        notes.append(f"flow_edit_morph was ignored: {spec.name} has no flow edit.")
    if given.src_audio is not None and params.src_audio is None:
        notes.append(f"src_audio was ignored: {params.task_type} works on no source.")
    return tuple(notes)


def _check_checkpoint(job: GenerationJob) -> None:
    params, checkpoint = job.params, job.checkpoint
    if job.task.name not in checkpoint.tasks:
        raise UnsupportedTaskError(
            "task_type",
            job.task.name,
            f"a task that {checkpoint.name} can do ({', '.join(checkpoint.tasks)})",
            "The base checkpoint acestep-v15-base and the embedded acestep-mini can do it.",
        )
    if job.parsed.chart is not None and checkpoint.guide_version is None:
        raise InputError(
            "chords",
            params.chords,
            f"no chords for {checkpoint.name}, which has no guide",
            "Use the embedded acestep-mini, or describe the harmony in the caption.",
        )
    codes, codebook = job.parsed.codes, checkpoint.codebook_size
    if codebook is not None and codes and max(codes) >= codebook:
        raise InputError(
            "audio_codes",
            max(codes),
            f"codes from 0 to {codebook - 1}, which {checkpoint.name} knows",
            "Codes belong to the checkpoint that made them.",
        )
    limit = checkpoint.max_duration_s
    length_s = params.duration if params.duration > 0 else len(codes) / CODE_RATE_HZ
    if limit is not None and length_s > limit:
        raise InputError("duration", length_s, f"at most {limit:g} s for {checkpoint.name}")
    if checkpoint.is_turbo and params.given("inference_steps") and params.inference_steps > _TURBO_STEPS:
        raise InputError(
            "inference_steps",
            params.inference_steps,
            f"1 to {_TURBO_STEPS} for the turbo checkpoint {checkpoint.name}",
        )


def read_source(job: GenerationJob, _models: Models) -> Additions:
    """Read the source, its windows, and what is recorded of its music."""
    if not job.task.needs_source and not job.edits_flow:
        return {}
    if job.params.src_audio is None:  # codes stand for it
        return {"windows": _windows_of_codes(job)}
    limit = job.checkpoint.max_duration_s
    longest = MAX_SECONDS if limit is None else min(MAX_SECONDS, limit + 1 / LATENT_RATE_HZ)
    loaded = load_audio(job.params.src_audio, field="src_audio", sample_rate=SAMPLE_RATE, max_seconds=longest)
    padded, left_s = loaded.samples, 0.0
    windows: tuple[Window, ...] = ()
    if job.task.uses_window:
        _check_windows(job, loaded.duration_s)
        room = math.inf if limit is None else limit
        if max(end - min(start, 0) for start, end in job.parsed.windows) > room:
            raise InputError("repainting_end", job.params.repainting_end, f"windows within {room:g} s")
        padded, windows, left_s = pad_for_windows(padded, job.parsed.windows, SAMPLE_RATE)
    length_s = padded.shape[-1] / SAMPLE_RATE
    if limit is not None and length_s > limit + 1 / LATENT_RATE_HZ:
        raise InputError(
            "src_audio",
            f"{length_s:.1f} s of audio",
            f"at most {limit:g} s for {job.checkpoint.name}",
            "Cut it, or work on it in parts.",
        )
    origin = origin_of(job.params.src_audio)
    known = NOTHING_KNOWN
    notes: tuple[str, ...] = ()
    if not job.task.source_as_codes:
        # What a cover keeps of its source is for `audio_cover_strength` to say: at 0 it is another song.
        known, notes = origin.music(guided=job.checkpoint.guide_version is not None)
    parents = {"parents": [origin.key]} if origin.key else {}
    return {
        "source": Source(padded, loaded.duration_s, left_s, source_gain(padded, SAMPLE_RATE)),
        "windows": windows,
        "lineage": {"src_sha256": digest(loaded.samples), **parents},
        "known": known,
        "notes": (*loaded.notes, *notes),
    }


def _check_windows(job: GenerationJob, duration_s: float) -> None:
    for start, _ in job.parsed.windows:
        if start >= duration_s:
            raise InputError("repainting_start", start, f"a start within the source ({duration_s:.1f} s)")


def _windows_of_codes(job: GenerationJob) -> tuple[Window, ...]:
    """The windows of a source that was given as codes: there is nothing to add before its start or after its end."""
    if not job.task.uses_window:
        return ()
    duration_s = len(job.parsed.codes) / CODE_RATE_HZ
    _check_windows(job, duration_s)
    return tuple((max(start, 0.0), -1.0 if end >= duration_s else end) for start, end in job.parsed.windows)


def read_references(job: GenerationJob, _models: Models) -> Additions:
    """Read the reference audio, one or several."""
    given: Any = job.params.reference_audio
    if given is None:
        return {}
    entries = given if isinstance(given, list) else [given]
    if not 1 <= len(entries) <= _MAX_REFERENCES:
        accepted = f"an audio or a list of 1 to {_MAX_REFERENCES} audios, or None"
        raise InputError("reference_audio", f"{len(entries)} audios" if entries else [], accepted)
    loaded = [load_audio(entry, field="reference_audio", sample_rate=SAMPLE_RATE) for entry in entries]
    return {
        "references": tuple(audio.samples * source_gain(audio.samples, SAMPLE_RATE) for audio in loaded),
        "lineage": {**job.lineage, "reference_sha256": [digest(audio.samples) for audio in loaded]},
        "notes": [note for audio in loaded for note in audio.notes],
    }
