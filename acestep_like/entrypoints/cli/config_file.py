"""TOML files as ACE-Step's own command line takes them (`cli.py -c config.toml`): one flat table of parameters,
settings and models."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from acestep_like.entrypoints.text_files import read_text
from acestep_like.errors import InputError
from acestep_like.types.fields import specs
from acestep_like.types.params import GenerationConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_OPTIONS = {
    "config_path": "checkpoint",
    "checkpoint_dir": "checkpoints",
    "lm_model_path": "lm",
    "device": "device",
    "offload_to_cpu": "offload_to_cpu",
    "save_dir": "out",
}
"""Keys of the file that are options here, by the option."""
_TRACKS = ("lego_track", "extract_track", "complete_tracks")
_NO_EFFECT = ("project_root", "backend", "use_flash_attention", "offload_dit_to_cpu", "log_level")
_NOT_HERE = {
    "sample_mode": "Write the caption, or call create_sample from Python.",
    "sample_query": "Write the caption, or call create_sample from Python.",
    "use_format": "Leave it out, or call format_sample from Python.",
}


@dataclass(frozen=True)
class ConfigFile:
    """What a file asks for: fields of `GenerationParams`, of `GenerationConfig`, options of the command (by their names
    in its arguments), and the keys that it gives but that change nothing here."""

    params: dict[str, Any]
    settings: dict[str, Any]
    options: dict[str, Any]
    without_effect: tuple[str, ...]


def read_config_file(name: str) -> ConfigFile:
    """Read a TOML file; the values of parameters are checked where they are used.

    Raises:
        InputError: no readable TOML, or a key that asks for what this command does not do.
    """
    data = read_text(name, "config", "a TOML file in UTF-8", tomllib.loads)
    for key, remedy in _NOT_HERE.items():
        if data.get(key):
            raise InputError(key, data[key], "nothing in a config file of this command", remedy)
    options = {_OPTIONS[key]: _of_type(key, data[key]) for key in _OPTIONS if data.get(key) not in (None, "")}
    tracks = next((data[key] for key in _TRACKS if data.get(key)), None)
    if tracks is not None:
        options["tracks"] = ",".join(map(str, tracks)) if isinstance(tracks, list) else str(tracks)
    rest = {key: data[key] for key in data if key not in (*_OPTIONS, *_TRACKS, *_NO_EFFECT, *_NOT_HERE)}
    prompt = rest.pop("prompt", "")
    if prompt and not rest.get("caption"):
        rest["caption"] = prompt
    known = specs(GenerationConfig)
    return ConfigFile(
        {key: value for key, value in rest.items() if key not in known},
        {key: value for key, value in rest.items() if key in known},
        options,
        tuple(key for key in _NO_EFFECT if key in data),
    )


def _of_type(key: str, value: Any) -> Any:
    kind, words = (bool, "true or false") if key == "offload_to_cpu" else (str, "text")
    if not isinstance(value, kind):
        raise InputError(key, value, words)
    return value
