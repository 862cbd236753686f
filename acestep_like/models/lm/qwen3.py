"""Incremental forward pass of a loaded Qwen3, without the per-step cost of the general module.

At 5 Hz LM sizes a decoding step is bound by overhead, not arithmetic. The weights are taken over from a
`transformers.Qwen3ForCausalLM` (query, key and value fused into one matrix, gate and up into another), keys and
values live in one preallocated cache, and the head can be restricted to a range of tokens. A test holds the logits
equal to those of the transformers module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import Qwen3ForCausalLM


@dataclass(frozen=True)
class _Layer:
    """Weights of one decoder layer."""

    attention_norm: torch.Tensor
    qkv: torch.Tensor
    qkv_bias: torch.Tensor | None
    query_norm: torch.Tensor
    key_norm: torch.Tensor
    out: torch.Tensor
    out_bias: torch.Tensor | None
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor

    def to(self, device: torch.device | str) -> _Layer:
        """The weights on another device."""
        moved: dict[str, Any] = {name: None if x is None else x.to(device) for name, x in vars(self).items()}
        return _Layer(**moved)


@dataclass
class Cache:
    """Keys and values of a batch: [layers, B, key-value heads, capacity, head width], and how much is used.

    Rows are left-padded to a common length; `padding` is the number of pad columns of each row [B].
    """

    keys: torch.Tensor
    values: torch.Tensor
    padding: torch.Tensor
    used: int = 0


class Qwen3Decoder:
    """The network of a `Qwen3ForCausalLM`, as functions of ids and a cache.

    The given module is emptied layer by layer while its weights are fused, so that memory stays at one copy.
    """

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        config = model.config
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads or self.heads)
        self.head_dim = int(config.head_dim or config.hidden_size // self.heads)
        self.eps = config.rms_norm_eps
        self.embedding = model.model.embed_tokens.weight.detach()
        tied = model.lm_head.weight is model.model.embed_tokens.weight
        self.head = self.embedding if tied else model.lm_head.weight.detach()
        self.final_norm = model.model.norm.weight.detach()
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        positions = torch.arange(config.max_position_embeddings, device=self.device).unsqueeze(0)
        cos, sin = model.model.rotary_emb(torch.zeros(1, device=self.device, dtype=torch.float32), positions)
        half = self.head_dim // 2
        self.cos, self.sin = cos[0].to(self.dtype), sin[0].to(self.dtype)
        # rotate_half as a multiplication: the first half of sin is negated, then the halves are swapped.
        self.sin = torch.cat([-self.sin[:, :half], self.sin[:, half:]], -1)
        self.layers = []
        for index in range(len(model.model.layers)):
            self.layers.append(_take(model.model.layers[index]))
            model.model.layers[index] = torch.nn.Identity()

    @property
    def max_length(self) -> int:
        return self.cos.shape[0]

    def move(self, device: torch.device | str) -> None:
        """Take all weights to another device."""
        self.embedding, tied = self.embedding.to(device), self.head is self.embedding
        self.head = self.embedding if tied else self.head.to(device)
        self.final_norm, self.cos, self.sin = (x.to(device) for x in (self.final_norm, self.cos, self.sin))
        self.layers = [layer.to(device) for layer in self.layers]
        self.device = self.embedding.device

    def new_cache(self, padding: torch.Tensor, capacity: int) -> Cache:
        """An empty cache for rows with the given left padding [B]."""
        shape = (len(self.layers), len(padding), self.kv_heads, capacity, self.head_dim)
        zeros = torch.zeros(shape, device=self.device, dtype=self.dtype)
        return Cache(zeros, torch.zeros_like(zeros), padding)

    def forward(self, ids: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Append ids [B, L] to the cache; answers the last hidden state of every row, normalised [B, C]."""
        length = ids.shape[1]
        columns = torch.arange(cache.used, cache.used + length, device=self.device)
        # Pad columns, and finished rows that go on beside unfinished ones, may lie outside; nobody reads them.
        positions = (columns.unsqueeze(0) - cache.padding.unsqueeze(1)).clamp(0, self.max_length - 1)
        cos, sin = self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)
        mask = self._mask(columns, cache, length)
        x = F.embedding(ids, self.embedding)
        cache.used += length
        for index, layer in enumerate(self.layers):
            normed = F.rms_norm(x, (x.shape[-1],), layer.attention_norm, self.eps)
            x = x + self._attend(index, layer, normed, cos, sin, mask, cache)
            normed = F.rms_norm(x, (x.shape[-1],), layer.mlp_norm, self.eps)
            gate, up = F.linear(normed, layer.gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return F.rms_norm(x[:, -1], (x.shape[-1],), self.final_norm, self.eps)

    def logits(self, hidden: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        """Logits [B, last - first] of the tokens in `[first, last)`."""
        return F.linear(hidden, self.head[first:last])

    def _mask(self, columns: torch.Tensor, cache: Cache, length: int) -> torch.Tensor | None:
        """Which cached columns each query may see: [B, 1, L, used + L], or None where all."""
        keys = torch.arange(cache.used + length, device=self.device)
        if length == 1 and not bool(cache.padding.any()):
            return None
        visible = (keys <= columns.unsqueeze(1)) & (keys >= cache.padding.view(-1, 1, 1))
        # A pad query sees itself, so that its (unused) softmax is defined.
        return (visible | (keys == columns.unsqueeze(1))).unsqueeze(1)

    def _attend(
        self,
        index: int,
        layer: _Layer,
        x: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        mask: torch.Tensor | None,
        cache: Cache,
    ) -> torch.Tensor:
        """Self-attention of one layer on new positions [B, L, C], with grouped key-value heads."""
        batch, length, _ = x.shape
        fused = F.linear(x, layer.qkv, layer.qkv_bias).view(batch, length, -1, self.head_dim).transpose(1, 2)
        query, key, value = fused.split((self.heads, self.kv_heads, self.kv_heads), 1)
        query = self._rotate(F.rms_norm(query, (self.head_dim,), layer.query_norm, self.eps), cos, sin)
        key = self._rotate(F.rms_norm(key, (self.head_dim,), layer.key_norm, self.eps), cos, sin)
        keys, values = cache.keys[index, :, :, : cache.used], cache.values[index, :, :, : cache.used]
        keys[:, :, -length:] = key
        values[:, :, -length:] = value
        group = self.heads // self.kv_heads
        if length == 1:  # the heads of a group stand in for queries, so that keys need no copies
            query = query.view(batch, self.kv_heads, group, self.head_dim)
            out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            out = out.reshape(batch, 1, -1)
        else:
            out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, enable_gqa=group > 1)
            out = out.transpose(1, 2).reshape(batch, length, -1)
        return F.linear(out, layer.out, layer.out_bias)

    def _rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Rotary position embedding (Su et al. 2021)."""
        return x * cos + x.roll(self.head_dim // 2, -1) * sin


def _take(layer: Any) -> _Layer:
    """The weights of a transformers `Qwen3DecoderLayer`, fused."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections]
    return _Layer(
        attention_norm=layer.input_layernorm.weight.detach(),
        qkv=torch.cat([projection.weight.detach() for projection in projections]),
        qkv_bias=None if biases[0] is None else torch.cat([bias.detach() for bias in biases]),
        query_norm=attention.q_norm.weight.detach(),
        key_norm=attention.k_norm.weight.detach(),
        out=attention.o_proj.weight.detach(),
        out_bias=None if attention.o_proj.bias is None else attention.o_proj.bias.detach(),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=torch.cat([mlp.gate_proj.weight.detach(), mlp.up_proj.weight.detach()]),
        down=mlp.down_proj.weight.detach(),
    )
