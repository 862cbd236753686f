"""Reading weights: safetensors only, compared with their config by their headers before anything is allocated, then
mapped from disk and placed straight into modules made without memory."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.files import FETCH_AGAIN, inside, is_regular, read_json

Module = TypeVar("Module", bound=nn.Module)
KeyMap = Callable[[str], "str | None"]
SILENCE_FRAMES = 15_000
"""Latents of encoded silence that a checkpoint holds: 600 s."""
_WINDOW_BYTES = 1 << 25
_MAX_SILENCE_BYTES = 1 << 28
_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Weights:
    """The stored weights of one network.

    Attributes:
        files: safetensors files.
        key_map: the network's key of a stored key; None for keys that belong elsewhere.
        extra: tensors of the network that lie in no safetensors file, by their key.
    """

    files: list[Path]
    key_map: KeyMap = lambda key: key
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """What to name in a message: the file, or the folder of several."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: the shards that its index names, or the single file; where there are only
    files of a variant ("model.fp16.safetensors"), these.

    Raises:
        CheckpointError: none there, a shard of the index is missing (all missing ones are named), or the index is
            damaged or names files elsewhere.
    """
    indexes = sorted(file for file in folder.glob("*.safetensors.index.json") if is_regular(file))
    if indexes:
        return _shards(indexes[0])
    for name in ("diffusion_pytorch_model.safetensors", "model.safetensors"):
        if is_regular(folder / name):
            return [folder / name]
    variants = sorted(file for file in folder.glob("*.safetensors.index.*.json") if is_regular(file))
    if variants:
        return _shards(variants[0])
    found = sorted(file for file in folder.glob("*.safetensors") if is_regular(file))
    if len(found) == 1:
        return found
    pickled = sorted(file.name for pattern in ("*.bin", "*.ckpt", "*.pth") for file in folder.glob(pattern))
    if pickled and not found:
        raise CheckpointError(
            f"{folder} holds its weights as {pickled[0]}, a format that can run code; save them as safetensors "
            "(save_pretrained with safe_serialization=True), or fetch a repository that has them."
        )
    raise CheckpointError(f"{folder} holds {len(found)} safetensors files and no index; one was expected.")


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map that names its shards. {FETCH_AGAIN}")
    shards = {inside(index.parent, name, index) for name in weight_map.values() if isinstance(name, str)}
    if len(shards) == 0 or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index} has a weight_map whose values are no file names. {FETCH_AGAIN}")
    absent = sorted(shard.name for shard in shards if shard.suffix != ".safetensors" or not is_regular(shard))
    if absent:
        raise CheckpointError(f"{index.parent} lacks {', '.join(absent)} named by {index.name}: resume the download.")
    return sorted(shards)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; CheckpointError where it is damaged."""
    if not is_regular(path):
        raise CheckpointError(f"{path} is not a file. {FETCH_AGAIN}")
    try:
        with safe_open(path, framework="pt") as handle:
            yield handle
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged, not a readable safetensors file: {error}. {FETCH_AGAIN}") from error


def check_header(weights: Weights, expected: Mapping[str, torch.Tensor], what: str) -> None:
    """Compare the names, sizes and types in the headers with those of a network without memory; no tensor is read.

    Raises:
        CheckpointError: weights are missing, left over, stored twice, of another shape or no floating-point numbers.
    """
    left = dict(expected)
    for path in weights.files:
        with _opened(path) as handle:
            for key in handle.keys():  # noqa: SIM118 - not a mapping
                try:
                    name = weights.key_map(key)
                except CheckpointError as error:
                    raise CheckpointError(f"{path}: {error} {FETCH_AGAIN}") from error
                if name is None:
                    continue
                if name not in left:
                    why = "stored twice" if name in expected else f"no part of {what} as its config describes it"
                    raise CheckpointError(f"{path} holds {key[:200]!r}, which is {why}. {FETCH_AGAIN}")
                stored = handle.get_slice(key)
                shape, wanted = tuple(stored.get_shape()), tuple(left.pop(name).shape)
                if shape != wanted:
                    raise CheckpointError(
                        f"{path} holds {key[:200]!r} of shape {shape}; the config of {what} asks for {wanted}. "
                        f"{FETCH_AGAIN}"
                    )
                if stored.get_dtype() not in _FLOATS:
                    raise CheckpointError(
                        f"{path} holds {key[:200]!r} as {stored.get_dtype()}; expected one of {', '.join(_FLOATS)}."
                    )
    for name, tensor in weights.extra.items():
        if name not in left or tensor.shape != left[name].shape:
            raise CheckpointError(f"{weights.place.parent}: the {name} has shape {tuple(tensor.shape)}, not {what}'s.")
    missing = sorted(set(left) - set(weights.extra))
    if missing:
        raise CheckpointError(
            f"{weights.place} lacks {len(missing)} of {len(expected)} weights of {what}, such as {missing[0]}. "
            f"{FETCH_AGAIN}"
        )


def iterate_tensors(files: list[Path], key_map: KeyMap) -> Iterator[tuple[str, torch.Tensor]]:
    """(mapped key, tensor) of every key that `key_map` does not drop; tensors are views of the mapped file.

    Pages of a mapping that were read stay resident as long as it lives, so a file is mapped anew every
    `_WINDOW_BYTES`: what the caller has copied to another precision or device is not held twice.

    Raises:
        CheckpointError: a file is damaged.
    """
    for path in files:
        with _opened(path) as handle:
            wanted = [(name, key) for key in handle.keys() if (name := key_map(key)) is not None]  # noqa: SIM118
        while wanted:
            taken = 0
            with _opened(path) as handle:
                while wanted and taken < _WINDOW_BYTES:
                    name, key = wanted.pop(0)
                    tensor = handle.get_tensor(key)
                    taken += tensor.numel() * tensor.element_size()
                    yield name, tensor


def place(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
    """A tensor on its device, floating ones in `dtype`. On the CPU in its stored dtype it stays the mapped file:
    pages are read when they are first used, and a change to a weight does not reach the file."""
    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=device, dtype=wanted)


def meta_module(make: Callable[[], Module], what: str) -> Module:
    """A network made on the device "meta", without memory.

    Raises:
        CheckpointError: its class does not take the config.
    """
    try:
        with torch.device("meta"):
            return make()
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"No {what} can be made from its config: {reason}. {FETCH_AGAIN}") from error


def build_module(
    make: Callable[[], Module], weights: Weights, *, device: torch.device, dtype: torch.dtype | None, what: str
) -> Module:
    """Make a network without memory and give it its weights: the peak is the weights themselves.

    Args:
        make: makes the network from a config that was checked; called on the device "meta".
        dtype: None keeps the stored one.
        what: names it in messages.

    Raises:
        CheckpointError: the weights do not fit the config, are damaged, or are not finite.
    """
    module = meta_module(make, what)
    check_header(weights, module.state_dict(), what)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in (*weights.extra.items(), *iterate_tensors(weights.files, weights.key_map)):
        state[name] = place(tensor, device, dtype)
        if not bool(torch.isfinite(state[name].sum(dtype=torch.float32))):
            raise CheckpointError(f"{weights.place} holds numbers that are not finite in {name}. {FETCH_AGAIN}")
    module.load_state_dict(state, strict=True, assign=True)
    _restore_buffers(module, device)
    return module.eval().requires_grad_(False)


def _restore_buffers(module: nn.Module, device: torch.device) -> None:
    """Bring the buffers that are not saved to the device. Those of the quantizer and of rotary positions were made
    without memory; they are functions of its levels, and of the config."""
    for child in module.modules():
        own = dict(child.named_buffers(recurse=False))
        if any(buffer.is_meta for buffer in own.values()):
            own = dict(_made_again(child).named_buffers(recurse=False))
        for name in sorted(own.keys() & child._non_persistent_buffers_set):
            child.register_buffer(name, own[name].to(device), persistent=False)


def _made_again(child: Any) -> nn.Module:
    if hasattr(child, "levels"):
        made: nn.Module = type(child)(dim=1, levels=child.levels, num_quantizers=child.num_quantizers)
    else:
        made = type(child)(child.config)
    return made


def read_silence(path: Path) -> torch.Tensor:
    """`silence_latent.pt` ([1, C, frames]) as [1, frames, C] float32; read without running any code from it.

    Raises:
        CheckpointError: not a tensor of that shape, or damaged.
    """
    try:
        unpacked = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _MAX_SILENCE_BYTES:
            raise CheckpointError(f"{path} holds {unpacked} bytes; at most {_MAX_SILENCE_BYTES} were expected.")
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or ["the file is empty"])[0].rstrip(".")
        raise CheckpointError(f"{path} cannot be read as a plain tensor: {reason}. {FETCH_AGAIN}") from error
    plain = isinstance(value, torch.Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    if not plain or not value.is_floating_point() or value.ndim != 3 or value.shape[0] != 1:
        raise CheckpointError(f"{path} should hold a dense tensor [1, channels, frames] of floating-point numbers.")
    if value.shape[2] != SILENCE_FRAMES:
        raise CheckpointError(f"{path} holds {value.shape[2]} frames; expected {SILENCE_FRAMES}. {FETCH_AGAIN}")
    return value.float().transpose(1, 2).contiguous()
