"""Loading the parts of a checkpoint, in either layout, as the stock diffusers and transformers classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step.modeling_ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.config_fields import DIT_FIELDS, UPSTREAM, check_dit_config
from acestep_like.models.checkpoints.files import FETCH_AGAIN, read_json
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.checkpoints.qwen3_folder import load_text_encoder, load_tokenizer
from acestep_like.models.checkpoints.upstream_layout import keys_of_part, part_configs
from acestep_like.models.checkpoints.weights import Weights, build_module, read_silence, weight_files
from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.load import load_codec
from acestep_like.models.diffusion.guide import guide_width

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PART_CLASSES: dict[str, Any] = {
    "transformer": AceStepTransformer1DModel,
    "condition_encoder": AceStepConditionEncoder,
    "audio_tokenizer": AceStepAudioTokenizer,
    "audio_token_detokenizer": AceStepAudioTokenDetokenizer,
}


@dataclass
class DiTModules:
    """The four networks of a DiT checkpoint; the tokenizer pair may be absent."""

    transformer: AceStepTransformer1DModel
    condition_encoder: AceStepConditionEncoder
    audio_tokenizer: AceStepAudioTokenizer | None
    audio_token_detokenizer: AceStepAudioTokenDetokenizer | None

    @property
    def silence(self) -> torch.Tensor:
        """The latents of encoded silence [1, frames, C]."""
        return self.condition_encoder.silence_latent

    def networks(self) -> list[ModelMixin]:
        """Those that are there."""
        every = (self.transformer, self.condition_encoder, self.audio_tokenizer, self.audio_token_detokenizer)
        return [network for network in every if network is not None]


@dataclass
class TextModules:
    """The text encoder and its tokenizer."""

    text_encoder: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def load_dit(
    info: CheckpointInfo, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> DiTModules:
    """Load the DiT parts; `dtype` None keeps the stored one.

    Raises:
        CheckpointError: a part is missing or does not fit its config, or its guide is of an unknown layout.
    """
    device = torch.device(device)
    absent = [part for part in ("transformer", "condition_encoder") if part not in info.parts]
    if info.kind == "upstream" and "silence_latent" not in info.parts:
        absent.append("silence_latent.pt")
    if absent:
        found = ", ".join(sorted(info.parts)) or "no part"
        raise CheckpointError(f"The checkpoint {info.path} lacks {', '.join(absent)}; found: {found}.")
    loaded: dict[str, Any] = dict.fromkeys(PART_CLASSES)
    for part in PART_CLASSES:
        if part in info.parts:
            loaded[part] = _load_part(info, part, device, dtype)
    modules = DiTModules(**loaded)
    if info.is_xl:
        prepend_timbre_token(modules.condition_encoder)
    return modules


def _load_part(info: CheckpointInfo, part: str, device: torch.device, dtype: torch.dtype | None) -> Any:
    """One network of the DiT; raises as `load_dit`."""
    config = part_config(info, part)
    if part == "transformer":
        _check_channels(config, info)
    make = partial(PART_CLASSES[part].from_config, config)
    network: Any = build_module(make, _weights(info, part), device=device, dtype=dtype, what=f"{part} of {info.name}")
    if part == "condition_encoder" and not bool(network.silence_latent.any()):
        raise CheckpointError(f"The silence latents of {info.path} are all zero. {FETCH_AGAIN}")
    return network


def _check_channels(config: dict[str, Any], info: CheckpointInfo) -> None:
    """Source, mask and noise have the latents' channels; a guide adds its own."""
    guide = guide_width(info.guide_version) if info.guide_version is not None else 0
    wanted = 3 * config.get("audio_acoustic_hidden_dim", 64) + guide
    if (found := config.get("in_channels", 192)) != wanted:
        raise CheckpointError(f"The transformer of {info.path} has {found} input channels; expected {wanted}.")


def part_config(info: CheckpointInfo, part: str) -> dict[str, Any]:
    """What the diffusers class of a DiT part is made from, in either layout; no weight is read.

    Raises:
        CheckpointError: the config is not there, not JSON, or holds values that no such part has.
    """
    upstream = info.kind == "upstream"
    file = (info.path if upstream else info.parts[part]) / "config.json"
    values = read_json(file)
    check_dit_config(values, UPSTREAM if upstream else DIT_FIELDS[part], file)
    if upstream:
        return part_configs(values, info.name)[part]
    return {key: value for key, value in values.items() if not key.startswith("_")}


def _weights(info: CheckpointInfo, part: str) -> Weights:
    if info.kind == "diffusers":
        return Weights(weight_files(info.parts[part]))
    extra = {"silence_latent": read_silence(info.parts["silence_latent"])} if part == "condition_encoder" else {}
    return Weights(weight_files(info.path), keys_of_part(part), extra)


def prepend_timbre_token(condition_encoder: AceStepConditionEncoder) -> None:
    """Let the timbre encoder read its class token first, as XL checkpoints were trained.

    diffusers keeps the parameter but never prepends it. The encoder takes its sequence length after `embed_tokens`
    and pools position 0, so adding the token to that layer's output is the whole fix.
    """
    timbre_encoder = condition_encoder.timbre_encoder

    def prepend(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        token = timbre_encoder.special_token.to(output).expand(output.shape[0], -1, -1)
        return torch.cat([token, output], dim=1)

    timbre_encoder.embed_tokens.register_forward_hook(prepend)


def load_text(
    info: CheckpointInfo, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> TextModules:
    """Load text encoder and tokenizer from local files.

    Raises:
        CheckpointError: one of them is missing or cannot be loaded.
    """
    folders = [info.parts.get(part) for part in ("text_encoder", "tokenizer")]
    encoder_folder, tokenizer_folder = folders
    if encoder_folder is None or tokenizer_folder is None:
        raise CheckpointError(
            f"The checkpoint {info.name} lacks a text encoder or its tokenizer; found: {', '.join(sorted(info.parts))}."
        )
    encoder = load_text_encoder(encoder_folder, device=torch.device(device), dtype=dtype)
    tokenizer = load_tokenizer(tokenizer_folder)
    known, words = encoder.config.vocab_size, len(tokenizer)
    if words > known:
        raise CheckpointError(f"{tokenizer_folder} has {words} tokens; the text encoder of {info.name} knows {known}.")
    wanted = part_config(info, "condition_encoder").get("text_hidden_dim", 1024)
    if encoder.config.hidden_size != wanted:
        raise CheckpointError(
            f"The text encoder in {encoder_folder} is {encoder.config.hidden_size} wide; {info.name} asks for {wanted}."
        )
    return TextModules(encoder, tokenizer)


def load_vae(
    info: CheckpointInfo, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> DiffusersCodec:
    """Load the `vae` of a checkpoint as a codec.

    Raises:
        CheckpointError: it is missing, damaged, of an unknown class, or for latents of other channels.
    """
    folder: Path | None = info.parts.get("vae")
    if folder is None:
        raise CheckpointError(f"The checkpoint {info.name} has no vae; found: {', '.join(sorted(info.parts))}.")
    codec = load_codec(folder, dtype=dtype or torch.float32, device=device)
    wanted = part_config(info, "transformer").get("audio_acoustic_hidden_dim", 64)
    if codec.channels != wanted:
        raise CheckpointError(f"The codec in {folder} has {codec.channels} channels; {info.name} asks for {wanted}.")
    return codec


def verify(info: CheckpointInfo) -> list[str]:
    """What is wrong with a checkpoint, one sentence each; empty when every network loads from it.

    Each is loaded by itself on the CPU as it is stored, and let go again.
    """
    device = torch.device("cpu")
    checks: dict[str, Callable[[], object]] = {
        **{part: partial(_load_part, info, part, device, None) for part in PART_CLASSES},
        "text_encoder": partial(load_text, info),
        "vae": partial(load_vae, info),
    }
    problems = [f"{part} is missing" for part in info.missing if part != "scheduler"]
    for part, load in checks.items():
        if part in info.parts and not (part in PART_CLASSES and "silence_latent" in info.missing):
            try:
                load()
            except CheckpointError as error:
                problems.append(str(error))
    return problems
