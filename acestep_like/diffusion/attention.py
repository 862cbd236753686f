"""Faster attention for the DiT, equal to the plain path: condition keys once, windows without the full matrix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import AceStepTransformer1DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.ace_step_transformer import AceStepAttention, AceStepAttnProcessor2_0


class ConditionCache:
    """Keys and values of one condition, layer by layer; filled by the first evaluation."""

    def __init__(self) -> None:
        self.by_layer: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}


class CachedCrossAttention(AceStepAttnProcessor2_0):
    """Cross-attention that projects the condition once; without an active cache it is the stock processor."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.active: ConditionCache | None = None

    def __call__(
        self,
        attn: AceStepAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        if self.active is None or encoder_hidden_states is None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        if self.layer not in self.active.by_layer:
            key = attn.norm_k(attn.to_k(encoder_hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim)))
            value = attn.to_v(encoder_hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim))
            self.active.by_layer[self.layer] = (key, value)
        key, value = self.active.by_layer[self.layer]
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        attended = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            scale=attn.scaling,
            enable_gqa=attn.heads != attn.kv_heads,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return attn.to_out[1](attn.to_out[0](attended.flatten(2, 3).to(query.dtype)))


def install_fast_attention(transformer: AceStepTransformer1DModel) -> None:
    """Give every cross-attention of a DiT a `CachedCrossAttention`; without an active cache nothing changes."""
    for index, layer in enumerate(transformer.layers):
        if not isinstance(layer.cross_attn.processor, CachedCrossAttention):
            layer.cross_attn.set_processor(CachedCrossAttention(index))


@contextmanager
def use_condition_cache(transformer: AceStepTransformer1DModel, cache: ConditionCache) -> Iterator[None]:
    """Let the cross-attentions of a DiT use a cache inside the block (no effect where none is installed)."""
    processors = [layer.cross_attn.processor for layer in transformer.layers]
    cached = [processor for processor in processors if isinstance(processor, CachedCrossAttention)]
    for processor in cached:
        processor.active = cache
    try:
        yield
    finally:
        for processor in cached:
            processor.active = None
