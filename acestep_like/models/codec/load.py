"""From a folder or a loaded autoencoder to the codec contract."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderOobleck
from torch import nn

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.config_fields import CODEC_FIELDS, check_config
from acestep_like.models.checkpoints.files import brief, is_regular, read_json
from acestep_like.models.checkpoints.remote_code import refuse_remote_code
from acestep_like.models.checkpoints.weights import Weights, build_module, meta_module, weight_files
from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.oobleck import oobleck_codec
from acestep_like.models.codec.spectral import SpectralAutoencoder

CODEC_CLASSES = tuple(CODEC_FIELDS)
"""Class names a checkpoint's codec may have in its `config.json`."""


def as_codec(model: Any) -> DiffusersCodec:
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
    folder: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> DiffusersCodec:
    """Load the autoencoder in a folder (`config.json` and safetensors), in evaluation mode.

    Args:
        dtype: of the weights; the spectral codec is always float32: logarithms of magnitudes need more than 8 bits.

    Raises:
        CheckpointError: the config is missing, odd or of a class that is not known, or the weights do not fit it, are
            damaged or are not finite.
    """
    folder = Path(folder)
    kind, values = _read_config(folder)
    dtype = torch.float32 if kind is SpectralAutoencoder else dtype
    weights = Weights(weight_files(folder))
    make, what = partial(kind.from_config, values), f"the codec in {folder}"
    return as_codec(build_module(make, weights, device=torch.device(device), dtype=dtype, what=what))


def codec_cost_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> DiffusersCodec:
    """The codec in a folder made from its config alone, on the device "meta"; CheckpointError as `load_codec`."""
    kind, values = _read_config(folder)
    model = meta_module(partial(kind.from_config, values), f"codec in {folder}").to("meta")
    # The plain method: diffusers' own warns of precisions that matter to weights, and here are none.
    return as_codec((model if kind is SpectralAutoencoder else nn.Module.to(model, dtype=dtype)).eval())


def _read_config(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The class of the codec in a folder, and what it is made from."""
    file = folder / "config.json"
    if not is_regular(file):
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        raise CheckpointError(f"No codec in {folder}: config.json is missing; found: {', '.join(found) or 'nothing'}.")
    refuse_remote_code(folder)
    config = read_json(file)
    name = config.get("_class_name", "AutoencoderOobleck")
    if name not in CODEC_CLASSES:
        raise CheckpointError(f"{folder}: no codec is known for {brief(name)}; known: {', '.join(CODEC_CLASSES)}.")
    check_config(config, CODEC_FIELDS[name], file)
    values = {key: value for key, value in config.items() if not key.startswith("_")}
    return (SpectralAutoencoder if name == "SpectralAutoencoder" else AutoencoderOobleck), values
