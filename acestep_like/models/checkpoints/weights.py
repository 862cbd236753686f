"""Reading weights: safetensors only, mapped from disk and placed straight into modules made without memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.modeling_utils import ModelMixin
from safetensors import SafetensorError, safe_open

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.files import read_json

Module = TypeVar("Module", bound=ModelMixin)
KeyMap = Callable[[str], "str | None"]
_WINDOW_BYTES = 1 << 25


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: the shards that its index names, or the single file.

    Raises:
        CheckpointError: none there, or a shard of the index is missing (all missing ones are named).
    """
    indexes = sorted(folder.glob("*.safetensors.index.json"))
    if indexes:
        names = sorted(set(read_json(indexes[0]).get("weight_map", {}).values()))
        absent = [name for name in names if not (folder / name).is_file()]
        if absent or not names:
            raise CheckpointError(f"{folder} lacks {', '.join(absent) or 'every shard'} named by {indexes[0].name}.")
        return [folder / name for name in names]
    for name in ("diffusion_pytorch_model.safetensors", "model.safetensors"):
        if (folder / name).is_file():
            return [folder / name]
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found
    raise CheckpointError(f"{folder} holds {len(found)} safetensors files and no index; one was expected.")


def iterate_tensors(files: list[Path], key_map: KeyMap) -> Iterator[tuple[str, torch.Tensor]]:
    """(mapped key, tensor) of every key that `key_map` does not drop; tensors are views of the mapped file.

    Pages of a mapping that were read stay resident as long as it lives, so a file is mapped anew every
    `_WINDOW_BYTES`: what the caller has copied to another precision or device is not held twice.

    Raises:
        CheckpointError: a file is damaged.
    """
    for path in files:
        try:
            with safe_open(path, framework="pt") as handle:
                wanted = [(name, key) for key in handle.keys() if (name := key_map(key)) is not None]  # noqa: SIM118
            while wanted:
                taken = 0
                with safe_open(path, framework="pt") as handle:
                    while wanted and taken < _WINDOW_BYTES:
                        name, key = wanted.pop(0)
                        tensor = handle.get_tensor(key)
                        taken += tensor.numel() * tensor.element_size()
                        yield name, tensor
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def place(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
    """A tensor on its device, floating ones in `dtype`. On the CPU in its stored dtype it stays the mapped file:
    pages are read when they are first used, and a change to a weight does not reach the file."""
    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=device, dtype=wanted)


def build_module(
    cls: type[Module],
    config: dict[str, Any],
    tensors: Iterator[tuple[str, torch.Tensor]],
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    what: str,
) -> Module:
    """Make a diffusers module on the meta device and give it its weights: the peak is the weights themselves.

    Raises:
        CheckpointError: keys are missing, left over or of another shape.
    """
    with torch.device("meta"):
        module = cls.from_config(config)
    state = {name: place(tensor, device, dtype) for name, tensor in tensors}
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise CheckpointError(f"The weights of {what} do not fit its config: {first}") from error
    _restore_buffers(module, device)
    return module.eval().requires_grad_(False)


def _restore_buffers(module: torch.nn.Module, device: torch.device) -> None:
    """Fill the buffers that are not saved: those of the quantizer, which are functions of its levels."""
    for child in module.modules():
        if not any(buffer.is_meta for buffer in child.buffers(recurse=False)):
            continue
        fresh = type(child)(dim=1, levels=child.levels, num_quantizers=child.num_quantizers)
        for name, buffer in fresh.named_buffers(recurse=False):
            child.register_buffer(name, buffer.to(device), persistent=False)


def read_silence(path: Path) -> torch.Tensor:
    """`silence_latent.pt` ([1, C, frames]) as [1, frames, C] float32; read without running any code from it.

    Raises:
        CheckpointError: not a tensor of that shape.
    """
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read as a plain tensor: {str(error).splitlines()[0]}") from error
    if not isinstance(value, torch.Tensor) or value.ndim != 3 or value.shape[0] != 1:
        raise CheckpointError(f"{path} should hold a tensor [1, channels, frames].")
    return value.float().transpose(1, 2).contiguous()
