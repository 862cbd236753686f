"""The command `acestep-like clip`: one clip or several from any family of audio models."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import Any

from tqdm import tqdm

from acestep_like.client.client import AudioClient
from acestep_like.client.clip import Clip
from acestep_like.client.events import ClipReady
from acestep_like.client.output import encoder, output_folder
from acestep_like.client.providers.base import Family
from acestep_like.entrypoints.cli.console import DONE, files_told, say
from acestep_like.entrypoints.cli.options import clip_fields
from acestep_like.errors import AceStepError, InputError


def run_clip(arguments: argparse.Namespace) -> int:
    """Make the clips; each is saved, and its file and seed printed, as soon as it is made."""
    given = vars(arguments)
    fields = {name: spec.parse(given[name]) for name, spec in clip_fields().items() if name in given}
    client = AudioClient(arguments.model, device=arguments.device)
    fields |= dict(_own_field(client.family, text) for text in arguments.set)
    request = client.request(arguments.prompt, **fields)
    folder = output_folder(arguments.out)
    save = encoder("path", folder, arguments.audio_format)
    made = 0
    with (
        files_told(folder),
        closing(client.run(request)) as events,
        tqdm(unit="step", leave=False, file=sys.stderr, disable=True if arguments.quiet else None) as bar,
    ):
        try:
            for event in events:
                if isinstance(event, ClipReady):
                    bar.clear()
                    _report(event.clip, save(event.clip))
                    made += 1
                else:
                    bar.total, bar.n = event.total, event.step
                    bar.set_description(f"clip {event.index + 1}")
        except AceStepError as error:
            if made:
                error.args = (f"{error} {made} of {request.num_audio} clips were made and are kept.",)
            raise
    return DONE


def _report(clip: Clip, path: str) -> None:
    say(path)
    say(f"  seed      {clip.seed}")
    say(f"  length    {clip.duration_s:.1f} s at {clip.sample_rate} Hz")


def _own_field(family: Family, text: str) -> tuple[str, Any]:
    """NAME=VALUE, read as the family declares the field."""
    name, equals, value = text.partition("=")
    if not equals or name not in family.own_fields:
        own = ", ".join(family.own_fields) or "none"
        raise InputError("set", text, f"NAME=VALUE with a field of {family.label}'s own ({own})")
    return name, family.own_fields[name].parse(value)
