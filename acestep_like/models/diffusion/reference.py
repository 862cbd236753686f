"""Timbre references: which 30 seconds of a recording the model is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from acestep_like.models.device import require_finite
from acestep_like.models.diffusion.conditioning import TIMBRE_FRAMES
from acestep_like.models.diffusion.hints import silence_frames
from acestep_like.models.diffusion.noise import generator

if TYPE_CHECKING:
    from acestep_like.models.codec.base import Codec

_PIECES = 3


def crop_reference(audio: torch.Tensor, piece: int, seed: int) -> torch.Tensor:
    """Three pieces of `piece` samples, one from a seeded position in each third: [2, 3 * piece].

    Shorter recordings [2, N] are repeated first.
    """
    repeats = -(-_PIECES * piece // audio.shape[-1])
    audio = audio.repeat(1, repeats) if repeats > 1 else audio
    third = audio.shape[-1] // _PIECES
    random = generator(seed, "reference")
    starts = [k * third + int(torch.randint(third - piece + 1, (1,), generator=random)) for k in range(_PIECES)]
    return torch.cat([audio[:, start : start + piece] for start in starts], dim=-1)


def reference_latents(
    references: Sequence[torch.Tensor], seeds: Sequence[int], codec: Codec, silence: torch.Tensor
) -> torch.Tensor:
    """Timbre latents [B, R, frames, C] of B items with R references [2, N] each; silence where there is none."""
    if not references:
        return silence_frames(silence, TIMBRE_FRAMES).expand(len(seeds), 1, -1, -1)
    piece = TIMBRE_FRAMES // _PIECES * codec.hop
    rows = [
        torch.cat([codec.encode(crop_reference(audio, piece, seed).unsqueeze(0)) for audio in references])
        for seed in seeds
    ]
    return require_finite(torch.stack(rows), "Encoding a reference")
