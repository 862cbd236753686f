"""Seeded noise, item by item, so that an item of a batch equals the same item alone.

Noise is drawn in float32 on the CPU whatever the device, so that a seed means the same song everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

_MASK_64 = (1 << 64) - 1
SEQUENCES = {"noise": 0, "sde": 1, "reference": 2, "retake": 3}
"""Independent streams of one seed. Stream 0 is the plain seed, as in the published implementation."""


def generator(seed: int, stream: str = "noise") -> torch.Generator:
    """A CPU generator of one stream of a seed."""
    mixed = seed + SEQUENCES[stream] * 0x9E3779B97F4A7C15
    return torch.Generator("cpu").manual_seed(mixed & _MASK_64)


def initial_noise(seeds: Sequence[int], frames: int, channels: int) -> torch.Tensor:
    """Noise [B, T, C] of one generator an item."""
    return draw([generator(seed) for seed in seeds], frames, channels)


def draw(generators: Sequence[torch.Generator], frames: int, channels: int) -> torch.Tensor:
    """The next noise [B, T, C] of B generators."""
    shape = (1, frames, channels)
    return torch.cat([torch.randn(shape, generator=source, device="cpu", dtype=torch.float32) for source in generators])


def retake(noise: torch.Tensor, other: torch.Tensor, variance: float) -> torch.Tensor:
    """`cos(v * pi / 2) * noise + sin(v * pi / 2) * other`: 0 keeps the noise, 1 replaces it."""
    angle = variance * math.pi / 2
    return math.cos(angle) * noise + math.sin(angle) * other


def noised(source: torch.Tensor, noise: torch.Tensor, t: float) -> torch.Tensor:
    """Latents [B, T, C] of a source at the time t of the flow: where a run that begins near its source starts."""
    return t * noise + (1 - t) * source.to(noise)


class FreshNoise:
    """Noise drawn on and on from one generator an item: [B, T, C] a call."""

    def __init__(self, generators: Sequence[torch.Generator], frames: int, channels: int, device: torch.device) -> None:
        self._generators = list(generators)
        self._frames, self._channels, self._device = frames, channels, device

    def __call__(self) -> torch.Tensor:
        return draw(self._generators, self._frames, self._channels).to(self._device)
