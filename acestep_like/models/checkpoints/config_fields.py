"""What the fields of a checkpoint's configs may hold, checked before anything is built from them.

The bounds are some ten times what published models have: a config beyond them is damaged, or made to fill the memory.
Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.files import FETCH_AGAIN, brief


@dataclass(frozen=True)
class ConfigField:
    """What a field may hold, in words and as a test; `required` where nothing stands in for it."""

    accepted: str
    test: Callable[[Any], bool]
    required: bool = False


Fields = Mapping[str, ConfigField]


def check_config(values: Mapping[str, Any], fields: Fields, file: Path) -> None:
    """Compare a config with what its fields may hold; fields that are not listed are nobody's business here.

    Raises:
        CheckpointError: a required field is missing, or one is of another type or out of range.
    """
    for name, field in fields.items():
        if name not in values:
            if field.required:
                raise CheckpointError(f"{file} lacks {name}: expected {field.accepted}. {FETCH_AGAIN}")
        elif not field.test(values[name]):
            raise CheckpointError(f"{file}: {name} is {brief(values[name])}; expected {field.accepted}. {FETCH_AGAIN}")


def whole(low: int, high: int, required: bool = False) -> ConfigField:
    return ConfigField(f"a whole number from {low} to {high}", lambda value: _is_whole(value, low, high), required)


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and (isinstance(value, int) or math.isfinite(value)) and low <= value <= high


def number(low: float, high: float) -> ConfigField:
    return ConfigField(f"a number from {low:g} to {high:g}", lambda value: _is_number(value, low, high))


def or_null(field: ConfigField) -> ConfigField:
    return ConfigField(f"{field.accepted}, or null", lambda value: value is None or field.test(value))


def one_of(*choices: Any) -> ConfigField:
    names = ", ".join("null" if choice is None else str(choice) for choice in choices)
    return ConfigField(f"one of {names}", lambda value: isinstance(value, str | None) and value in choices)


def list_of(field: ConfigField, longest: int) -> ConfigField:
    def test(value: Any) -> bool:
        return isinstance(value, list) and 1 <= len(value) <= longest and all(field.test(item) for item in value)

    return ConfigField(f"a list of 1 to {longest}, each {field.accepted}", test)


FLAG = ConfigField("true or false", lambda value: isinstance(value, bool))
TEXT = ConfigField("a text", lambda value: isinstance(value, str) and len(value) <= 1000)
MAPPING = ConfigField("a JSON object", lambda value: isinstance(value, dict))
_WIDTH = whole(1, 65_536)
_LAYERS = whole(1, 256)
_LAYER_TYPES = or_null(list_of(one_of("sliding_attention", "full_attention"), 256))
_RATE = whole(8_000, 192_000)

_ATTENTION: Fields = {
    "hidden_size": _WIDTH,
    "intermediate_size": whole(1, 262_144),
    "num_attention_heads": whole(1, 1024),
    "num_key_value_heads": whole(1, 1024),
    "head_dim": ConfigField(
        "an even number from 2 to 1024", lambda value: _is_whole(value, 2, 1024) and value % 2 == 0
    ),
    "rope_theta": number(1, 1e12),
    "rms_norm_eps": number(0, 0.1),
    "attention_bias": FLAG,
    "attention_dropout": number(0, 1),
    "sliding_window": or_null(whole(1, 1_048_576)),
    "layer_types": _LAYER_TYPES,
}
_AUDIO: Fields = {
    "audio_acoustic_hidden_dim": whole(1, 4096),
    "pool_window_size": whole(1, 256),
}
_POOLER: Fields = {**_ATTENTION, **_AUDIO, "num_attention_pooler_hidden_layers": _LAYERS}
_LEVELS = ConfigField(
    "a list of 1 to 16 whole numbers from 2 to 1024 with a product up to 1048576",
    lambda value: (
        isinstance(value, list)
        and 1 <= len(value) <= 16
        and all(_is_whole(item, 2, 1024) for item in value)
        and math.prod(value) <= 1 << 20
    ),
)
TRANSFORMER: Fields = {
    **_ATTENTION,
    **_AUDIO,
    "num_hidden_layers": _LAYERS,
    "in_channels": whole(1, 16_384),
    "patch_size": whole(1, 64),
    "encoder_hidden_size": or_null(_WIDTH),
    "is_turbo": or_null(FLAG),
    "model_version": or_null(TEXT),
}
CONDITION_ENCODER: Fields = {
    **_ATTENTION,
    "text_hidden_dim": _WIDTH,
    "timbre_hidden_dim": whole(1, 4096),
    "num_lyric_encoder_hidden_layers": _LAYERS,
    "num_timbre_encoder_hidden_layers": _LAYERS,
}
AUDIO_TOKENIZER: Fields = {
    **_POOLER,
    "fsq_dim": or_null(_WIDTH),
    "fsq_input_levels": or_null(_LEVELS),
    "fsq_input_num_quantizers": whole(1, 16),
}
DIT_FIELDS: Mapping[str, Fields] = {
    "transformer": TRANSFORMER,
    "condition_encoder": CONDITION_ENCODER,
    "audio_tokenizer": AUDIO_TOKENIZER,
    "audio_token_detokenizer": _POOLER,
}
"""By the folder of each part in the diffusers layout."""

_REQUIRED = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers")
_ENCODER_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
UPSTREAM: Fields = {
    **TRANSFORMER,
    **CONDITION_ENCODER,
    **AUDIO_TOKENIZER,
    **{f"encoder_{name}": or_null(_ATTENTION[name]) for name in _ENCODER_SIZES},
    **{name: ConfigField(TRANSFORMER[name].accepted, TRANSFORMER[name].test, True) for name in _REQUIRED},
}
"""The one `config.json` of the upstream layout, which holds the fields of all four parts."""


def check_dit_config(values: Mapping[str, Any], fields: Fields, file: Path) -> None:
    """As `check_config`, of a DiT part or the upstream config; also what its fields must be to one another."""
    check_config(values, fields, file)
    for prefix in ("", "encoder_"):
        heads, groups = (values.get(f"{prefix}{name}") for name in ("num_attention_heads", "num_key_value_heads"))
        if heads and groups and heads % groups:
            raise CheckpointError(f"{file}: {heads} attention heads do not share {groups} key-value heads evenly.")
    layers = max((values[name] for name in values if name in fields and name.endswith("hidden_layers")), default=0)
    types = values.get("layer_types")
    if types is not None and len(types) < layers:
        raise CheckpointError(f"{file}: layer_types names {len(types)} layers of {layers}. {FETCH_AGAIN}")


QWEN3: Fields = {
    **{name: _ATTENTION[name] for name in (*_ENCODER_SIZES, "head_dim", "rms_norm_eps", "attention_bias")},
    "attention_dropout": number(0, 1),
    "layer_types": _LAYER_TYPES,
    "sliding_window": or_null(whole(1, 1_048_576)),
    "rope_theta": or_null(number(1, 1e12)),
    "rope_parameters": or_null(MAPPING),
    "model_type": one_of("qwen3"),
    "num_hidden_layers": _LAYERS,
    "vocab_size": whole(1, 1 << 20),
    "max_position_embeddings": whole(1, 1 << 24),
    "hidden_act": one_of("silu", "gelu", "relu", "gelu_pytorch_tanh"),
    "attn_implementation": one_of(None, "eager", "sdpa"),
    "_attn_implementation": one_of(None, "eager", "sdpa"),
    "quantization_config": one_of(None),
    "dtype": one_of(None, "float32", "float16", "bfloat16"),
    "torch_dtype": one_of(None, "float32", "float16", "bfloat16"),
    "architectures": or_null(list_of(TEXT, 16)),
}
"""The text encoder and the language models. An attention of another name could be code that is fetched from the Hub."""

OOBLECK: Fields = {
    "encoder_hidden_size": whole(1, 8192),
    "downsampling_ratios": list_of(whole(1, 64), 8),
    "channel_multiples": list_of(whole(1, 256), 8),
    "decoder_channels": whole(1, 8192),
    "decoder_input_channels": whole(1, 4096),
    "audio_channels": whole(2, 2),
    "sampling_rate": _RATE,
}
SPECTRAL: Fields = {
    "decoder_width": whole(1, 4096),
    "downsampling_ratios": list_of(whole(1, 64), 8),
    "frames_per_latent": whole(1, 16),
    "griffin_lim_iterations": whole(0, 1000),
    "high_blocks": whole(1, 64),
    "latent_channels": whole(1, 256),
    "latent_std": number(0, 100),
    "low_blocks": whole(1, 64),
    "n_fft": whole(64, 16_384),
    "pan_bands": whole(1, 512),
    "refine_steps": whole(0, 1000),
    "sampling_rate": _RATE,
}
CODEC_FIELDS: Mapping[str, Fields] = {"AutoencoderOobleck": OOBLECK, "SpectralAutoencoder": SPECTRAL}
"""By the class name in the codec's config."""
