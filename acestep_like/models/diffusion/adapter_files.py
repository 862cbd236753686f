"""Adapters as they lie around, read into one form.

Known are the files of PEFT, diffusers and the upstream trainer (LoRA, with DoRA, biases and whole modules), kohya's
flattened keys, and LyCORIS (LoKr, LoHa, whole differences), as PEFT or LyCORIS write them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.config_fields import (
    FLAG,
    MAPPING,
    Fields,
    check_config,
    number,
    one_of,
    or_null,
    whole,
)
from acestep_like.models.checkpoints.files import brief, is_regular, read_json
from acestep_like.models.checkpoints.upstream_layout import upstream_key
from acestep_like.models.diffusion.adapter_weights import (
    Decomposed,
    Difference,
    Hadamard,
    Kronecker,
    LowRank,
    Replacement,
    Update,
)

ADAPTER_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors", "lokr_weights.safetensors")
_PREFIXES = (
    *("base_model.model.", "base_model.", "diffusion_model.", "transformer.", "decoder.", "model.", "dit."),
    *("lora_unet_", "lora_transformer_", "lora_", "lycoris_", "decoder_", "transformer_", "dit_"),
)
_KEY = re.compile(
    r"(?P<module>[^\s]{1,200}?)\."
    r"(?P<part>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up|lora_magnitude_vector|dora_scale|alpha|scalar"
    r"|lokr_[a-z0-9_]{2,5}|hada_[a-z0-9_]{2,5}|diff|diff_b|modules_to_save)"
    r"(?P<rest>(?:\.[\w-]{1,64}){0,2})"
)
_PARTS = {"lora_down": "lora_A", "lora.down": "lora_A", "lora_up": "lora_B", "lora.up": "lora_B"}
_NUMBER = number(-1e6, 1e6)
_SETTINGS: Fields = {
    "peft_type": or_null(one_of("LORA", "LOKR", "LOHA")),
    "r": or_null(whole(1, 65_536)),
    "lora_alpha": or_null(_NUMBER),
    "alpha": or_null(_NUMBER),
    "rank_pattern": or_null(MAPPING),
    "alpha_pattern": or_null(MAPPING),
    "use_rslora": or_null(FLAG),
}
_PATTERN = re.compile(
    r"\^?(?:[\w-]|\\\.|\\d\+?|\[0-9\]\+?|\.[*+]?|\((?:\?:)?[\w.|\\-]{1,200}\)|\|){1,300}\$?", re.ASCII
)
_WILD = re.compile(r"\.[*+]|\\d\+|\[0-9\]\+")
_MAX_WILD_PATTERNS = 16


@dataclass(frozen=True)
class Adapter:
    """What a file changes.

    Attributes:
        low_rank: factors of linear layers, by the layer's name; they can be added beside the weight.
        merged: changes of single parameters, by their names ("layers.0.mlp.up_proj.weight").
    """

    low_rank: dict[str, LowRank] = field(default_factory=dict)
    merged: dict[str, Update] = field(default_factory=dict)


def adapter_file(path: Path) -> Path:
    """The safetensors file of an adapter given as a file or folder (of PEFT, diffusers or the upstream trainer).

    Raises:
        CheckpointError: there is none, or only one in a format that can run code.
    """
    if is_regular(path):
        if path.suffix == ".safetensors":
            return path
        raise CheckpointError(f"{path} is no safetensors file; adapters in other formats could run code.")
    if not path.is_dir():
        raise CheckpointError(f"There is no adapter at {path}.")
    for folder in (path, path / "adapter"):  # the upstream trainer keeps its adapter one folder further in
        for name in ADAPTER_FILES:
            if is_regular(folder / name):
                return folder / name
    found = sorted(file for file in path.glob("*.safetensors") if is_regular(file))
    if len(found) == 1:
        return found[0]
    names = " or ".join(ADAPTER_FILES)
    raise CheckpointError(f"{path} holds {len(found)} safetensors files; an adapter folder has {names}.")


class LayerNames:
    """The layers of a DiT without adapters, under every name that files give them."""

    def __init__(self, transformer: nn.Module) -> None:
        self.layers = {name: module for name, module in transformer.named_modules() if name}
        self.spellings: dict[str, str] = {}
        for name in self.layers:
            for spelling in (name, _upstream_name(name)):
                self.spellings[spelling] = self.spellings[spelling.replace(".", "_")] = name

    def find(self, key: str) -> str | None:
        """The layer that a name means, without the prefixes that tools put before it."""
        while key not in self.spellings:
            prefix = next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None)
            if prefix is None:
                return None
            key = key.removeprefix(prefix)
        return self.spellings[key]


def _upstream_name(name: str) -> str:
    return upstream_key("transformer", f"{name}.").removeprefix("decoder.").removesuffix(".")


def read_adapter(file: Path, names: LayerNames) -> Adapter:
    """Read a file for the DiT whose layers `names` knows; nothing of the DiT is changed.

    Raises:
        CheckpointError: damaged, of a form that is not known, or for another network or size.
    """
    limit = sum(parameter.numel() * 4 for layer in names.layers.values() for parameter in layer.parameters(False))
    if (size := file.stat().st_size) > limit + (16 << 20):
        raise CheckpointError(f"{file} has {size} bytes, more than the network it should adapt.")
    tensors, settings, place = _read(file)
    check_config(settings, _SETTINGS, place)
    scaling = _Scaling(settings, place)
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        module, part = _split(key, file)
        layer = names.find(module)
        if layer is None:
            raise CheckpointError(f"{file} is for another network: this DiT has no linear layer {module[:200]}.")
        if part in grouped.setdefault(layer, {}):
            raise CheckpointError(f"{file} holds the {part} of {layer} twice.")
        grouped[layer][part] = value
    if not grouped:
        raise CheckpointError(f"{file} is no LoRA: it holds no tensor.")
    low_rank: dict[str, LowRank] = {}
    merged: dict[str, Update] = {}
    for name, parts in grouped.items():
        updates = _updates(name, parts, scaling, file)
        for parameter, update in updates.items():
            _check_fit(file, name, names.layers[name], parameter, update)
        weight = updates.get("weight")
        if isinstance(weight, LowRank) and isinstance(names.layers[name], nn.Linear):
            low_rank[name] = weight
            del updates["weight"]
        merged |= {f"{name}.{parameter}": update for parameter, update in updates.items()}
    return Adapter(low_rank, merged)


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], Path]:
    """The tensors in float32, the settings stored beside or in the file, and where these are."""
    try:
        with safe_open(file, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
            stored = (handle.metadata() or {}).get("lora_adapter_metadata", "{}")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a readable safetensors file: {error}") from error
    for key, value in tensors.items():
        tensors[key] = value.float()
        if value.numel() == 0 or not bool(torch.isfinite(tensors[key].sum())):
            what = "no numbers, as of rank 0" if value.numel() == 0 else "numbers that are not finite"
            raise CheckpointError(f"{file} holds {what} in {key[:200]!r}.")
    config = file.parent / "adapter_config.json"
    if config.exists():
        return tensors, read_json(config), config
    try:
        settings = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} has metadata that are not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{file} has metadata that are no JSON object.")
    return tensors, {key.rpartition(".")[2]: value for key, value in settings.items()}, file


def _split(key: str, file: Path) -> tuple[str, str]:
    """(layer as it is written, what part of the adapter) of a stored key."""
    match = _KEY.fullmatch(key)
    if match is not None:
        part, rest = _PARTS.get(match["part"], match["part"]), match["rest"]
        if part == "modules_to_save":
            return match["module"], rest.rpartition(".")[2]
        return match["module"], f"{part}.bias" if rest.endswith(".bias") else part
    module, _, parameter = key.rpartition(".")
    if module and parameter in ("weight", "bias"):
        return module, parameter
    raise CheckpointError(f"{file} is no LoRA for the DiT: it holds {key[:200]!r}, not pairs of lora_A and lora_B.")


def _updates(name: str, parts: dict[str, torch.Tensor], scaling: _Scaling, file: Path) -> dict[str, Update]:
    """The changes to a layer's parameters that the parts of an adapter make; every part must be of use."""
    left = dict(parts)
    alpha = left.pop("alpha", None)
    if alpha is not None and alpha.numel() != 1:
        raise CheckpointError(f"{file} holds an alpha of {name} that is no single number.")
    factor = float(left.pop("scalar", torch.ones(()))) if parts.get("scalar", torch.ones(())).numel() == 1 else 1.0
    own_alpha = None if alpha is None else float(alpha)
    updates: dict[str, Update] = {}
    direction: Update | None = None
    try:
        if "lora_A" in left or "lora_B" in left:
            if not {"lora_A", "lora_B"} <= left.keys():
                raise CheckpointError(f"{file} is no LoRA: it holds only one factor of {name}.")
            down, up = left.pop("lora_A"), left.pop("lora_B")
            scale = factor * scaling.of(name, len(down), own_alpha)
            direction = LowRank(down, up * scale)
            if "lora_B.bias" in left:
                updates["bias"] = Difference(left.pop("lora_B.bias") * scale)
        elif any(part.startswith("lokr_") for part in left):
            small, rank_1 = _factor(left, "lokr_w1")
            large, rank_2 = _factor(left, "lokr_w2")
            direction = Kronecker(small, large * (factor * scaling.of_lycoris(name, rank_1 or rank_2, own_alpha)))
        elif any(part.startswith("hada_") for part in left):
            one = (left.pop("hada_w1_a"), left.pop("hada_w1_b"))
            two = (left.pop("hada_w2_a"), left.pop("hada_w2_b"))
            scale = factor * scaling.of_lycoris(name, len(one[1]), own_alpha)
            direction = Hadamard((one[0] * scale, one[1]), two)
    except KeyError as error:
        raise CheckpointError(f"{file} lacks the factor {error} of {name}.") from error
    if direction is not None:
        magnitude = left.pop("lora_magnitude_vector", left.pop("dora_scale", None))
        updates["weight"] = direction if magnitude is None else Decomposed(direction, magnitude)
    for part, parameter, form in (
        ("diff", "weight", Difference),
        ("diff_b", "bias", Difference),
        ("weight", "weight", Replacement),
        ("bias", "bias", Replacement),
    ):
        if part in left and parameter not in updates:
            updates[parameter] = form(left.pop(part))
    if left or not updates:
        found = ", ".join(sorted(left)) or "alpha alone"
        raise CheckpointError(f"{file} holds {found} of {name}, a form of adapter that is not known or not whole.")
    return updates


def _factor(parts: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, int | None]:
    """A factor of LoKr, whole or as a product of two of a rank; KeyError names what is missing."""
    if name in parts:
        return _matrix(parts.pop(name)), None
    a, b = _matrix(parts.pop(f"{name}_a")), _matrix(parts.pop(f"{name}_b"))
    if a.shape[1] != len(b):
        raise KeyError(f"{name}_b that fits {name}_a")
    return (a @ b.flatten(1)).reshape(len(a), *b.shape[1:]), len(b)


def _matrix(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.ndim >= 2 else tensor.reshape(1, -1)


def _check_fit(file: Path, name: str, layer: nn.Module, parameter: str, update: Update) -> None:
    target = getattr(layer, parameter, None)
    shape = target.shape if isinstance(target, torch.Tensor) else None
    if shape is None and parameter == "bias" and isinstance(layer, nn.Linear):
        shape = torch.Size([layer.out_features])  # a layer without a bias gets one
        if isinstance(update, Replacement):
            shape = None
    if shape is None:
        raise CheckpointError(f"{file} is for another network: {name} of this DiT is no linear layer with {parameter}.")
    if not update.fits(shape):
        raise CheckpointError(
            f"{file} is for another size: its {type(update).__name__} does not fit the {parameter} of {name}, which is "
            f"{tuple(shape)}."
        )


class _Scaling:
    """How much of a layer's product counts: alpha / rank, with what an adapter's settings say of single layers.

    Raises:
        CheckpointError: a pattern is no plain pattern of names, or its value no number.
    """

    def __init__(self, settings: Mapping[str, Any], place: Path) -> None:
        lycoris = settings.get("peft_type") in ("LOKR", "LOHA")
        self._peft_lycoris = lycoris
        self._alpha = settings.get("alpha" if lycoris else "lora_alpha")
        self._rank = settings.get("r")
        self._root = bool(settings.get("use_rslora"))
        self._alphas = _patterns(settings, "alpha_pattern", place)
        self._ranks = _patterns(settings, "rank_pattern", place)

    def of(self, name: str, rank: int, own_alpha: float | None) -> float:
        """Of LoRA: an alpha in the file counts first, then that of the first pattern that matches; 1 without any."""
        alpha = own_alpha if own_alpha is not None else _matching(self._alphas, name, self._alpha)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self._root else rank)

    def of_lycoris(self, name: str, rank: int | None, own_alpha: float | None) -> float:
        """Of LoKr and LoHa: PEFT divides by the rank of its settings; LyCORIS by that of the factors, and does not
        scale factors that are whole."""
        if self._peft_lycoris:
            rank = int(_matching(self._ranks, name, self._rank) or 8)
            return float(_matching(self._alphas, name, self._alpha) or 8) / rank
        return 1.0 if rank is None or not own_alpha else own_alpha / rank


def _patterns(settings: Mapping[str, Any], field_name: str, place: Path) -> list[tuple[re.Pattern[str], float]]:
    """The patterns of a setting, as PEFT reads them: the end of a layer's name, after a dot.

    They are regular expressions of a stranger: only those that match in short time are taken.
    """
    values = settings.get(field_name) or {}
    accepted = whole(1, 65_536) if field_name == "rank_pattern" else _NUMBER
    compiled = []
    wild = 0
    for pattern, value in values.items():
        wildcards = len(_WILD.findall(pattern))
        wild += wildcards > 0
        if len(pattern) > 300 or wildcards > 2 or wild > _MAX_WILD_PATTERNS or not _PATTERN.fullmatch(pattern):
            raise CheckpointError(f"{place}: {field_name} has the pattern {brief(pattern)}; expected a layer's name.")
        check_config({field_name: value}, {field_name: accepted}, place)
        bare = pattern
        while bare.startswith(("base_model.", "model.", "decoder.", "transformer.")):
            bare = bare.partition(".")[2]
        try:
            compiled.append((re.compile(rf"(?:.*\.)?(?:{bare})"), float(value)))
        except re.error as error:
            raise CheckpointError(f"{place}: {field_name} has the pattern {brief(pattern)}: {error}.") from error
    return compiled


def _matching(patterns: list[tuple[re.Pattern[str], float]], name: str, default: Any) -> Any:
    spellings = (name, _upstream_name(name))
    return next((value for pattern, value in patterns if any(map(pattern.fullmatch, spellings))), default)
