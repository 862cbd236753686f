"""Small networks of one safetensors file each, as the taggers that lie beside the weights: written and read whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from acestep_like.errors import CheckpointError

Module = TypeVar("Module", bound=nn.Module)
Make = Callable[[dict[str, Tensor], dict[str, str]], Module]
"""From the state and the facts of a file to a module of the right sizes."""


def write_half(module: nn.Module, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a module's state in float16 with some facts in the header, atomically."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().half().contiguous() for name, tensor in module.state_dict().items()}
    building = path.with_name(f"{path.name}.tmp")
    save_file(state, building, dict(facts or {}))
    os.replace(building, path)


def read_whole(path: Path, make: Make[Module]) -> Module | None:
    """The module that `make` makes, with the state of a file in float32 on the CPU; None where there is no such file.

    Raises:
        CheckpointError: the file is damaged, or lacks what `make` expects.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
            facts = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Fetch the checkpoint again.") from error
    try:
        with torch.device("meta"):  # no weights are drawn: loading leaves the caller's random state alone
            module = make(state, facts)
        module.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} is of another version: {error}. Fetch the checkpoint again.") from error
    return module.eval()
