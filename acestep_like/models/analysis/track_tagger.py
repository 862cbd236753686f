"""A tagger on latents: which of the twelve track classes sound in a mix.

Two convolutions over time, pooled by mean, maximum and deviation, and one logit a class. Small enough to run beside
every extraction: a diffusion model that is asked for a track finds something that fits, the tagger says whether it is
there. Made by `training/track_tagger.py`, kept as `track_ear.safetensors` in a checkpoint's folder; checkpoints without
one do without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acestep_like.models.checkpoints.small_networks import read_whole, write_half
from acestep_like.music.instruments import TRACK_NAMES

FILE = "track_ear.safetensors"
UNHEARD_BELOW = 0.15
"""A track that is given less is not there. In 10 s of songs that were held out from the tagger's training 6 % of the
tracks that sound are given less, and 91 % of those that do not (`checkpoints/MODEL_CARD.md`); at .28 both err equally.
"""
_WINDOW, _SHORTEST = 250, 50
"""Latents detected at once, and the fewest that are enough: 10 s and 2 s at 25 Hz."""


def sounding(chances: Mapping[str, float]) -> tuple[str, ...]:
    """The tracks that more likely sound than not, the likeliest first."""
    return tuple(sorted((name for name in chances if chances[name] > 0.5), key=chances.__getitem__, reverse=True))


def over_time(
    frames: Tensor, near: nn.Conv1d, wide: nn.Conv1d, dropped: Callable[[Tensor], Tensor] = lambda x: x
) -> Tensor:
    """Frames [B, C, T] through two convolutions, pooled by mean, maximum and deviation: [B, 3 W]."""
    x = F.gelu(near(frames))
    x = x + F.gelu(wide(dropped(x)))
    return torch.cat([x.mean(2), x.amax(2), x.std(2)], dim=1)


class TrackTagger(nn.Module):
    """Latents [B, T, C] to one logit for each of `tasks.TRACK_NAMES` [B, 12].

    Args:
        mean, scale: of the training latents [C].
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", scale.float())
        self.near = nn.Conv1d(len(mean), width, 5, padding=2)
        self.wide = nn.Conv1d(width, width, 5, padding=2)
        self.out = nn.Linear(3 * width, len(TRACK_NAMES))

    def forward(self, latents: Tensor, dropout: float = 0.0) -> Tensor:
        pooled = over_time(((latents - self.mean) / self.scale).transpose(1, 2), self.near, self.wide)
        return self.out(F.dropout(pooled, dropout, self.training))

    @torch.no_grad()
    def detect(self, latents: Tensor) -> dict[str, float] | None:
        """The probability that each track sounds somewhere in latents [T, C]: the highest of all stretches of 10 s.

        None where there are less than 2 s, which are too short.
        """
        if len(latents) < _SHORTEST:
            return None
        last = max(0, len(latents) - _WINDOW)
        parts = [latents[min(start, last) :][:_WINDOW].float() for start in range(0, len(latents), _WINDOW)]
        logits = torch.cat([self(part[None]) for part in parts]).amax(0)
        return dict(zip(TRACK_NAMES, logits.sigmoid().tolist(), strict=True))

    def save(self, folder: Path) -> None:
        """Write `track_ear.safetensors` in float16, atomically."""
        write_half(self, folder / FILE)

    @classmethod
    def find(cls, folder: Path) -> TrackTagger | None:
        """The tagger in a checkpoint's folder, on the CPU; None when there is none.

        Raises:
            CheckpointError: its file is damaged.
        """
        return read_whole(folder / FILE, lambda state, _: cls(state["mean"], state["scale"], len(state["near.bias"])))
