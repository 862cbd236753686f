"""Adapters on a loaded DiT: several at once by name, stacked, scaled and taken off again.

Plain low-rank factors stand beside the weights, through diffusers' adapter loader and PEFT; every other form is added
to the weights, whose originals are kept until the last such adapter is gone.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acestep_like.errors import CheckpointError, DependencyError, InputError
from acestep_like.models.checkpoints.hashes import file_hash
from acestep_like.models.diffusion.adapter_files import (
    ADAPTER_FILES,
    Adapter,
    LayerNames,
    adapter_file,
    read_adapter,
)
from acestep_like.models.diffusion.adapter_weights import LowRank, Update
from acestep_like.types.paths import user_path


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


class LoraStack:
    """The adapters of one DiT. They are added in the order of their names, whatever the order of loading.

    Args:
        transformer: the DiT; adapters are placed where its weights are, in their precision.
    """

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer
        self._names = LayerNames(transformer)
        self._loaded: dict[str, LoraInfo] = {}
        self._adapters: dict[str, Adapter] = {}
        self._originals: dict[str, torch.Tensor | None] = {}
        self.enabled = True

    @property
    def loaded(self) -> tuple[LoraInfo, ...]:
        """What is loaded, by name, with the scale it takes part with: 0 while all are switched off."""
        infos = [self._loaded[name] for name in sorted(self._loaded)]
        return tuple(info if self.enabled else replace(info, scale=0.0) for info in infos)

    @property
    def scales(self) -> dict[str, float]:
        """The scale of each by name, also while all are switched off."""
        return {name: self._loaded[name].scale for name in sorted(self._loaded)}

    @property
    def active(self) -> tuple[LoraInfo, ...]:
        """What takes part, by name."""
        return tuple(info for info in self.loaded if info.scale != 0)

    def load(self, path: str | Path, name: str | None = None, scale: float = 1.0) -> LoraInfo:
        """Add an adapter; see `AceStepHandler.load_lora`."""
        file = adapter_file(user_path(path, "path"))
        sha256, scale = file_hash(file), _checked_scale(scale)
        name = name or self._free_name(file, sha256)
        if name in self._loaded:
            raise InputError("name", name, "a name that is not in use", f"Loaded: {', '.join(sorted(self._loaded))}.")
        adapter = read_adapter(file, self._names)
        self._check_precision(adapter, file)
        if adapter.low_rank:
            _require_peft()
            self._inject(_inner(name), adapter.low_rank)
        self._loaded[name], self._adapters[name] = LoraInfo(name, file, sha256, scale), adapter
        self._activate()
        return self._loaded[name]

    def _free_name(self, file: Path, sha256: str) -> str:
        """The name of an adapter's folder or file; of two different ones of a name the second is numbered."""
        folder = file.parent.parent if file.parent.name == "adapter" else file.parent
        name = folder.name if file.name in ADAPTER_FILES else file.stem
        if name not in self._loaded or self._loaded[name].sha256 == sha256:
            return name
        return next(other for k in range(2, len(self._loaded) + 3) if (other := f"{name}-{k}") not in self._loaded)

    def scale(self, name: str, scale: float) -> None:
        """Change an adapter's scale; see `AceStepHandler.set_lora_scale`."""
        known = self._loaded[self._known(name)]
        self._loaded[name] = replace(known, scale=_checked_scale(scale))
        self._activate()

    def enable(self, enabled: bool) -> None:
        """Switch all adapters on or off; their scales are kept."""
        self.enabled = enabled
        self._activate()

    def unload(self, name: str | None = None) -> None:
        """Take one adapter off, or all; see `AceStepHandler.unload_lora`."""
        for known in [*self._loaded] if name is None else [self._known(name)]:
            del self._loaded[known]
            if self._adapters.pop(known).low_rank:
                with _quiet():
                    self._transformer.delete_adapters(_inner(known))
                if not self._beside():
                    self._transformer.unload_lora()
        self._activate()

    def _beside(self) -> list[str]:
        """Names of the adapters that stand beside the weights."""
        return [name for name in sorted(self._adapters) if self._adapters[name].low_rank]

    def _known(self, name: str) -> str:
        if name not in self._loaded:
            raise InputError("name", name, f"one of the loaded adapters ({', '.join(sorted(self._loaded)) or 'none'})")
        return name

    def _check_precision(self, adapter: Adapter, file: Path) -> None:
        """Weights that are stored in eight bits cannot be added to."""
        for parameter in adapter.merged:
            name, _, kind = parameter.rpartition(".")
            value = getattr(self._names.layers[name], kind)
            if value is not None and (type(value.data) is not torch.Tensor or not value.is_floating_point()):
                raise CheckpointError(
                    f"{file} changes the weights of {name}, which are quantised; load the checkpoint without "
                    "quantization for this adapter."
                )

    def _inject(self, inner: str, pairs: dict[str, LowRank]) -> None:
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
        """Let exactly the active adapters take part, in the order of their names."""
        if beside := self._beside():
            active = [info for info in self.active if info.name in beside]
            if active:
                self._transformer.enable_adapters()
                self._transformer.set_adapters([_inner(info.name) for info in active], [info.scale for info in active])
            else:
                self._transformer.disable_adapters()
        self._merge()

    def _merge(self) -> None:
        """Set the weights that adapters change: the original plus what each active one adds to it."""
        updates: dict[str, list[tuple[Update, float]]] = {}
        for info in self.active:
            for parameter, update in self._adapters[info.name].merged.items():
                updates.setdefault(parameter, []).append((update, info.scale))
        for parameter in {**updates, **self._originals}:
            name, _, kind = parameter.rpartition(".")
            layer: Any = self._names.layers[name]
            present = getattr(layer, kind)
            if parameter not in self._originals:
                self._originals[parameter] = None if present is None else present.data
            original = self._originals[parameter]
            if parameter not in updates:
                del self._originals[parameter]
                _set(layer, kind, original)
                continue
            device, dtype = (present if original is not None else layer.weight).device, layer.weight.dtype
            base = torch.zeros(layer.out_features) if original is None else original.float()
            base = base.to(device)
            total = base + sum(update.delta(base, scale) for update, scale in updates[parameter])
            _set(layer, kind, total.to(dtype))


def _set(layer: nn.Module, kind: str, value: torch.Tensor | None) -> None:
    """Give a layer another weight or bias, where its weight is."""
    present = getattr(layer, kind)
    if value is None:
        setattr(layer, kind, None)
    elif present is None:
        setattr(layer, kind, nn.Parameter(value, requires_grad=False))
    else:
        present.data = value.to(present.device)


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
    """PEFT warns of a model without a name, and of the adapter that takes a deleted one's place; both are meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
