"""A checkpoint's networks without their weights: built from configs on the device "meta", to count what they cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.checkpoints.qwen3_folder import text_encoder_cost_model
from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.load import codec_cost_model
from acestep_like.models.diffusion.attention import install_fast_paths
from acestep_like.models.diffusion.cost_counter import Cost, counting, typical_seconds
from acestep_like.models.diffusion.denoiser import DiTDenoiser
from acestep_like.models.diffusion.load import PART_CLASSES, part_config

_PIECE = 64
"""Latents that decoding is counted on: longer songs repeat it."""
_CHARACTERS_A_TOKEN = 3.0


class CostModel:
    """Counts of one checkpoint at given precisions. Nothing here takes memory for weights.

    Args:
        parts: networks on "meta", by the names of `checkpoints.info`, and `text_encoder`.
        make_codec: makes the codec, likewise.
    """

    def __init__(self, parts: dict[str, Any], make_codec: Callable[[], DiffusersCodec]) -> None:
        self.parts, self.codec, self._make_codec = parts, make_codec(), make_codec
        self.transformer: Any = parts["transformer"]
        self.dit_dtype: torch.dtype = self.transformer.dtype
        self.evaluation = lru_cache(maxsize=64)(self._evaluation)
        self.decoding = lru_cache(maxsize=64)(self._decoding)

    def weight_bytes(self) -> dict[str, float]:
        """Of the stages "dit", "text" and "codec", in the precision they run in."""
        sizes = {name: _stored_bytes(part) for name, part in self.parts.items()}
        text = sizes.pop("text_encoder")
        return {"dit": sum(sizes.values()), "text": text, "codec": _stored_bytes(self.codec.model)}

    def _evaluation(
        self, batch: int, frames: int, *, guided: bool, first: bool = False, condition_tokens: int = 300
    ) -> Cost:
        """One evaluation of the DiT for `batch` items of `frames` latents; `first` also projects the condition."""
        return count_evaluation(self.transformer, batch, frames, guided=guided, first=first, tokens=condition_tokens)

    def encoding(self, batch: int, caption: str, lyrics: str, timbre_tokens: int) -> Cost:
        """Text encoder and condition encoder once: their weights times the tokens that pass them."""
        text = 60 + len(caption) / _CHARACTERS_A_TOKEN
        words = 10 + len(lyrics) / _CHARACTERS_A_TOKEN
        encoder: Any = self.parts["condition_encoder"]
        passes = [
            (self.parts["text_encoder"], text),
            (encoder.lyric_encoder, words),
            (encoder.timbre_encoder, timbre_tokens),
        ]
        work = sum(_matrix_weights(module) * tokens for module, tokens in passes)
        return Cost(multiply_adds=batch * work, product_bytes=sum(_stored_bytes(module) for module, _ in passes))

    def _decoding(self, frames: int) -> Cost:
        """Decoding one item of `frames` latents."""
        if frames <= 2 * _PIECE:
            return self._count_decoding(frames)
        one, two = self._count_decoding(_PIECE), self._count_decoding(2 * _PIECE)
        more = (frames - 2 * _PIECE) / _PIECE
        overlap, tile = self.codec.decode_overlap, self.codec.tile
        if overlap is None:
            grown = (two.peak_bytes - one.peak_bytes) * (min(frames, tile) - 2 * _PIECE) / _PIECE
            peak = two.peak_bytes + max(grown, 0.0) + 8.0 * max(frames - tile, 0) * self.codec.hop
            return _with_peak(two + (two + one * -1.0) * more, peak)
        tiled = frames > tile + overlap
        peak = self._count_decoding(tile + 2 * overlap if tiled else frames).peak_bytes
        halo = (tile + 2 * overlap) / tile if tiled else 1.0
        return _with_peak((two + (two + one * -1.0) * more) * halo, peak + 8.0 * frames * self.codec.hop)

    @lru_cache(maxsize=16)  # noqa: B019 - cost models are few and kept anyway
    def _count_decoding(self, frames: int) -> Cost:
        with torch.no_grad(), counting() as count:
            self.codec.decode(torch.empty(1, frames, self.codec.channels, device="meta", dtype=torch.float32))
        return count.cost

    def probe_dit(self, device: torch.device, frames: int) -> tuple[float, Cost]:
        """Seconds of two blocks of this width on a device, with zeros as weights, and the counts of the same."""
        config = dict(self.transformer.config)
        config |= {"num_hidden_layers": 2, "layer_types": list(self.transformer.layer_types[:2])}
        with torch.device("meta"):
            blocks: Any = _cast(type(self.transformer).from_config(config), self.dit_dtype)
        install_fast_paths(blocks)
        cost = count_evaluation(blocks, 1, frames, guided=True)
        call = _evaluation_of(_zeroed(blocks, device), 1, frames, True, 300)
        call()
        return typical_seconds([call] * 6, device), cost

    def probe_codec(self, device: torch.device, latents: int) -> tuple[float, Cost]:
        """Seconds of decoding a short piece on a device, with zeros as weights, and the counts of the same."""
        cost = self._count_decoding(latents)
        codec = self._make_codec()  # of its own: other threads count with the shared one
        codec.model = _zeroed(codec.model, device)
        piece = torch.zeros(1, latents, codec.channels, device=device, dtype=torch.float32)
        return typical_seconds([lambda: codec.decode(piece)] * 2, device), cost


def cost_model(info: CheckpointInfo, dit_dtype: torch.dtype, codec_dtype: torch.dtype) -> CostModel:
    """The networks of a checkpoint from its configs alone; made once a checkpoint and process.

    Raises:
        CheckpointError: a part that text2music needs is missing.
    """
    lacking = [part for part in ("transformer", "condition_encoder", "text_encoder", "vae") if part not in info.parts]
    if lacking:
        raise CheckpointError(f"The checkpoint {info.name} at {info.path} lacks {', '.join(lacking)}.")
    key = (str(info.path), dit_dtype, codec_dtype)
    if key not in _BUILT:
        _BUILT[key] = _build(info, dit_dtype, codec_dtype)
    return _BUILT[key]


_BUILT: dict[tuple[str, torch.dtype, torch.dtype], CostModel] = {}


def _build(info: CheckpointInfo, dit_dtype: torch.dtype, codec_dtype: torch.dtype) -> CostModel:
    parts: dict[str, Any] = {}
    for part, cls in PART_CLASSES.items():
        if part in info.parts:
            with torch.device("meta"):
                parts[part] = _cast(cls.from_config(part_config(info, part)), dit_dtype)
    install_fast_paths(parts["transformer"])
    parts["text_encoder"] = _cast(text_encoder_cost_model(info.parts["text_encoder"]), dit_dtype)
    return CostModel(parts, partial(codec_cost_model, info.parts["vae"], dtype=codec_dtype))


def _cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    # The plain method: diffusers' own warns of precisions that matter to weights, and here are none.
    return nn.Module.to(module, dtype=dtype).eval().requires_grad_(False)


def _evaluation_of(transformer: Any, batch: int, frames: int, guided: bool, tokens: int) -> Callable[[], Any]:
    """A call that evaluates a DiT once on empty input of these shapes."""
    config, device, dtype = transformer.config, transformer.device, transformer.dtype
    channels = config.audio_acoustic_hidden_dim
    width = config.encoder_hidden_size or config.hidden_size

    def blank(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, device=device, dtype=dtype)

    null = blank(1, 1, width) if guided else None
    context = blank(batch, frames, config.in_channels - channels)
    denoiser = DiTDenoiser(transformer, blank(batch, tokens, width), context, null_condition=null)
    x = blank(batch, frames, channels)
    return lambda: denoiser.velocities(x, 0.5) if guided else denoiser.velocity(x, 0.5)


def count_evaluation(
    transformer: nn.Module, batch: int, frames: int, *, guided: bool, first: bool = False, tokens: int = 300
) -> Cost:
    """One evaluation of a DiT on "meta": `batch` items of `frames` latents, a condition of `tokens` positions."""
    evaluate = _evaluation_of(transformer, batch, frames, guided, tokens)
    with torch.no_grad():
        if not first:
            evaluate()  # afterwards the condition's keys and values are there
        with counting() as count:
            evaluate()
    return count.cost


def _zeroed(module: nn.Module, device: torch.device) -> nn.Module:
    """A module of "meta" with memory on a device and zeros in it."""
    real = module.to_empty(device=device)
    for tensor in (*real.parameters(), *real.buffers()):
        tensor.data.zero_()
    return real


def _stored_bytes(module: nn.Module) -> float:
    tensors = (*module.parameters(), *module.buffers())
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _matrix_weights(module: nn.Module) -> float:
    """Weights of its matrix products; embeddings are looked up, not multiplied."""
    return float(sum(child.weight.numel() for child in module.modules() if isinstance(child, nn.Linear)))


def _with_peak(cost: Cost, peak_bytes: float) -> Cost:
    return Cost(**{**vars(cost), "peak_bytes": peak_bytes})
