"""What a checkpoint is: facts that are known without loading a weight. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from acestep_like.types.tasks import TASKS

ALL_TASKS = tuple(TASKS)
TURBO_TASKS = tuple(name for name, task in TASKS.items() if not task.base_only)
"""What the published turbo and sft checkpoints were trained for."""

DIT_PARTS = ("transformer", "condition_encoder", "audio_tokenizer", "audio_token_detokenizer")
OPTIONAL_PARTS = ("audio_tokenizer", "audio_token_detokenizer", "scheduler")
"""Parts without which text2music works (cover and audio codes do not)."""
REQUIRED_PARTS = ("transformer", "condition_encoder", "text_encoder", "tokenizer", "vae")


def possible_tasks(tasks: Iterable[str], has_audio_tokenizer: bool) -> tuple[str, ...]:
    """Those of some tasks that a checkpoint with or without an audio tokenizer can do."""
    return tuple(name for name in tasks if name in TASKS and (has_audio_tokenizer or not TASKS[name].source_as_codes))


@dataclass(frozen=True)
class CheckpointDefaults:
    """Values a checkpoint was trained for; they stand in where the caller leaves them unset."""

    inference_steps: int
    shift: float
    guidance_scale: float


TURBO_DEFAULTS = CheckpointDefaults(8, 3.0, 1.0)
BASE_DEFAULTS = CheckpointDefaults(50, 1.0, 7.0)


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint found on disk.

    Attributes:
        name: its folder's name.
        kind: "upstream" (one safetensors file for all DiT parts) or "diffusers" (a folder a part).
        path: its folder.
        parts: folder of each part that is there.
        missing: parts that are not there; see `REQUIRED_PARTS`.
        defaults: steps, shift and guidance it was trained for.
        tasks: names of `tasks.TASKS` it can do.
        is_turbo: distilled; no guidance, at most eight steps, snapped times.
        is_xl: its timbre encoder reads a class token that the 2B models do not.
        guidance_mode: "apg", "cfg" or "slow".
        edit_guidance_mode: the same for tasks with a source; None where it is no other.
        guide_version: layout of the extra guide channels of its context; None for published checkpoints.
        max_duration_s: longest song it makes.
        codec: class of its `vae`: "AutoencoderOobleck" or "SpectralAutoencoder".
        lm_name: the language model that belongs to it, if it names one.
        codebook_size: audio codes it knows, 0 to this minus 1; None without an audio tokenizer.
        notes: what to do about parts that are there in a form that is not read, a sentence each.
    """

    name: str
    kind: str
    path: Path
    parts: dict[str, Path]
    missing: tuple[str, ...]
    defaults: CheckpointDefaults
    tasks: tuple[str, ...]
    is_turbo: bool
    is_xl: bool
    guidance_mode: str = "apg"
    edit_guidance_mode: str | None = None
    guide_version: int | None = None
    max_duration_s: float = 600.0
    codec: str = "AutoencoderOobleck"
    lm_name: str | None = None
    codebook_size: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether everything that text2music needs is there."""
        return not any(part in self.missing for part in REQUIRED_PARTS)

    @property
    def follows_instruments(self) -> bool:
        """Whether it was trained with the instruments that a caption names drawn in its guide, since version 3."""
        return self.guide_version is not None and self.guide_version >= 3

    def guidance_mode_of(self, task: str) -> str:
        """How it is guided in a task."""
        if self.edit_guidance_mode is not None and TASKS[task].needs_source:
            return self.edit_guidance_mode
        return self.guidance_mode

    @property
    def rebuilds_phase(self) -> bool:
        """Whether its codec makes phases up, so that what it decodes fits a source in spectrum only."""
        return self.codec == "SpectralAutoencoder"

    @property
    def has_audio_tokenizer(self) -> bool:
        """Whether cover and audio codes are possible."""
        return "audio_tokenizer" in self.parts and "audio_token_detokenizer" in self.parts


@dataclass(frozen=True)
class LMInfo:
    """A 5 Hz language model found on disk, in transformers layout."""

    name: str
    path: Path
    vocab_size: int


@dataclass(frozen=True)
class UnusableFolder:
    """A folder that looks like a model but cannot be one, and why, in a sentence."""

    name: str
    path: Path
    reason: str
