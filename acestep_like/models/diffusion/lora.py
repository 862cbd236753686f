"""LoRA adapters on a loaded DiT: read in the formats people have, stacked, scaled and taken off again.

Low-rank adaptation is of Hu et al. (2021). Files are brought to one form here; putting them on is done by diffusers'
adapter loader and PEFT.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from acestep_like.errors import CheckpointError, DependencyError, InputError
from acestep_like.models.checkpoints.files import read_json
from acestep_like.models.checkpoints.hashes import file_hash
from acestep_like.models.checkpoints.upstream_layout import part_of
from acestep_like.types.paths import user_path

_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
_PREFIX = re.compile(r"^(base_model\.model\.|base_model\.|diffusion_model\.|transformer\.|decoder\.|model\.)+")
_KEY = re.compile(r"^(?P<module>.+)\.(?P<side>lora_A|lora_B|lora_down|lora_up)(\.[^.]+)?\.weight$")
_SIDES = {"lora_A": "lora_A", "lora_down": "lora_A", "lora_B": "lora_B", "lora_up": "lora_B"}


@dataclass(frozen=True)
class LoraInfo:
    """An adapter that is loaded: its name, file, SHA-256 of the file, and the scale it is added with (0 is off)."""

    name: str
    path: Path
    sha256: str
    scale: float = 1.0

    def facts(self) -> dict[str, Any]:
        """What a recipe says of it, so that a song can be made again."""
        return {"name": self.name, "sha256": self.sha256, "scale": self.scale}


@dataclass(frozen=True)
class _Pair:
    """The two factors of one layer, the file's own scaling included: down [rank, in], up [out, rank]."""

    down: torch.Tensor
    up: torch.Tensor


def _adapter_file(path: Path) -> Path:
    """The safetensors file of an adapter given as a file or folder (of PEFT, diffusers or the upstream trainer)."""
    if path.is_file() and path.suffix == ".safetensors":
        return path
    if path.is_file():
        raise CheckpointError(f"{path} is no safetensors file; adapters in other formats could run code.")
    if not path.is_dir():
        raise CheckpointError(f"There is no adapter at {path}.")
    for folder in (path, path / "adapter"):  # the upstream trainer keeps its adapter one folder further in
        for name in _FILES:
            if (folder / name).is_file():
                return folder / name
    found = sorted(path.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    raise CheckpointError(f"{path} holds {len(found)} safetensors files; an adapter folder has {' or '.join(_FILES)}.")


def _read_pairs(file: Path) -> dict[str, _Pair]:
    """Factors by the module of the diffusers DiT they belong to.

    Raises:
        CheckpointError: damaged, or not a LoRA.
    """
    try:
        with safe_open(file, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
            stored = json.loads((handle.metadata() or {}).get("lora_adapter_metadata", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is not a readable safetensors file: {error}") from error
    config = file.parent / "adapter_config.json"
    settings = read_json(config) if config.is_file() else {_module(key): value for key, value in stored.items()}
    factors: dict[str, dict[str, torch.Tensor]] = {}
    alphas: dict[str, float] = {}
    for key, value in tensors.items():
        match = _KEY.match(key)
        if match is not None and value.ndim == 2:
            factors.setdefault(_module(match["module"]), {})[_SIDES[match["side"]]] = value
        elif key.endswith(".alpha") and value.numel() == 1:
            alphas[_module(key.removesuffix(".alpha"))] = float(value)
        else:
            raise CheckpointError(f"{file} is no LoRA for the DiT: it holds '{key}', not pairs of lora_A and lora_B.")
    halves = [module for module, sides in factors.items() if len(sides) != 2]
    if halves or not factors:
        what = f"only one factor of {halves[0]}" if halves else "no tensor"
        raise CheckpointError(f"{file} is no LoRA: it holds {what}.")
    return {
        module: _Pair(sides["lora_A"], sides["lora_B"] * _scaling(module, len(sides["lora_A"]), settings, alphas))
        for module, sides in factors.items()
    }


def _module(name: str) -> str:
    """A module's name in the diffusers DiT, from any of the prefixes and both naming styles."""
    bare = _PREFIX.sub("", name)
    return part_of(f"decoder.{bare}.")[1].removesuffix(".")


def _scaling(module: str, rank: int, settings: dict[str, Any], alphas: dict[str, float]) -> float:
    """alpha / rank of a layer (over its root where the config asks for rank stabilisation); 1 where none is stored."""
    alpha = alphas.get(module, settings.get("lora_alpha"))
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if re.search(rf"(^|\.)({pattern})$", module):
            alpha = value
    if alpha is None:
        return 1.0
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)


class LoraStack:
    """The adapters of one DiT. They are added in the order of their names, whatever the order of loading.

    Args:
        transformer: the DiT; adapters are placed where its weights are, in their precision.
    """

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer
        self._loaded: dict[str, LoraInfo] = {}

    @property
    def loaded(self) -> tuple[LoraInfo, ...]:
        """What is loaded, by name."""
        return tuple(self._loaded[name] for name in sorted(self._loaded))

    def load(self, path: str | Path, name: str | None = None, scale: float = 1.0) -> LoraInfo:
        """Add an adapter; see `AceStepHandler.load_lora`."""
        _require_peft()
        file = _adapter_file(user_path(path, "path"))
        name = name or (file.parent.name if file.name in _FILES else file.stem)
        if name in self._loaded:
            raise InputError("name", name, "a name that is not in use", f"Loaded: {', '.join(sorted(self._loaded))}.")
        info = LoraInfo(name, file, file_hash(file), _checked_scale(scale))
        pairs = _read_pairs(file)
        self._check(pairs, file)
        self._inject(_inner(name), pairs)
        self._loaded[name] = info
        self._activate()
        return info

    def scale(self, name: str, scale: float) -> None:
        """Change an adapter's scale; see `AceStepHandler.set_lora_scale`."""
        known = self._loaded[self._known(name)]
        self._loaded[name] = replace(known, scale=_checked_scale(scale))
        self._activate()

    def unload(self, name: str | None = None) -> None:
        """Take one adapter off, or all; see `AceStepHandler.unload_lora`."""
        if name is not None:
            self._loaded.pop(self._known(name))
            self._transformer.delete_adapters(_inner(name))
        if name is None or not self._loaded:
            self._transformer.unload_lora()
            self._loaded.clear()
        self._activate()

    def _known(self, name: str) -> str:
        if name not in self._loaded:
            raise InputError("name", name, f"one of the loaded adapters ({', '.join(sorted(self._loaded)) or 'none'})")
        return name

    def _check(self, pairs: dict[str, _Pair], file: Path) -> None:
        """Refuse an adapter that is not for this DiT, before anything is changed."""
        modules = dict(self._transformer.named_modules())
        for name, pair in pairs.items():
            layer: Any = modules.get(name)
            if not hasattr(layer, "in_features"):
                raise CheckpointError(f"{file} is for another network: this DiT has no linear layer {name}.")
            wanted = (layer.in_features, layer.out_features)
            found = (pair.down.shape[1], pair.up.shape[0])
            if wanted != found or pair.up.shape[1] != pair.down.shape[0]:
                raise CheckpointError(
                    f"{file} is for another size: its factors {tuple(pair.down.shape)} and {tuple(pair.up.shape)} do "
                    f"not fit {name}, which maps {wanted[0]} to {wanted[1]}."
                )

    def _inject(self, inner: str, pairs: dict[str, _Pair]) -> None:
        transformer = self._transformer
        state = {f"{name}.lora_A.weight": pair.down.to(transformer.dtype) for name, pair in pairs.items()}
        state |= {f"{name}.lora_B.weight": pair.up.to(transformer.dtype) for name, pair in pairs.items()}
        ranks = {re.escape(name): len(pair.down) for name, pair in pairs.items()}
        rank = max(ranks.values())
        config = {
            "r": rank,
            "lora_alpha": rank,
            "rank_pattern": ranks,
            "alpha_pattern": ranks,
            "target_modules": sorted(pairs),
        }
        device, dtype = transformer.device, transformer.dtype
        with _quiet():
            transformer.load_lora_adapter(state, prefix=None, adapter_name=inner, metadata=config)
        for key, parameter in transformer.named_parameters():
            if f".{inner}." in key:
                parameter.data = parameter.data.to(device, dtype)
                parameter.requires_grad_(False)

    def _activate(self) -> None:
        """Let exactly the adapters with a scale take part, in the order of their names."""
        active = [info for info in self.loaded if info.scale != 0]
        if not self._loaded:
            return
        if not active:
            self._transformer.disable_adapters()
            return
        self._transformer.enable_adapters()
        self._transformer.set_adapters([_inner(info.name) for info in active], [info.scale for info in active])


def _inner(name: str) -> str:
    """PEFT's own name for an adapter: module names take no dots, and may not be part of one another."""
    return "x" + hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]


def _checked_scale(scale: float) -> float:
    number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
    if not number or not math.isfinite(scale) or abs(scale) > 10:
        raise InputError("scale", scale, "a number from -10 to 10")
    return float(scale)


def _require_peft() -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise DependencyError("peft", "lora", "Loading a LoRA") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT warns of a model without a name; ours has none and needs none."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
