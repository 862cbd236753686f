"""From a folder or a loaded autoencoder to the codec contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderOobleck
from torch import nn

from acestep_like.errors import CheckpointError
from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.oobleck import oobleck_codec
from acestep_like.models.codec.spectral import SpectralAutoencoder

CODEC_CLASSES = ("AutoencoderOobleck", "SpectralAutoencoder")
"""Class names a checkpoint's codec may have in its `config.json`."""


def as_codec(model: nn.Module) -> DiffusersCodec:
    """The codec contract over a loaded autoencoder of one of `CODEC_CLASSES`.

    Raises:
        CheckpointError: another class.
    """
    name = type(model).__name__
    if name == "AutoencoderOobleck":
        return oobleck_codec(model)
    if name == "SpectralAutoencoder":
        # It tiles by itself: its phases continue from block to block.
        return DiffusersCodec(model, channels=model.config.latent_channels)
    raise CheckpointError(f"No codec is known for {name}; known: {', '.join(CODEC_CLASSES)}.")


def load_codec(
    path: str, *, class_name: str | None = None, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> DiffusersCodec:
    """Load the autoencoder in folder `path` (`config.json` and safetensors), in evaluation mode.

    Args:
        path: the folder.
        dtype: of the weights; the spectral codec is always float32: logarithms of magnitudes need more than 8 bits.
        class_name: one of `CODEC_CLASSES`; default: the `_class_name` of its config, else `AutoencoderOobleck`.

    Raises:
        CheckpointError: no config there, or a class that is not known.
    """
    kind = _codec_class(path, _read_config(path), class_name)
    dtype = torch.float32 if kind is SpectralAutoencoder else dtype
    model = kind.from_pretrained(path, torch_dtype=dtype, low_cpu_mem_usage=False, local_files_only=True)
    return as_codec(model.to(device).eval())


def codec_cost_model(path: str, *, dtype: torch.dtype = torch.float32) -> DiffusersCodec:
    """The codec of folder `path` made from its config alone, on the device "meta"; CheckpointError as `load_codec`."""
    config = _read_config(path)
    kind = _codec_class(path, config, None)
    values = {name: value for name, value in config.items() if not name.startswith("_")}
    if kind is SpectralAutoencoder:  # its tables are computed, which takes memory for a moment
        return as_codec(kind.from_config(values).to("meta").eval())
    with torch.device("meta"):
        # The plain method: diffusers' own warns of precisions that matter to weights, and here are none.
        return as_codec(nn.Module.to(kind.from_config(values), dtype=dtype).eval())


def _codec_class(path: str, config: dict[str, Any], name: str | None) -> Any:
    name = name or config.get("_class_name", "AutoencoderOobleck")
    if name not in CODEC_CLASSES:
        raise CheckpointError(f"{path}: no codec is known for {name}; known: {', '.join(CODEC_CLASSES)}.")
    return SpectralAutoencoder if name == "SpectralAutoencoder" else AutoencoderOobleck


def _read_config(path: str) -> dict[str, Any]:
    file = Path(path) / "config.json"
    if not file.is_file():
        found = sorted(p.name for p in Path(path).iterdir()) if Path(path).is_dir() else []
        raise CheckpointError(f"No codec in {path}: config.json is missing; found: {', '.join(found) or 'nothing'}.")
    return json.loads(file.read_text(encoding="utf-8"))
