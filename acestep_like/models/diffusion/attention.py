"""Faster attention for the DiT, equal to the plain path: condition keys once, windows without the full matrix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.ace_step_transformer import (
    AceStepAttention,
    AceStepAttnProcessor2_0,
    AceStepTransformer1DModel,
)

from acestep_like.models.diffusion.memory_layout import lay_frames_as_they_come, lay_frames_in_rows

_WORTH_WINDOWS = 4
"""Sequences of this many windows or more are attended window by window."""


@dataclass(frozen=True)
class LayerCondition:
    """What a cross-attention needs of a condition: keys and values [b, heads, L, D], and the output of null rows."""

    key: torch.Tensor
    value: torch.Tensor
    null_output: torch.Tensor | None


class ConditionCache:
    """Keys and values of one condition, layer by layer; filled by the first evaluation.

    Args:
        conditional_rows: the batch rows from this one on have the null condition, whose positions are all equal:
            attention over equal values is that value, so these rows need neither queries nor a softmax.
            None when every row has a condition of its own.
    """

    def __init__(self, conditional_rows: int | None = None) -> None:
        self.conditional_rows = conditional_rows
        self.by_layer: dict[int, LayerCondition] = {}


_active_cache: ContextVar[ConditionCache | None] = ContextVar("condition_cache", default=None)
"""The cache of the evaluation at hand. diffusers passes no arguments of a call on to its attention processors, and the
processors belong to all calls; a context variable is every thread's and task's own."""


def _heads_first(x: torch.Tensor, heads: int, head_dim: int) -> torch.Tensor:
    """[B, L, heads * D] as [B, heads, L, D]."""
    return x.unflatten(-1, (heads, head_dim)).transpose(1, 2)


def _shared_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Repeat key or value heads [B, h, L, D] to as many as there are query heads, so that any kernel takes them."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)


def _merged(attn: AceStepAttention, attended: torch.Tensor) -> torch.Tensor:
    """[B, heads, L, D] through the output projection: [B, L, width]."""
    return attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))


class CachedCrossAttention(AceStepAttnProcessor2_0):
    """Cross-attention that projects the condition once; without an active cache it is the stock processor."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer

    def __call__(
        self,
        attn: AceStepAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        cache = _active_cache.get()
        if cache is None or encoder_hidden_states is None or self._attention_backend is not None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        if self.layer not in cache.by_layer:
            cache.by_layer[self.layer] = project_condition(attn, encoder_hidden_states, cache.conditional_rows)
        condition = cache.by_layer[self.layer]
        asking = hidden_states[: len(condition.key)]
        query = attn.norm_q(attn.to_q(asking).unflatten(-1, (attn.heads, attn.head_dim))).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, condition.key, condition.value, scale=attn.scaling)
        output = _merged(attn, attended)
        if condition.null_output is None:
            return output
        rest = (len(hidden_states) - len(asking), hidden_states.shape[1], -1)
        return torch.cat([output, condition.null_output.expand(rest)])


def project_condition(
    attn: AceStepAttention, condition: torch.Tensor, conditional_rows: int | None = None
) -> LayerCondition:
    """Keys and values of a condition [B, L, width] for one cross-attention; see `ConditionCache`."""
    own = condition[:conditional_rows]
    key = attn.norm_k(attn.to_k(own).unflatten(-1, (attn.kv_heads, attn.head_dim))).transpose(1, 2)
    value = _heads_first(attn.to_v(own), attn.kv_heads, attn.head_dim)
    null_output = None
    if conditional_rows is not None:
        null = _heads_first(attn.to_v(condition[conditional_rows:][:1, :1]), attn.kv_heads, attn.head_dim)
        null_output = _merged(attn, _shared_heads(null, attn.heads))
    return LayerCondition(
        _shared_heads(key, attn.heads).contiguous(), _shared_heads(value, attn.heads).contiguous(), null_output
    )


class WindowedSelfAttention(AceStepAttnProcessor2_0):
    """Sliding-window self-attention whose cost grows with length, not with its square.

    Queries are taken in blocks as long as the window; a block sees itself and its two neighbours, masked to
    `|i - j| <= window`, which is exactly what the dense mask of the stock processor keeps.
    """

    def __call__(
        self,
        attn: AceStepAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> torch.Tensor:
        window, length = attn.sliding_window, hidden_states.shape[1]
        if window is not None and length <= window + 1:
            attention_mask = None  # everything lies within the window; a mask that hides nothing costs a third more
        if window is None or length < _WORTH_WINDOWS * window or self._attention_backend is not None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim)))
        value = attn.to_v(hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim))
        if image_rotary_emb is not None:
            query, key = (
                apply_rotary_emb(x, image_rotary_emb, use_real=True, use_real_unbind_dim=-2, sequence_dim=1)
                for x in (query, key)
            )
        attended = windowed_attention(
            query.transpose(1, 2),
            _shared_heads(key.transpose(1, 2), attn.heads),
            _shared_heads(value.transpose(1, 2), attn.heads),
            window,
            attn.scaling,
        )
        return _merged(attn, attended)


def windowed_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int, scale: float
) -> torch.Tensor:
    """Attention within `|i - j| <= window` of [B, heads, L, D] tensors with equal numbers of heads."""
    batch, _, length, _ = query.shape
    blocks = -(-length // window)
    lacking = blocks * window - length
    own = F.pad(query, (0, 0, 0, lacking)).unflatten(2, (blocks, window)).permute(0, 2, 1, 3, 4).flatten(0, 1)
    near_key, near_value = (
        F.pad(x, (0, 0, window, window + lacking)).unfold(2, 3 * window, window).permute(0, 2, 1, 4, 3).flatten(0, 1)
        for x in (key, value)
    )
    mask = _window_mask(length, window, query.device).repeat(batch, 1, 1).unsqueeze(1)
    attended = F.scaled_dot_product_attention(own, near_key, near_value, attn_mask=mask, scale=scale)
    attended = attended.unflatten(0, (batch, blocks)).permute(0, 2, 1, 3, 4).flatten(2, 3)
    return attended[:, :, :length]


@lru_cache(maxsize=8)
def _window_mask(length: int, window: int, device: torch.device) -> torch.Tensor:
    """[blocks, window, 3 * window] bool: which neighbours each query of each block attends to."""
    with torch.inference_mode(False):  # it is kept, and training cannot use what inference mode made
        blocks = -(-length // window)
        query = torch.arange(window, device=device)[:, None]
        key = torch.arange(3 * window, device=device)[None, :]
        band = (key >= query) & (key <= query + 2 * window)
        position = torch.arange(blocks, device=device)[:, None, None] * window + key[None] - window
        inside = (position >= 0) & (position < length)
        mask = band[None] & inside
        # Queries beyond the end would see nothing; a softmax over nothing is NaN even though it is cropped later.
        beyond = torch.arange(blocks, device=device)[:, None, None] * window + query[None] >= length
        return mask | beyond


def install_fast_paths(transformer: AceStepTransformer1DModel) -> None:
    """Give a DiT the processors above and its frames in rows; results stay those of the stock one within rounding."""
    lay_frames_in_rows(transformer)
    layer: Any
    for index, layer in enumerate(transformer.layers):
        layer.cross_attn.set_processor(CachedCrossAttention(index))
        if layer.self_attn.sliding_window is not None:
            layer.self_attn.set_processor(WindowedSelfAttention())


def install_stock_paths(transformer: AceStepTransformer1DModel) -> None:
    """Make a DiT run as diffusers made it: what the fast paths are held equal to and timed against."""
    lay_frames_as_they_come(transformer)
    layer: Any
    for layer in transformer.layers:
        layer.self_attn.set_processor(AceStepAttnProcessor2_0())
        layer.cross_attn.set_processor(AceStepAttnProcessor2_0())


@contextmanager
def use_condition_cache(cache: ConditionCache) -> Iterator[None]:
    """Let the cross-attentions of a DiT use a cache inside the block (no effect where none of ours is installed)."""
    token = _active_cache.set(cache)
    try:
        yield
    finally:
        _active_cache.reset(token)
