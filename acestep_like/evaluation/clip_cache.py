"""Clips made through the public API for an evaluation, kept in a folder so that a run resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acestep_like.errors import AceStepError
from acestep_like.handler import AceStepHandler
from acestep_like.inference.api import generate_music
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.checkpoints.resolve import find_lm
from acestep_like.types.params import GenerationConfig, GenerationParams


class EvaluationError(AceStepError):
    """A clip that an evaluation needs could not be made."""


@dataclass(frozen=True)
class SamplerSettings:
    """Sampler values that differ from the checkpoint's own; None leaves them to it."""

    inference_steps: int | None = None
    shift: float | None = None
    guidance_scale: float | None = None

    def given(self) -> dict[str, Any]:
        """The values that are set, as fields of `GenerationParams`."""
        return {name: value for name, value in vars(self).items() if value is not None}


def weights_digests(folder: Path) -> dict[str, str]:
    """Short SHA-256 of every safetensors file below a checkpoint folder, by its path from the folder's parent."""
    return {
        str(path.relative_to(folder.parent)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(folder.rglob("*.safetensors"))
    }


class Studio:
    """Loaded handlers and a folder of clips.

    A clip is known by its parameters, the checkpoint's hashes and its seed: the same order is made only once.
    """

    def __init__(self, dit: Any, lm: Any, folder: Path, settings: SamplerSettings | None = None) -> None:
        self.dit, self.lm = dit, lm
        self.folder, self.settings = folder, settings or SamplerSettings()
        self.weights = weights_digests(dit.checkpoint.path)
        if lm is not None:
            self.weights |= weights_digests(find_lm(lm.name, dit.checkpoint.path.parent).path)
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def open(cls, folder: Path, *, checkpoint: str = "mini", settings: SamplerSettings | None = None) -> Studio:
        """Load a checkpoint and its language model (for a folder, the one beside it) on the default device.

        Raises:
            CheckpointError: one of them is missing or broken.
        """
        dit = AceStepHandler.from_pretrained(checkpoint)
        root = Path(checkpoint).parent if Path(checkpoint).is_dir() else None
        name = dit.checkpoint.lm_name if dit.checkpoint is not None else None
        return cls(dit, LLMHandler.from_pretrained(name or "mini", root=root), folder, settings)

    def make(self, params: dict[str, Any], seed: int) -> tuple[torch.Tensor, dict[str, Any]]:
        """One clip: its samples [2, N] at 48 kHz and its parameters as recorded in the result.

        Args:
            params: fields of `GenerationParams`; tensors are allowed as sources.

        Raises:
            EvaluationError: the generation failed; the message is its own.
        """
        order = {**self.settings.given(), **params}
        path = self.folder / f"{_digest(order, seed, self.weights)}.pt"
        if path.is_file():
            kept = torch.load(path, weights_only=True)
            return kept["audio"].float() / 32767, json.loads(kept["params"])
        result = generate_music(
            self.dit,
            self.lm,
            GenerationParams(**order),
            GenerationConfig(batch_size=1, seeds=[seed]),
        )
        if not result.success:
            raise EvaluationError(f"seed {seed}: {result.error}")
        audio = result.audios[0]
        recorded = {key: value for key, value in audio.params.items() if _plain(value)}
        samples = (audio.tensor.clamp(-1, 1) * 32767).round().to(torch.int16)
        torch.save({"audio": samples, "params": json.dumps(recorded)}, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)
        return samples.float() / 32767, recorded


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _digest(order: dict[str, Any], seed: int, weights: dict[str, str]) -> str:
    parts: list[Any] = [seed, sorted(weights.items())]
    for name, value in sorted(order.items()):
        if isinstance(value, tuple) and isinstance(value[0], torch.Tensor):
            value = hashlib.sha256(value[0].contiguous().numpy().tobytes()).hexdigest()
        parts.append([name, value])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


Maker = Callable[[dict[str, Any], int], tuple[torch.Tensor, dict[str, Any]]]
"""What makes clips: `Studio.make`, or a stand-in such as the corpus renderer (to test the measures on real clips)."""
