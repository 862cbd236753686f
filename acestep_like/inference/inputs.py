"""From a caller's parameters to what the models are asked: checked, complete, and nothing run yet.

`prepare` settles all that follows from the parameters and the loaded checkpoint; `think_request` is what the
language model is asked. What is detected in a source follows in `hearing`, the requests of the DiT in `items`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acestep_like.audio.io import load_audio
from acestep_like.audio.splice import pad_for_windows
from acestep_like.errors import InputError, UnsupportedTaskError
from acestep_like.inference.provenance import origin_of
from acestep_like.music.sections import plain_lyrics, sung_lines
from acestep_like.types.audio_codes import read_codes
from acestep_like.types.params import INSTRUMENTAL, GenerationConfig, GenerationParams, windows
from acestep_like.types.seeds import item_seeds
from acestep_like.types.tasks import TaskSpec, resolve_instruction, task_spec

if TYPE_CHECKING:
    import torch

    from acestep_like.models.checkpoints.info import CheckpointInfo
    from acestep_like.models.diffusion.request import EncodedAudio
    from acestep_like.music.song_plan import SongPlan


SAMPLE_RATE = 48000


DEFAULT_DURATION_S = 30.0
"""Length of music without words when neither the caller nor the language model says one."""


_LINE_S, _AROUND_S, _LONGEST_DEFAULT_S = 4.0, 12.0, 240.0


CODE_RATE_HZ = 5


def default_duration_s(lyrics: str) -> float:
    """Length when nobody says one: 30 s without words, else 4 s a line and 12 s around them, 30 to 240 s."""
    lines = sung_lines(lyrics)
    if not lines:
        return DEFAULT_DURATION_S
    return min(max(DEFAULT_DURATION_S, _AROUND_S + _LINE_S * len(lines)), _LONGEST_DEFAULT_S)


@dataclass(frozen=True)
class Source:
    """The audio a task works on: samples [2, N] at 48 kHz with room for the windows, which lie on the padded time.
    `notes` are remarks about its file."""

    samples: torch.Tensor
    windows: tuple[tuple[float, float], ...]
    duration_s: float
    left_padding_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GenerationJob:
    """A checked order. `params` and `config` are checked copies of what the caller gave.

    Attributes:
        lyrics: as the models shall read them.
        instruction: the sentence for the DiT.
        inference_steps, shift, guidance_scale: given by the caller or else the checkpoint's own.
        lineage: names and digests of the audio that goes in, for the recipe.
        inherited: tempo, key, meter and chords of a source that this package made and that the new music must fit
            (not of a cover's); what was given wins.
        words_first, caption_facts: see `apply_caption_facts`; what the caption itself says of tempo, key and meter.
        encoded, detected: the source's latents where a tagger needed them, and the plan of a source that nobody told
            anything of (`source_analysis.apply_detected_plan`).
        notes: sentences for the status message.
    """

    params: GenerationParams
    config: GenerationConfig
    checkpoint: CheckpointInfo
    task: TaskSpec
    seeds: tuple[int, ...]
    lyrics: str
    instruction: str
    inference_steps: int
    shift: float
    guidance_scale: float
    source: Source | None = None
    references: tuple[torch.Tensor, ...] = ()
    lineage: dict[str, Any] = field(default_factory=dict)
    inherited: dict[str, Any] = field(default_factory=dict)
    words_first: bool = False
    caption_facts: dict[str, Any] = field(default_factory=dict)
    encoded: EncodedAudio | None = None
    detected: SongPlan | None = None
    notes: tuple[str, ...] = ()

    @property
    def ignores_source(self) -> bool:
        """Whether a cover hears nothing of its source, at strength 0: then it is music made from nothing."""
        return self.task.source_as_codes and self.params.audio_cover_strength == 0


def prepare(params: GenerationParams, config: GenerationConfig, checkpoint: CheckpointInfo) -> GenerationJob:
    """Check an order against its declarations and the loaded checkpoint, and read its audio.

    Raises:
        InputError: a value, file or combination that is not accepted.
        UnsupportedTaskError: the checkpoint cannot do the task.
    """
    if not isinstance(params, GenerationParams):
        raise InputError("params", params, "a GenerationParams")
    if not isinstance(config, GenerationConfig):
        raise InputError("config", config, "a GenerationConfig")
    asked, batch = params.checked(), config.checked()
    spec = task_spec(asked.task_type)
    _check_checkpoint(asked, spec, checkpoint)
    seeds = batch.seeds if isinstance(batch.seeds, list) else []
    notes = []
    if len(seeds) > batch.batch_size:
        notes.append(f"{len(seeds)} seeds were given for {batch.batch_size} items; the rest is unused.")
    unused = [name for name in ("inference_steps", "shift") if asked.timesteps and asked.given(name)]
    if unused:
        notes.append(f"timesteps were given: they are the schedule, and {' and '.join(unused)} was not used.")
    source, source_facts = _read_source(asked, spec, checkpoint)
    references, reference_facts = _read_references(asked)
    defaults = checkpoint.defaults
    return GenerationJob(
        params=asked,
        config=batch,
        checkpoint=checkpoint,
        task=spec,
        seeds=item_seeds(batch.batch_size, seeds, asked.seed, batch.use_random_seed),
        lyrics=INSTRUMENTAL if asked.instrumental else plain_lyrics(asked.lyrics),
        instruction=resolve_instruction(asked.task_type, asked.instruction),
        inference_steps=asked.inference_steps if asked.given("inference_steps") else defaults.inference_steps,
        shift=asked.shift if asked.given("shift") else defaults.shift,
        guidance_scale=asked.guidance_scale if asked.given("guidance_scale") else defaults.guidance_scale,
        source=source,
        references=references,
        lineage={**source_facts, **reference_facts},
        inherited=_inherited(asked, spec, checkpoint),
        notes=(*notes, *(source.notes if source else ())),
    )


def _check_checkpoint(params: GenerationParams, spec: TaskSpec, checkpoint: CheckpointInfo) -> None:
    if spec.name not in checkpoint.tasks:
        raise UnsupportedTaskError(
            "task_type",
            spec.name,
            f"a task that {checkpoint.name} can do ({', '.join(checkpoint.tasks)})",
            "The base checkpoint acestep-v15-base and the embedded acestep-mini can do it.",
        )
    if params.chords.strip() and checkpoint.guide_version is None:
        raise InputError(
            "chords",
            params.chords,
            f"no chords for {checkpoint.name}, which has no guide",
            "Use the embedded acestep-mini, or describe the harmony in the caption.",
        )
    codes, codebook = read_codes(params.audio_codes), checkpoint.codebook_size
    if codebook is not None and any(code >= codebook for code in codes):
        raise InputError(
            "audio_codes",
            max(codes),
            f"codes from 0 to {codebook - 1}, which {checkpoint.name} knows",
            "Codes belong to the checkpoint that made them.",
        )
    limit = checkpoint.max_duration_s
    length_s = max(params.duration, len(codes) / CODE_RATE_HZ)
    if limit is not None and length_s > limit:
        raise InputError("duration", length_s, f"at most {limit:g} s for {checkpoint.name}")
    if checkpoint.is_turbo and params.given("inference_steps") and params.inference_steps > 20:
        raise InputError(
            "inference_steps", params.inference_steps, f"1 to 20 for the turbo checkpoint {checkpoint.name}"
        )


def _read_source(
    params: GenerationParams, spec: TaskSpec, checkpoint: CheckpointInfo
) -> tuple[Source | None, dict[str, Any]]:
    if not spec.needs_source:
        return None, {}
    loaded = load_audio(params.src_audio, field="src_audio", sample_rate=SAMPLE_RATE)
    samples = loaded.samples
    duration_s = samples.shape[-1] / SAMPLE_RATE
    spans: tuple[tuple[float, float], ...] = ()
    left_s = 0.0
    padded = samples
    if spec.uses_window:
        asked = windows(params)
        for start, _ in asked:
            if start >= duration_s:
                raise InputError("repainting_start", start, f"a start within the source ({duration_s:.1f} s)")
        padded, spans, left_s = pad_for_windows(samples, asked, SAMPLE_RATE)
    limit = checkpoint.max_duration_s
    length_s = padded.shape[-1] / SAMPLE_RATE
    if limit is not None and length_s > limit + 1 / 25:
        raise InputError(
            "src_audio",
            f"{length_s:.1f} s of audio",
            f"at most {limit:g} s for {checkpoint.name}",
            "Cut it, or work on it in parts.",
        )
    facts = {"src_sha256": _digest(samples)}
    key = origin_of(params.src_audio).key
    return Source(padded, spans, duration_s, left_s, loaded.notes), {**facts, **({"parents": [key]} if key else {})}


def _read_references(params: GenerationParams) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    if params.reference_audio is None:
        return (), {}
    several = isinstance(params.reference_audio, list)
    entries = params.reference_audio if several else [params.reference_audio]
    if not entries:
        raise InputError("reference_audio", [], "at least one audio, or None")
    loaded = tuple(load_audio(entry, field="reference_audio", sample_rate=SAMPLE_RATE).samples for entry in entries)
    return loaded, {"reference_sha256": [_digest(samples) for samples in loaded]}


def _inherited(params: GenerationParams, spec: TaskSpec, checkpoint: CheckpointInfo) -> dict[str, Any]:
    """What the recipe of a source says about its music, for tasks that must fit in with it.

    A cover hears the source as much as `audio_cover_strength` says and in no other way: at 0 it is another song.
    """
    if not spec.needs_source or spec.source_as_codes:
        return {}
    return origin_of(params.src_audio).metadata(guided=checkpoint.guide_version is not None)


def _digest(samples: torch.Tensor) -> str:
    return hashlib.sha256(samples.contiguous().numpy().tobytes()).hexdigest()[:16]


def fallback_duration_s(job: GenerationJob) -> float:
    """The length that follows from given codes or else from the lyrics, within the checkpoint's limit."""
    codes = len(read_codes(job.params.audio_codes))
    wanted = codes / CODE_RATE_HZ if codes else default_duration_s(job.lyrics)
    return min(wanted, job.checkpoint.max_duration_s or math.inf)
