"""Stable Audio checkpoints in stable-audio-tools' own files: a model config and one file of weights.

The networks are those of diffusers; this module knows how the config names their sizes and the weights their tensors.
It reads the architecture of Stable Audio Open 1.0 (`diffusion_cond` with a v-objective DiT whose time is prepended, an
Oobleck autoencoder, a T5 prompt and two numbers); another one is refused by what is different. Results equal those of
stable-audio-tools 0.0.19 (`tests/goldens/stable_audio_tools`).
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from acestep_like.client.providers import stable_audio
from acestep_like.client.providers.base import ModelOptions, load_part, loading, quiet
from acestep_like.client.providers.stable_audio import StableAudioProvider
from acestep_like.errors import CheckpointError, InputError

CONFIG_NAME = "model_config.json"
_WEIGHT_NAMES = ("model.safetensors", "model.ckpt")
_NUMBERS = ("seconds_start", "seconds_total")
_LABEL = "Stable Audio"


@dataclass(frozen=True)
class ToolsFiles:
    """The files of a checkpoint: config, weights, and weights that replace the autoencoder's."""

    config: Path
    weights: Path
    pretransform: Path | None = None

    @property
    def source(self) -> str:
        """All of them as one text, the form in which a model is named: paths joined as in PATH."""
        paths = [self.config, self.weights, *([self.pretransform] if self.pretransform else [])]
        return os.pathsep.join(str(path.expanduser().resolve()) for path in paths)

    @classmethod
    def of(cls, source: str) -> ToolsFiles:
        """The files that a source names: a folder with config and weights, or the files themselves.

        Raises:
            InputError: a file is not there.
        """
        names = [Path(os.path.expanduser(name)) for name in source.split(os.pathsep)]
        if len(names) == 1 and names[0].is_dir():
            found = [names[0] / name for name in _WEIGHT_NAMES if (names[0] / name).is_file()]
            names = [names[0] / CONFIG_NAME, *(found or [names[0] / _WEIGHT_NAMES[0]])[:1]]
        if len(names) not in (2, 3):
            raise InputError("model", source, "a folder, or a model config and its weights")
        for path in names:
            if not path.is_file():
                raise InputError("model", str(path), "an existing file")
        return cls(*names)


def _load(options: ModelOptions) -> StableAudioProvider:
    """Load the networks; precision as `stable_audio`.

    Raises:
        InputError: a file is not there.
        CheckpointError: another architecture, or weights that are damaged, incomplete or do not fit the config.
    """
    files = ToolsFiles.of(options.source)
    half = options.device.type in ("cuda", "xpu")
    dtype = options.dtype or (torch.float16 if half else torch.float32)
    with loading(_LABEL, options), quiet():
        from diffusers import AutoencoderOobleck, StableAudioDiTModel
        from diffusers.pipelines.stable_audio import StableAudioProjectionModel
        from transformers import AutoTokenizer, T5EncoderModel

        sizes = read_sizes(files.config)
        t5 = replace(options, source=_beside(files.config, sizes.t5))
        text_encoder = load_part(T5EncoderModel, "", t5, dtype)
        tensors = _read_weights(files.weights)
        own = {} if files.pretransform is None else _read_weights(files.pretransform)
        sizes.projection["text_encoder_dim"] = text_encoder.config.d_model

        def network(cls: Any, arguments: Mapping[str, Any], state: Mapping[str, torch.Tensor], what: str) -> Any:
            with torch.device("meta"):
                module = cls(**arguments)
            _fill(module, state, what)
            return torch.nn.Module.to(module, options.device, dtype).eval().requires_grad_(False)

        return StableAudioProvider(
            vae=network(
                AutoencoderOobleck,
                sizes.vae,
                vae_tensors({**_part(tensors, "pretransform.model."), **own}),
                "autoencoder",
            ),
            text_encoder=text_encoder.to(options.device).requires_grad_(False),
            tokenizer=AutoTokenizer.from_pretrained(t5.source, model_max_length=sizes.tokens, **options.where),
            projection_model=network(
                StableAudioProjectionModel,
                sizes.projection,
                projection_tensors(_part(tensors, "conditioner.conditioners.")),
                "conditioner",
            ),
            transformer=network(
                StableAudioDiTModel,
                sizes.transformer,
                transformer_tensors(_part(tensors, "model.model.")),
                "transformer",
            ),
            device=options.device,
        )


@dataclass(frozen=True)
class Sizes:
    """What a config says: arguments of diffusers' networks, the T5 model and how many tokens it reads."""

    transformer: dict[str, Any]
    projection: dict[str, Any]
    vae: dict[str, Any]
    t5: str
    tokens: int


def read_sizes(path: Path) -> Sizes:
    """The sizes in a model config.

    Raises:
        CheckpointError: no model config, or one of another architecture.
    """
    try:
        config = _Config(json.loads(path.read_text(encoding="utf-8-sig")), path.name)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    config.must("model_type", ("diffusion_cond",))
    conditioners = {entry.text("id"): entry for entry in config.entries("model.conditioning.configs")}
    if set(conditioners) != {"prompt", *_NUMBERS}:
        known = ", ".join(conditioners) or "none"
        raise CheckpointError(
            f"{path.name} has the conditioners {known}; Stable Audio has prompt, seconds_start and seconds_total."
        )
    prompt, start, total = (conditioners[name] for name in ("prompt", *_NUMBERS))
    prompt.must("type", ("t5",))
    for number in (start, total):
        number.must("type", ("number",))
        number.must("config.min_val", (start.number("config.min_val"),))
        number.must("config.max_val", (start.number("config.max_val"),))
    config.must("model.diffusion.type", ("dit",))
    config.must("model.diffusion.cross_attention_cond_ids", (["prompt", *_NUMBERS],))
    config.must("model.diffusion.global_cond_ids", ([*_NUMBERS],))
    config.must("model.diffusion.diffusion_objective", ("v", None))
    dit = config.at("model.diffusion.config")
    for name, accepted in _DIT_DEFAULTS.items():
        dit.must(name, accepted)
    head = dit.whole("embed_dim") // dit.whole("num_heads")
    if head < 64:
        raise CheckpointError(
            f"{path.name} has heads of {head}; diffusers turns half of a head, stable-audio-tools 32 or more."
        )
    vae = config.at("model.pretransform.config")
    config.must("model.pretransform.type", ("autoencoder",))
    config.must("model.pretransform.scale", (None, 1, 1.0))
    vae.must("bottleneck.type", ("vae",))
    for part in ("encoder", "decoder"):
        vae.must(f"{part}.type", ("oobleck",))
        vae.must(f"{part}.config.use_snake", (True,))
        vae.must(f"{part}.config.strides", (vae.wholes("encoder.config.strides"),))
        vae.must(f"{part}.config.c_mults", (vae.wholes("encoder.config.c_mults"),))
    vae.must("decoder.config.final_tanh", (False,))
    vae.must("encoder.config.latent_dim", (vae.whole("encoder.config.channels"),))
    width = dit.whole("cond_token_dim")
    return Sizes(
        transformer={
            "sample_size": config.whole("sample_size") // vae.whole("downsampling_ratio"),
            "in_channels": dit.whole("io_channels"),
            "out_channels": dit.whole("io_channels"),
            "num_layers": dit.whole("depth"),
            "attention_head_dim": head,
            "num_attention_heads": dit.whole("num_heads"),
            "num_key_value_attention_heads": width // head,
            "cross_attention_dim": width,
            "cross_attention_input_dim": width,
            "time_proj_dim": 256,
            "global_states_input_dim": dit.whole("global_cond_dim"),
        },
        projection={
            "conditioning_dim": config.whole("model.conditioning.cond_dim"),
            "min_value": start.number("config.min_val"),
            "max_value": start.number("config.max_val"),
        },
        vae={
            "encoder_hidden_size": vae.whole("encoder.config.channels"),
            "downsampling_ratios": vae.wholes("encoder.config.strides"),
            "decoder_channels": vae.whole("decoder.config.channels"),
            "decoder_input_channels": vae.whole("decoder.config.latent_dim"),
            "audio_channels": vae.whole("io_channels"),
            "channel_multiples": vae.wholes("encoder.config.c_mults"),
            "sampling_rate": config.whole("sample_rate"),
        },
        t5=prompt.text("config.t5_model_name"),
        tokens=prompt.whole("config.max_length"),
    )


_DIT_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "transformer_type": ("continuous_transformer", None),
    "project_cond_tokens": (False,),
    "project_global_cond": (True, None),
    "patch_size": (1, None),
    "input_concat_dim": (0, None),
    "prepend_cond_dim": (0, None),
    "global_cond_type": ("prepend", None),
    "timestep_cond_type": ("global", None),
}
"""What the DiT of Stable Audio Open has beside its sizes; None is a key that is left out."""


class _Config:
    """A part of a model config, read by dotted names."""

    def __init__(self, value: Any, where: str) -> None:
        self._value, self._where = value, where

    def _find(self, name: str) -> Any:
        value = self._value
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _wrong(self, name: str, accepted: str) -> CheckpointError:
        found = json.dumps(self._find(name))[:100]
        return CheckpointError(f"{self._where}: {name} is {found}; expected {accepted}.")

    def at(self, name: str) -> _Config:
        value = self._find(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return _Config(value, f"{self._where}: {name}")

    def entries(self, name: str) -> list[_Config]:
        value = self._find(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return [_Config(entry, f"{self._where}: {name}[{place}]") for place, entry in enumerate(value)]

    def must(self, name: str, accepted: Iterable[Any]) -> None:
        if self._find(name) not in accepted:
            raise self._wrong(
                name, " or ".join("nothing" if value is None else json.dumps(value) for value in accepted)
            )

    def text(self, name: str) -> str:
        value = self._find(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "a text")
        return value

    def number(self, name: str) -> float:
        value = self._find(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        return value

    def whole(self, name: str) -> int:
        value = self._find(name)
        if not _is_size(value):
            raise self._wrong(name, "a whole number above 0")
        return int(value)

    def wholes(self, name: str) -> list[int]:
        value = self._find(name)
        if not isinstance(value, list) or not value or len(value) > 16 or not all(map(_is_size, value)):
            raise self._wrong(name, "a list of whole numbers above 0")
        return value


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _beside(config: Path, name: str) -> str:
    """The T5 model: a folder beside the config, or the name of one on the Hub."""
    folder = config.parent / name
    return str(folder.resolve()) if folder.is_dir() else name


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file; a pickle is read as tensors only, and runs nothing.

    Raises:
        CheckpointError: it holds no tensors.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"{path} cannot be read as weights alone: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no tensors by name.")
    return state


def _part(tensors: Mapping[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


_TRANSFORMER_NAMES = (
    (r"^timestep_features\.", "time_proj."),
    (r"^to_timestep_embed\.", "timestep_proj."),
    (r"^to_cond_embed\.", "cross_attention_proj."),
    (r"^to_global_embed\.", "global_proj."),
    (r"^transformer\.project_(in|out)\.", r"proj_\1."),
    (r"^transformer\.layers\.", "transformer_blocks."),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.to_out\.", ".to_out.0."),
    (r"\.pre_norm\.", ".norm1."),
    (r"\.cross_attend_norm\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
    (r"(\.norm\d)\.gamma$", r"\1.weight"),
    (r"(\.norm\d)\.beta$", r"\1.bias"),
    (r"\.ff\.ff\.", ".ff.net."),
)
_FUSED = {"to_qkv": ("to_q", "to_k", "to_v"), "to_kv": ("to_k", "to_v")}


def transformer_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The DiT's tensors under the names of diffusers; fused projections are taken apart."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith("rotary_pos_emb.inv_freq"):  # computed, not learned
            continue
        new = _renamed(name, _TRANSFORMER_NAMES)
        fused = next((key for key in _FUSED if f".{key}." in new), None)
        if fused is not None:
            parts = tensor.chunk(len(_FUSED[fused]))
            renamed |= {new.replace(fused, part): piece for part, piece in zip(_FUSED[fused], parts, strict=True)}
        else:
            renamed[new] = tensor[:, 0] if new == "time_proj.weight" else tensor
    return renamed


_PROJECTION_NAMES = (
    (r"^prompt\.proj_out\.", "text_projection."),
    (r"^seconds_start\.embedder\.embedding\.", "start_number_conditioner.time_positional_embedding."),
    (r"^seconds_total\.embedder\.embedding\.", "end_number_conditioner.time_positional_embedding."),
)


def projection_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The conditioners' tensors under the names of diffusers; T5's own, which some files carry, are left out."""
    return {
        _renamed(name, _PROJECTION_NAMES): tensor
        for name, tensor in tensors.items()
        if not name.startswith("prompt.model.")
    }


_BLOCKS = {
    "encoder": {0: "res_unit1", 1: "res_unit2", 2: "res_unit3", 3: "snake1", 4: "conv1"},
    "decoder": {0: "snake1", 1: "conv_t1", 2: "res_unit1", 3: "res_unit2", 4: "res_unit3"},
}
_UNIT = {0: "snake1", 1: "conv1", 2: "snake2", 3: "conv2"}


def vae_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The autoencoder's tensors under the names of diffusers.

    Both count their layers: first convolution, blocks, snake, last convolution; a block and a residual unit likewise.
    """
    last = {
        coder: max((int(name.split(".")[2]) for name in tensors if name.startswith(f"{coder}.layers.")), default=0)
        for coder in _BLOCKS
    }
    renamed = {}
    for name, tensor in tensors.items():
        coder, _, *places, leaf = name.split(".")
        if coder not in _BLOCKS:
            continue
        numbers = [int(place) for place in places if place != "layers"]
        new = ".".join([coder, *_layer(coder, numbers, last[coder]), leaf])
        renamed[new] = tensor[None, :, None] if leaf in ("alpha", "beta") else tensor
    return renamed


def _layer(coder: str, numbers: list[int], last: int) -> list[str]:
    first = numbers[0]
    if first in (0, last - 1, last):
        return [{0: "conv1", last - 1: "snake1", last: "conv2"}[first]]
    return [f"block.{first - 1}", _BLOCKS[coder][numbers[1]], *(_UNIT[number] for number in numbers[2:])]


def _fill(module: torch.nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Give a network on "meta" its weights, in float32.

    Raises:
        CheckpointError: one is missing, left over, of another shape, or not finite.
    """
    wanted = module.state_dict()
    for name in wanted.keys() | state.keys():
        if name not in state or name not in wanted:
            raise CheckpointError(
                f"The weights {'lack' if name in wanted else 'have an unknown'} {name} of the {what}."
            )
        if wanted[name].shape != state[name].shape:
            shapes = f"{tuple(state[name].shape)} where the config says {tuple(wanted[name].shape)}"
            raise CheckpointError(f"The weights have {name} of the {what} as {shapes}.")
        if not bool(torch.isfinite(state[name].float().sum())):
            raise CheckpointError(f"The weights hold numbers that are not finite in {name} of the {what}.")
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)


FAMILY = replace(stable_audio.FAMILY, name="stable_audio_tools", load=_load)
