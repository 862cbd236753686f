"""Static shapes for a compiled DiT: lengths are padded up to a bucket, and masks keep the padding out of the result.

The compiler makes one program for a bucket of durations; a second duration in the bucket runs the same program. Padding
alone would change the song, because attention sees it: every attention therefore gets a mask that leaves out the padded
keys. Rounding aside, the kept positions are those of the plain path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.ace_step_transformer import AceStepAttnProcessor2_0, AceStepTransformer1DModel

_LEAST_TOKENS = 256
"""Captions and a few lines of lyrics share one bucket of the condition's length."""


def bucket(length: int, least: int = 64) -> int:
    """The bucket of a length: a quarter of a power of two at most is added, so no more than 25 % (above `least`)."""
    if length <= least:
        return least
    step = max(1 << (length.bit_length() - 3), least // 4)
    return -(-length // step) * step


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
        config: Any = transformer.config
        device = transformer.device
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


_active_padding: ContextVar[Padding | None] = ContextVar("padding", default=None)
"""The padding of the evaluation at hand: every thread's and task's own, unlike the layers that read it."""


def install_masks(transformer: AceStepTransformer1DModel) -> None:
    """Give a DiT the stock attentions, and let its layers take the masks of the padding in use.

    The masks reach a layer as arguments, so that what is compiled (its `forward`) keeps nothing of a call.
    """
    layer: Any
    for layer in transformer.layers:
        layer.self_attn.set_processor(AceStepAttnProcessor2_0())
        layer.cross_attn.set_processor(AceStepAttnProcessor2_0())
        if _take_masks not in layer._forward_pre_hooks.values():
            layer.register_forward_pre_hook(_take_masks, with_kwargs=True)


def _take_masks(layer: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    padding = _active_padding.get()
    if padding is None:
        return None
    own = padding.full if layer.self_attn.sliding_window is None else padding.near
    return args, {**kwargs, "attention_mask": own, "encoder_attention_mask": padding.cross}


@contextmanager
def use_masks(padding: Padding) -> Iterator[None]:
    """Let the attentions of a DiT keep to the real positions inside the block."""
    token = _active_padding.set(padding)
    try:
        yield
    finally:
        _active_padding.reset(token)
