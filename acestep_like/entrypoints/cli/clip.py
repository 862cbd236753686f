"""The command `acestep-like clip`: one clip or several from any family of audio models."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from acestep_like.client.client import AudioClient
from acestep_like.client.events import StepDone
from acestep_like.client.output import encoder
from acestep_like.client.request import AudioRequest
from acestep_like.errors import InputError
from acestep_like.types.fields import FieldSpec, specs

if TYPE_CHECKING:
    from acestep_like.client.providers.base import Family

_OWN = ("prompt", "seeds", "extra")


def add_clip(commands: Any) -> None:
    """The command's options, from the declarations of `AudioRequest`."""
    clip = commands.add_parser(
        "clip",
        help="make a clip with any audio model: ours, MusicGen, AudioLDM, AudioLDM 2, Stable Audio",
        description="Make clips with any audio model. A field that the model has no use for is refused.",
    )
    clip.add_argument("prompt", nargs="?", default="", help="what shall be detected")
    clip.add_argument(
        "--model",
        metavar="NAME",
        help="mini, hf:OWNER/NAME, FAMILY:OWNER/NAME or a folder; without it ACESTEP_LIKE_AUDIO_MODEL, else mini",
    )
    clip.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the files (default: audio in ACESTEP_LIKE_OUTPUT_DIR, else outputs/audio)",
    )
    clip.add_argument("--audio-format", metavar="NAME", default="wav", help="of the files (default: wav)")
    clip.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or xpu (default: auto)")
    clip.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of this family alone, such as bpm=90; may be repeated",
    )
    clip.add_argument("--quiet", action="store_true", help="no progress bar")
    for name, spec in specs(AudioRequest).items():
        if name not in _OWN:
            clip.add_argument(f"--{name.replace('_', '-')}", metavar="X", default=argparse.SUPPRESS, help=_help(spec))
    clip.set_defaults(run=run_clip)


def _help(spec: FieldSpec) -> str:
    facts = "; ".join(filter(None, (", ".join(spec.choices), " ".join(filter(None, (spec.range, spec.unit))))))
    return (spec.help + (f" ({facts})" if facts else "")).replace("%", "%%")


def run_clip(arguments: argparse.Namespace) -> int:
    """Make the clips, save them, print their files and seeds."""
    from tqdm import tqdm

    given = vars(arguments)
    fields = {
        name: spec.parse(given[name])
        for name, spec in specs(AudioRequest).items()
        if name in given and name not in _OWN
    }
    client = AudioClient(arguments.model, device=arguments.device)
    fields |= dict(_own_field(client.family, text) for text in arguments.set)
    client.request(arguments.prompt, **fields)
    save = encoder("path", arguments.out, arguments.audio_format)
    with tqdm(unit="step", leave=False, file=sys.stderr, disable=True if arguments.quiet else None) as bar:

        def show(event: StepDone) -> None:
            bar.total, bar.n = event.total, event.step
            bar.set_description(f"clip {event.index + 1}")

        clips = client.clips(arguments.prompt, on_step=show, **fields)
    for clip in clips:
        print(f"{save(clip)}\n  seed      {clip.seed}\n  length    {clip.duration_s:.1f} s at {clip.sample_rate} Hz")
    return 0


def _own_field(family: Family, text: str) -> tuple[str, Any]:
    """NAME=VALUE, read as the family declares the field."""
    name, equals, value = text.partition("=")
    if not equals or name not in family.own_fields:
        own = ", ".join(family.own_fields) or "none"
        raise InputError("set", text, f"NAME=VALUE with a field of {family.label}'s own ({own})")
    return name, family.own_fields[name].parse(value)
