"""The configuration file of a batch: four sections, each key declared once, all of it checked before any model runs.

The format is that of stable-audio-tools' inference script: `generation` (how to sample), `conditioning_defaults` and
`input` (what to make), `output` (which files).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from acestep_like.client.providers.k_samplers import SAMPLERS
from acestep_like.entrypoints.text_files import read_text
from acestep_like.errors import InputError
from acestep_like.types.fields import parameter, specs

FILE_FORMATS = (
    "wav",
    "flac",
    "mp3 v0",
    "mp3 320k",
    "mp3 128k",
    "m4a aac_he_v2 32k",
    "m4a aac_he_v2 64k",
)
NAMINGS = ("prompt", "verbose", "audio_prompt")
_FLOW_SAMPLERS = ("euler", "rk4", "dpmpp", "pingpong")
_SECTIONS = ("generation", "conditioning_defaults", "input", "output")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Generation:
    """How to sample; what is left out, the model's family chooses."""

    steps: int | None = parameter(None, "int", "", "Denoising steps.", low=1, high=1000, optional=True)
    cfg_scale: float | None = parameter(
        None, "float", "", "Classifier-free guidance; 1 is off.", low=0, high=100, optional=True
    )
    batch_size: int = parameter(1, "int", "", "Clips for each sample.", low=1, high=64)
    sampler_type: str | None = parameter(
        None, "str", "", "The sampler.", choices=(*SAMPLERS, *_FLOW_SAMPLERS), optional=True
    )
    sigma_min: float | None = parameter(None, "float", "", "Lowest noise level.", low=0, high=1000, optional=True)
    sigma_max: float | None = parameter(None, "float", "", "Highest noise level.", above=0, high=1000, optional=True)
    rho: float | None = parameter(None, "float", "", "Bend of the noise levels.", above=0, high=10, optional=True)
    seed: int = parameter(
        -1, "int", "", "Seed of a sample's first clip.", low=0, high=2**63 - 65, also={-1: "a random one for each clip"}
    )
    cfg_interval: list[float] | None = parameter(
        None, "floats", "", "Noise levels between which guidance works.", low=0, high=1, optional=True
    )
    scale_phi: float | None = parameter(None, "float", "", "Share of rescaled guidance.", low=0, high=1, optional=True)


@dataclass(frozen=True)
class Conditioning:
    """What one sample is to be."""

    prompt: str = parameter("", "str", "", "The sound in words.", max_length=4000)
    audio_prompt: str | None = parameter(
        None, "str", "", "A file to work from: an embedding (.npy), or a sound.", optional=True
    )
    seconds_start: float = parameter(0.0, "float", "", "Where in the piece the clip begins.", low=0, high=3600)
    seconds_total: float = parameter(30.0, "float", "", "Length of the piece.", above=0, high=3600, unit="seconds")
    negative_prompt: str | None = parameter(None, "str", "", "What shall not be in it.", optional=True, max_length=4000)


@dataclass(frozen=True)
class Output:
    """Which files are written."""

    output_dir: str = parameter("", "str", "", "The folder; made when missing.", max_length=4096)
    file_format: str = parameter("wav", "str", "", "The format of the files.", choices=FILE_FORMATS)
    file_naming: str = parameter("prompt", "str", "", "How files are named.", choices=NAMINGS)
    save_metadata: bool = parameter(False, "bool", "", "A JSON file beside each.")
    cut_to_seconds_total: bool = parameter(False, "bool", "", "Cut clips to `seconds_total`.")


@dataclass(frozen=True)
class Sample:
    """One entry of `input` with the defaults in it.

    Attributes:
        place: in the input, from 1.
        conditioning: the keys that all models share.
        own: other keys, for the model's family to check.
    """

    place: int
    conditioning: Conditioning
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchConfig:
    """A whole configuration, checked."""

    generation: Generation
    samples: tuple[Sample, ...]
    output: Output


def read_config(path: str) -> BatchConfig:
    """Read and check a configuration file.

    Raises:
        InputError: the first key or value that is not accepted, by its place in the file.
    """
    content = read_text(path, "generation_config", "a JSON file", json.loads)
    _check_keys("generation_config", content, _SECTIONS)
    output = _section(Output, "output", content.get("output", {}))
    if not output.output_dir.strip():
        raise InputError("output.output_dir", output.output_dir, "a folder")
    return BatchConfig(
        _section(Generation, "generation", content.get("generation", {})),
        tuple(_samples(content, Path(path).parent)),
        output,
    )


def _samples(content: Mapping[str, Any], folder: Path) -> list[Sample]:
    defaults = content.get("conditioning_defaults", {})
    if not isinstance(defaults, dict):
        raise InputError("conditioning_defaults", defaults, "a JSON object")
    entries = _entries(content.get("input"), folder)
    return [_sample(place, {**defaults, **entry}) for place, entry in enumerate(entries, start=1)]


def _entries(source: Any, folder: Path) -> list[dict[str, Any]]:
    """The samples of `input`: inline, or a line each of a prompts file."""
    if not isinstance(source, dict):
        raise InputError("input", source, 'a JSON object with "type"')
    kind = source.get("type")
    if kind == "config":
        _check_keys("input", source, ("type", "samples"))
        entries = source.get("samples")
        if not isinstance(entries, list) or not entries:
            raise InputError("input.samples", entries, "a list of samples")
        for place, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict):
                raise InputError(f"input.samples[{place}]", entry, "a JSON object")
        return entries
    if kind == "file":
        _check_keys("input", source, ("type", "prompts_file"))
        lines = _prompts(source.get("prompts_file"), folder)
        return [{"prompt": line} for line in lines]
    raise InputError("input.type", kind, "config or file")


def _prompts(name: Any, folder: Path) -> list[str]:
    """The lines of a prompts file, which lies where it is named, or beside the configuration."""
    if not isinstance(name, str) or not name.strip():
        raise InputError("input.prompts_file", name, "a text file with a prompt a line")
    beside = folder / name
    found = str(beside) if not os.path.exists(os.path.expanduser(name)) and os.path.exists(beside) else name
    lines = read_text(found, "input.prompts_file", "a text file with a prompt a line", str.splitlines)
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise InputError("input.prompts_file", name, "a text file with a prompt a line", "It holds none.")
    return prompts


def _sample(place: int, values: dict[str, Any]) -> Sample:
    shared = specs(Conditioning)
    conditioning = _section(Conditioning, f"input.samples[{place}]", {k: v for k, v in values.items() if k in shared})
    return Sample(place, conditioning, {name: value for name, value in values.items() if name not in shared})


def _section(cls: type[_T], where: str, values: Any) -> _T:
    """A section as its class, every value checked by its declaration."""
    declared = specs(cls)
    _check_keys(where, values, declared)
    checked = {
        name: replace(declared[name], name=f"{where}.{name}").check(value)
        for name, value in values.items()
        if not (value is None and _default(cls, name) is not None)
    }
    return cls(**checked)


def _default(cls: type, name: str) -> Any:
    return next(entry.default for entry in fields(cls) if entry.name == name)  # type: ignore[arg-type]


def _check_keys(where: str, values: Any, known: Any) -> None:
    if not isinstance(values, dict):
        raise InputError(where, values, "a JSON object")
    for name in values:
        if name not in known:
            near = get_close_matches(name, list(known), n=1)
            raise InputError(
                where, name, "keys among " + ", ".join(known), f"Did you mean {near[0]!r}?" if near else ""
            )
