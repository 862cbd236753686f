"""Loading the parts of a checkpoint, in either layout, as the stock diffusers and transformers classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from acestep_like.models.checkpoints.files import read_json
from acestep_like.models.checkpoints.info import CheckpointInfo
from acestep_like.models.checkpoints.upstream_layout import keys_of_part, part_configs
from acestep_like.models.checkpoints.weights import build_module, iterate_tensors, read_silence, weight_files
from acestep_like.models.codec.load import load_codec as load_codec_folder
from acestep_like.models.diffusion.guide import guide_width

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PART_CLASSES: dict[str, type[ModelMixin]] = {
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
        raise CheckpointError(f"The checkpoint {info.name} lacks {', '.join(absent)}; found: {found}.")
    if info.guide_version is not None:
        guide_width(info.guide_version)
    loaded: dict[str, Any] = dict.fromkeys(PART_CLASSES)
    for part, cls in PART_CLASSES.items():
        if part in info.parts:
            config, what = part_config(info, part), f"{part} of {info.name}"
            loaded[part] = build_module(cls, config, _tensors(info, part), device=device, dtype=dtype, what=what)
    modules = DiTModules(**loaded)
    if info.is_xl:
        prepend_timbre_token(modules.condition_encoder)
    return modules


def part_config(info: CheckpointInfo, part: str) -> dict[str, Any]:
    """What the diffusers class of a DiT part is made from, in either layout; no weight is read.

    Raises:
        CheckpointError: the config is not there or not JSON.
    """
    if info.kind == "upstream":
        return part_configs(read_json(info.path / "config.json"))[part]
    values = read_json(info.parts[part] / "config.json")
    return {key: value for key, value in values.items() if not key.startswith("_")}


def _tensors(info: CheckpointInfo, part: str) -> Iterator[tuple[str, torch.Tensor]]:
    if info.kind == "diffusers":
        yield from iterate_tensors(weight_files(info.parts[part]), lambda key: key)
        return
    yield from iterate_tensors(weight_files(info.path), keys_of_part(part))
    if part == "condition_encoder":
        silence = read_silence(info.parts["silence_latent"])
        if silence.shape[1] != 15000:  # the module's buffer is made for 600 s
            raise CheckpointError(f"{info.parts['silence_latent']} holds {silence.shape[1]} frames; expected 15000.")
        yield "silence_latent", silence


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
    from transformers import AutoTokenizer, Qwen3Model

    folders = [info.parts.get(part) for part in ("text_encoder", "tokenizer")]
    if None in folders:
        raise CheckpointError(
            f"The checkpoint {info.name} lacks a text encoder or its tokenizer; found: {', '.join(sorted(info.parts))}."
        )
    encoder_folder, tokenizer_folder = folders
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True, trust_remote_code=False)
            encoder = Qwen3Model.from_pretrained(
                encoder_folder, dtype=dtype or "auto", local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"The text encoder of {info.name} cannot be loaded: {first}") from error
    return TextModules(encoder.to(device).eval().requires_grad_(False), tokenizer)


def text_encoder_cost_model(info: CheckpointInfo) -> PreTrainedModel:
    """The text encoder made from its config without memory or weights, on the device "meta"."""
    from transformers import AutoConfig, Qwen3Model

    config = AutoConfig.from_pretrained(info.parts["text_encoder"], local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        return Qwen3Model(config).eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers inside the block: loading the small text encoder is not worth one."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_codec(info: CheckpointInfo, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Any:
    """Load the `vae` as a codec (`codec.base.Codec`).

    Raises:
        CheckpointError: it is missing, damaged or of an unknown class.
    """
    folder: Path | None = info.parts.get("vae")
    if folder is None:
        raise CheckpointError(f"The checkpoint {info.name} has no vae; found: {', '.join(sorted(info.parts))}.")
    return load_codec_folder(str(folder), dtype=dtype or torch.float32, device=device)
