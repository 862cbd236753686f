"""Audio codes: 5 Hz indices as text, as vectors, and as the 25 Hz hints that steer the DiT."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepAudioTokenDetokenizer, AceStepAudioTokenizer


def silence_frames(silence: torch.Tensor, frames: int) -> torch.Tensor:
    """The first `frames` of the silence latents [1, n, C], repeated when there are not enough: [1, frames, C]."""
    repeats = -(-frames // silence.shape[1])
    return silence.repeat(1, repeats, 1)[:, :frames] if repeats > 1 else silence[:, :frames]


def fit_frames(latents: torch.Tensor, frames: int, silence: torch.Tensor) -> torch.Tensor:
    """Latents [B, n, C] cropped to `frames`, or continued by the start of silence."""
    lacking = frames - latents.shape[1]
    if lacking <= 0:
        return latents[:, :frames]
    rest = silence_frames(silence, lacking).to(latents).expand(latents.shape[0], -1, -1)
    return torch.cat([latents, rest], dim=1)


@torch.no_grad()
def code_vectors(tokenizer: AceStepAudioTokenizer, indices: Sequence[int]) -> torch.Tensor:
    """Vectors of a sequence of codes: [1, n, D] (first level of the quantizer varies fastest)."""
    device = tokenizer.quantizer.project_out.weight.device
    index = torch.tensor(list(indices), dtype=torch.long, device=device).reshape(1, -1, 1)
    return tokenizer.quantizer.get_output_from_indices(index)


@torch.no_grad()
def hints_from_codes(
    tokenizer: AceStepAudioTokenizer,
    detokenizer: AceStepAudioTokenDetokenizer,
    indices: Sequence[int],
    frames: int,
    silence: torch.Tensor,
) -> torch.Tensor:
    """The 25 Hz hints of one item's codes: [1, frames, C]."""
    return fit_frames(detokenizer(code_vectors(tokenizer, indices)), frames, silence)


@torch.no_grad()
def tokenize(
    tokenizer: AceStepAudioTokenizer, latents: torch.Tensor, silence: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(vectors [B, n, D], indices [B, n]) of latents [B, T, C], continued by silence to a multiple of five frames."""
    vectors, indices = tokenizer.tokenize(latents.to(tokenizer.dtype), silence)
    return vectors, indices.squeeze(-1)


@torch.no_grad()
def hints_from_latents(
    tokenizer: AceStepAudioTokenizer,
    detokenizer: AceStepAudioTokenDetokenizer,
    latents: torch.Tensor,
    silence: torch.Tensor,
) -> torch.Tensor:
    """The hints of a source: its latents [B, T, C] through codes and back, [B, T, C]."""
    vectors, _ = tokenize(tokenizer, latents, silence)
    return detokenizer(vectors)[:, : latents.shape[1]]
