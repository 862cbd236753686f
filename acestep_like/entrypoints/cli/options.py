"""Command-line options from the declarations of the parameters. Loads no framework."""

from __future__ import annotations

import argparse
from typing import Any

from acestep_like.client.request import AudioRequest
from acestep_like.types.fields import FieldSpec, specs
from acestep_like.types.params import COT_GROUP, GROUPS, GenerationConfig, GenerationParams

_ALIASES = {
    "keyscale": ("--key",),
    "task_type": ("--task",),
    "src_audio": ("--source",),
    "reference_audio": ("--reference",),
    "inference_steps": ("--steps",),
}
_METAVARS = {
    "int": "N",
    "float": "X",
    "ints": "N[,N]",
    "floats": "X[,X]",
    "window": "X[,X]",
    "audio": "FILE",
    "score": "FILE",
}
_NO_OPTIONS = ("prompt", "seeds", "extra")
"""Fields of a clip that are no options of their own: the argument, and what `--set` and `--seed` give."""


def clip_fields() -> dict[str, FieldSpec]:
    """The fields of a clip that are options, by name."""
    return {name: spec for name, spec in specs(AudioRequest).items() if name not in _NO_OPTIONS}


def add_music_options(parser: argparse.ArgumentParser) -> None:
    """What to make: the options of `generate` and `plan`, one for each parameter."""
    parser.add_argument("caption", nargs="?", default=argparse.SUPPRESS, help="the music in words")
    parser.add_argument(
        "--from-file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="start from the parameters in a JSON file, or the recipe in an audio file",
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="start from a TOML file as ACE-Step's own command line takes it",
    )
    parser.add_argument(
        "--lyrics-file", metavar="FILE", default=argparse.SUPPRESS, help="read the lyrics from a text file (UTF-8)"
    )
    parser.add_argument(
        "--tracks", metavar="NAME[,NAME]", default=argparse.SUPPRESS, help="tracks for lego, extract and complete"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    groups = {name: parser.add_argument_group(name.lower()) for name in GROUPS if name != COT_GROUP}
    for cls in (GenerationParams, GenerationConfig):
        for name, spec in specs(cls).items():
            if not spec.output and name != "caption":
                _add_field(groups[spec.group], spec, getattr(cls, name))


def add_clip_options(parser: argparse.ArgumentParser) -> None:
    """The options of `clip`, one for each field of a request."""
    parser.add_argument("prompt", nargs="?", default="", help="what shall be heard")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="mini, hf:OWNER/NAME, FAMILY:OWNER/NAME or a folder; without it ACESTEP_LIKE_AUDIO_MODEL, else mini",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the files (default: audio in ACESTEP_LIKE_OUTPUT_DIR, else outputs/audio)",
    )
    parser.add_argument("--audio-format", metavar="NAME", default="wav", help="of the files (default: wav)")
    add_device_option(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of this family alone, such as bpm=90; may be repeated",
    )
    add_quiet_option(parser)
    for name, spec in clip_fields().items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", metavar="X", default=argparse.SUPPRESS, help=_help(spec, _facts(spec))
        )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which weights to load, and where to."""
    models = parser.add_argument_group("models")
    models.add_argument(
        "--checkpoint", metavar="NAME", default="mini", help="name, folder or Hub id of the DiT (default: mini)"
    )
    models.add_argument(
        "--lm", metavar="NAME", default="auto", help="language model; auto takes the checkpoint's, none works without"
    )
    add_checkpoints_option(models)
    add_device_option(models)
    models.add_argument("--offload-to-cpu", action="store_true", help="keep on the device only what is running")


def add_checkpoints_option(parser: Any) -> None:
    """The folder in which checkpoints are looked for first."""
    parser.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")


def add_device_option(parser: Any) -> None:
    """Where the model runs."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or xpu (default: auto)")


def add_quiet_option(parser: Any) -> None:
    """No progress bar."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_field(group: Any, spec: FieldSpec, default: Any) -> None:
    """An option of a field. Its default is left to the dataclass: an option that is absent stays "not given"."""
    flags = (f"--{spec.name.replace('_', '-')}", *_ALIASES.get(spec.name, ()))
    text = _help(spec, [*_facts(spec), *_default_text(spec, 1 if spec.name == "batch_size" else default)])
    if spec.kind == "bool":
        group.add_argument(*flags, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    else:
        group.add_argument(*flags, metavar=_METAVARS.get(spec.kind, "TEXT"), default=argparse.SUPPRESS, help=text)


def _help(spec: FieldSpec, facts: list[str]) -> str:
    return (spec.help + (f" ({'; '.join(facts)})" if facts else "")).replace("%", "%%")


def _facts(spec: FieldSpec) -> list[str]:
    """What is accepted, in short."""
    if spec.kind == "bool":
        return []
    choices = ", ".join(map(str, spec.choices)) if len(spec.choices) <= 8 else ""
    return list(filter(None, [" ".join(filter(None, (choices, spec.range, spec.unit)))]))


def _default_text(spec: FieldSpec, default: Any) -> list[str]:
    if spec.by_checkpoint:
        return ["default: the checkpoint's"]
    return [] if default in (None, "", -1) else [f"default: {default}"]
