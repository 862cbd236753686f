"""A tagger on latents for what a song is built on: beat and bar, chord, key, frame by frame.

It answers the channels that a guide is drawn with (`diffusion/guide.py`), as far as they can be detected, and was
trained on the guides of the corpus (`training/structure_tagger.py`). `analysis/structure_decoding.py` makes a song
plan of that. Kept as `plan_ear.safetensors` in a checkpoint's folder; checkpoints without one do without.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acestep_like.models.checkpoints.small_networks import read_whole, write_half
from acestep_like.music.theory import TIME_SIGNATURES

FILE = "plan_ear.safetensors"
_KERNEL = 9
_DILATIONS = (1, 2, 4, 8, 16, 1, 4, 16)
_HEADS = {"beat": 2, "bar": 2, "meter": len(TIME_SIGNATURES), "tones": 12, "root": 12, "scale": 12, "tonic": 12}
_STRETCH, _OVERLAP = 1000, 250
"""Frames that are detected at once, and those that neighbouring stretches share: 40 s and 10 s at 25 Hz."""


@dataclass(frozen=True)
class StructureFrames:
    """What the tagger detects in each of T frames.

    Attributes:
        beat, bar: cosine and sine of the phase in beat and bar [T, 2], shorter than 1 where the tagger is unsure.
        meter: probability of each of `TIME_SIGNATURES` [T, 4].
        tones: probability that each pitch class belongs to the chord [T, 12]; `root`: that it is its bass note.
        scale: probability that each belongs to the key [T, 12]; `tonic`: that it is its tonic.
    """

    beat: Tensor
    bar: Tensor
    meter: Tensor
    tones: Tensor
    root: Tensor
    scale: Tensor
    tonic: Tensor


class _Block(nn.Module):
    """Depthwise dilated convolution, then two layers a frame (ConvNeXt)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2 * dilation, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)
        self.grow = nn.Linear(width, 2 * width)
        self.shrink = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(self.mix(x).transpose(1, 2))
        return x + self.shrink(F.gelu(self.grow(mixed))).transpose(1, 2)


class StructureTagger(nn.Module):
    """Latents [B, T, C] to raw values of every head, each [B, T, n].

    Args:
        mean, scale: of the training latents [C].
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, width: int = 96) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", scale.float())
        self.into = nn.Conv1d(len(mean), width, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in _DILATIONS)
        self.norm = nn.LayerNorm(width)
        self.whole = nn.Linear(width, width)
        self.out = nn.Linear(width, sum(_HEADS.values()))

    def forward(self, latents: Tensor, dropout: float = 0.0) -> dict[str, Tensor]:
        x = self.into(((latents - self.mean) / self.scale).transpose(1, 2))
        for block in self.blocks:
            x = F.dropout(block(x), dropout, self.training)
        x = self.norm(x.transpose(1, 2))
        x = x + F.gelu(self.whole(x.mean(dim=1, keepdim=True)))  # key and meter belong to the whole
        return dict(zip(_HEADS, self.out(x).split(list(_HEADS.values()), dim=-1), strict=True))

    @torch.no_grad()
    def detect(self, latents: Tensor) -> StructureFrames:
        """What is detected in latents [T, C]; long songs in overlapping stretches."""
        frames, step = len(latents), _STRETCH - _OVERLAP
        total: dict[str, Tensor] = {
            name: torch.zeros(frames, size, dtype=torch.float32) for name, size in _HEADS.items()
        }
        weight = torch.zeros(frames, 1, dtype=torch.float32)
        for start in range(0, max(frames - _OVERLAP, 1), step):
            part = latents[start : start + _STRETCH].float()
            ramp = torch.linspace(0, torch.pi, len(part) + 2, dtype=torch.float32)[1:-1].sin()[:, None]
            weight[start : start + len(part)] += ramp
            for name, value in _probabilities(self(part[None])).items():
                total[name][start : start + len(part)] += ramp * value[0]
        return StructureFrames(**{name: value / weight for name, value in total.items()})

    def save(self, folder: Path) -> None:
        """Write `plan_ear.safetensors` in float16, atomically."""
        write_half(self, folder / FILE)

    @classmethod
    def find(cls, folder: Path) -> StructureTagger | None:
        """The tagger in a checkpoint's folder, on the CPU; None when there is none.

        Raises:
            CheckpointError: its file is damaged.
        """
        return read_whole(folder / FILE, lambda state, _: cls(state["mean"], state["scale"], len(state["into.bias"])))


def _probabilities(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in raw.items():
        if name in ("beat", "bar"):
            found[name] = value / value.norm(dim=-1, keepdim=True).clamp(min=1)
        elif name in ("tones", "scale"):
            found[name] = value.sigmoid()
        else:
            found[name] = value.softmax(dim=-1)
    return found
