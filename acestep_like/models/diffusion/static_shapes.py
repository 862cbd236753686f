"""Static shapes for a compiled DiT: lengths are padded up to a bucket, and masks keep the padding out of the result.

The compiler makes one program for a bucket of durations; a second duration in the bucket runs the same program. Padding
alone would change the song, because attention sees it: every attention therefore gets a mask that leaves out the padded
keys. Rounding aside, the kept positions are those of the plain path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.transformers.ace_step_transformer import (
    AceStepAttention,
    AceStepAttnProcessor2_0,
    AceStepTransformer1DModel,
)

_LEAST_TOKENS = 256
"""Captions and a few lines of lyrics share one bucket of the condition's length."""


def bucket(length: int, least: int = 64) -> int:
    """The bucket of a length: a quarter of a power of two at most is added, so no more than 25 % (above `least`)."""
    if length <= least:
        return least
    step = max(1 << (length.bit_length() - 3), least // 4)
    return -(-length // step) * step


class MaskedAttention(AceStepAttnProcessor2_0):
    """The stock attention with a mask of its own, where one is set: bool, True = attended."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: torch.Tensor | None = None

    def __call__(
        self,
        attn: AceStepAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        mask = attention_mask if self.mask is None else self.mask
        return super().__call__(attn, hidden_states, encoder_hidden_states, mask, image_rotary_emb)


def install_masked_attention(transformer: AceStepTransformer1DModel) -> None:
    """Give a DiT the processors above; without masks they are the stock ones."""
    for layer in transformer.layers:
        layer.self_attn.set_processor(MaskedAttention())
        layer.cross_attn.set_processor(MaskedAttention())


@dataclass(frozen=True)
class Padding:
    """One evaluation's lengths and the masks that go with them.

    Attributes:
        frames, padded_frames: latents of the song and of its bucket (whole patches).
        padded_tokens: positions of the condition's bucket.
        full, near, cross: masks of full, sliding and cross attention, [1, 1, 1 or L, keys].
    """

    frames: int
    padded_frames: int
    padded_tokens: int
    full: torch.Tensor
    near: torch.Tensor
    cross: torch.Tensor

    @classmethod
    def of(cls, transformer: AceStepTransformer1DModel, frames: int, tokens: int) -> Padding:
        """The padding of a song of `frames` latents with a condition of `tokens` positions."""
        config, device = transformer.config, transformer.device
        patches = -(-frames // config.patch_size)
        padded = bucket(patches)
        place = torch.arange(padded, device=device)
        real = place < patches
        # A padded query may see all: over nothing at all a softmax is NaN, and NaN spreads.
        full = (real[None, :] | ~real[:, None])[None, None]
        near = full & ((place[:, None] - place[None, :]).abs() <= config.sliding_window)
        length = bucket(tokens, least=_LEAST_TOKENS)
        cross = (torch.arange(length, device=device) < tokens)[None, None, None]
        return cls(frames, padded * config.patch_size, length, full, near, cross)

    def pad_frames(self, x: torch.Tensor) -> torch.Tensor:
        """[B, frames, C] with zeros up to the bucket."""
        return F.pad(x, (0, 0, 0, self.padded_frames - x.shape[1]))

    def pad_tokens(self, condition: torch.Tensor) -> torch.Tensor:
        """[B, tokens, D] with zeros up to the bucket."""
        return F.pad(condition, (0, 0, 0, self.padded_tokens - condition.shape[1]))


@contextmanager
def use_masks(transformer: AceStepTransformer1DModel, padding: Padding) -> Iterator[None]:
    """Let the attentions of a DiT keep to the real positions inside the block."""
    masked = []
    for layer in transformer.layers:
        own, cross = layer.self_attn.processor, layer.cross_attn.processor
        own.mask = padding.full if layer.self_attn.sliding_window is None else padding.near
        cross.mask = padding.cross
        masked += [own, cross]
    try:
        yield
    finally:
        for processor in masked:
            processor.mask = None
