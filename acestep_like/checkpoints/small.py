"""Small networks of one safetensors file each, as the ears that lie beside the weights: written and read whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from acestep_like.errors import CheckpointError


def write_half(module: nn.Module, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a module's state in float16 with some facts in the header, atomically."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().half().contiguous() for name, tensor in module.state_dict().items()}
    building = path.with_name(f"{path.name}.tmp")
    save_file(state, building, dict(facts or {}))
    os.replace(building, path)


def read_whole(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """The state in float32 on the CPU, and the facts in the header; None where there is no such file.

    Raises:
        CheckpointError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
            return state, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Fetch the checkpoint again.") from error
