"""The upstream layout: which keys and config fields of one safetensors file belong to which diffusers module.

Pure tables and functions over names and numbers; no weight is touched here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acestep_like.errors import CheckpointError

TEXT_ENCODER_FOLDER = "Qwen3-Embedding-0.6B"
"""The folder beside the DiT's that holds the text encoder and its tokenizer."""
_PREFIXES = {
    "decoder.": "transformer",
    "encoder.": "condition_encoder",
    "tokenizer.": "audio_tokenizer",
    "detokenizer.": "audio_token_detokenizer",
}
_NULL_KEY = "null_condition_emb"
_RENAMES = (
    (".q_proj.", ".to_q."),
    (".k_proj.", ".to_k."),
    (".v_proj.", ".to_v."),
    (".o_proj.", ".to_out.0."),
    (".q_norm.", ".norm_q."),
    (".k_norm.", ".norm_k."),
)
_DECODER_RENAMES = (("proj_in.1.", "proj_in_conv."), ("proj_out.1.", "proj_out_conv."))


def part_of(key: str) -> tuple[str, str]:
    """(part, key within the diffusers module) of an upstream key.

    Raises:
        CheckpointError: no part of that name.
    """
    if key == _NULL_KEY:
        return "condition_encoder", _NULL_KEY
    for prefix, part in _PREFIXES.items():
        if key.startswith(prefix):
            name = key[len(prefix) :]
            for old, new in _RENAMES + (_DECODER_RENAMES if part == "transformer" else ()):
                name = name.replace(old, new)
            return part, name
    raise CheckpointError(f"The key '{key}' belongs to no known part of an ACE-Step checkpoint.")


def upstream_key(part: str, key: str) -> str:
    """The upstream key of a diffusers module's key: the inverse of `part_of`."""
    if part == "condition_encoder" and key == _NULL_KEY:
        return _NULL_KEY
    name = key
    for old, new in _RENAMES + (_DECODER_RENAMES if part == "transformer" else ()):
        name = name.replace(new, old)
    prefix = next(prefix for prefix, owner in _PREFIXES.items() if owner == part)
    return prefix + name


def keys_of_part(part: str) -> Callable[[str], str | None]:
    """A selector for reading: the module's key of an upstream key, or None when it belongs to another part."""

    def select(key: str) -> str | None:
        owner, name = part_of(key)
        return name if owner == part else None

    return select


_SHARED = ("head_dim", "rope_theta", "attention_bias", "attention_dropout", "rms_norm_eps", "sliding_window")


def is_turbo_config(config: dict[str, Any], name: str) -> bool:
    """Whether a config belongs to a distilled model, as upstream decides: by `is_turbo`, which older configs lack,
    else by `model_version` or the name of the model's folder."""
    if config.get("is_turbo") is not None:
        return bool(config["is_turbo"])
    return "turbo" in str(config.get("model_version") or "").lower() or "turbo" in name.lower()


def part_configs(config: dict[str, Any], name: str = "") -> dict[str, dict[str, Any]]:
    """The configs of the four diffusers modules from an upstream `config.json`, which `config_fields` has checked.

    Args:
        config: the file's content.
        name: of the model's folder, which tells a turbo model whose config does not.
    """
    every_layer = config.get("layer_types")

    def layer_types(count: int) -> list[str] | None:
        return None if every_layer is None else every_layer[:count]

    shared = {name: config[name] for name in _SHARED if name in config}
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    encoder_sizes = {name: config.get(f"encoder_{name}") or config[name] for name in sizes}
    lyric_layers = config.get("num_lyric_encoder_hidden_layers", 8)
    timbre_layers = config.get("num_timbre_encoder_hidden_layers", 4)
    pooler_layers = config.get("num_attention_pooler_hidden_layers", 2)
    channels = config.get("audio_acoustic_hidden_dim", 64)
    window = config.get("pool_window_size", 5)
    return {
        "transformer": {
            **shared,
            **{name: config[name] for name in sizes},
            "num_hidden_layers": config["num_hidden_layers"],
            "in_channels": config.get("in_channels", 3 * channels),
            "audio_acoustic_hidden_dim": channels,
            "patch_size": config.get("patch_size", 2),
            "layer_types": layer_types(config["num_hidden_layers"]),
            "encoder_hidden_size": encoder_sizes["hidden_size"],
            "is_turbo": is_turbo_config(config, name),
            "model_version": config.get("model_version"),
        },
        "condition_encoder": {
            **shared,
            **encoder_sizes,
            "text_hidden_dim": config.get("text_hidden_dim", 1024),
            "timbre_hidden_dim": config.get("timbre_hidden_dim", 64),
            "num_lyric_encoder_hidden_layers": lyric_layers,
            "num_timbre_encoder_hidden_layers": timbre_layers,
            "layer_types": layer_types(lyric_layers),
        },
        "audio_tokenizer": {
            **shared,
            **encoder_sizes,
            "audio_acoustic_hidden_dim": channels,
            "pool_window_size": window,
            "fsq_dim": config.get("fsq_dim") or encoder_sizes["hidden_size"],
            "fsq_input_levels": config.get("fsq_input_levels", [8, 8, 8, 5, 5, 5]),
            "fsq_input_num_quantizers": config.get("fsq_input_num_quantizers", 1),
            "num_attention_pooler_hidden_layers": pooler_layers,
            "layer_types": layer_types(pooler_layers),
        },
        "audio_token_detokenizer": {
            **shared,
            **encoder_sizes,
            "audio_acoustic_hidden_dim": channels,
            "pool_window_size": window,
            "num_attention_pooler_hidden_layers": pooler_layers,
            "layer_types": layer_types(pooler_layers),
        },
    }
