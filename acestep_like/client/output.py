"""Output."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acestep_like.audio.formats import parse_format, prepare_output_dir
from acestep_like.client.clip import Clip
from acestep_like.errors import InputError

OUTPUT_VARIABLE = "ACESTEP_LIKE_OUTPUT_DIR"
"""Environment variable of the folder in which `format="path"` writes to `audio/`; without it, `outputs`."""


FORMS = ("numpy", "path", "bytes", "data_url")
"""How `generate` may answer."""


def encoder(
    format: str = "numpy", output_dir: str | Path | None = None, audio_format: str = "wav"
) -> Callable[[Clip], Any]:
    """What makes the form of a clip that `AudioClient.generate` is asked for with the same arguments.

    Raises:
        InputError: no such form or file format. OutputError: the folder cannot be written to.
    """
    if format not in FORMS:
        raise InputError("format", format, "one of " + ", ".join(FORMS))
    if not isinstance(audio_format, str):
        raise InputError("audio_format", audio_format, "the name of a format")
    extension = parse_format(audio_format).extension
    if output_dir is not None and format != "path":
        raise InputError("output_dir", str(output_dir), 'format="path" beside it')
    if format == "numpy":
        return Clip.numpy
    if format == "bytes":
        return lambda clip: clip.to_bytes(audio_format)
    if format == "data_url":
        return lambda clip: clip.data_url(audio_format)
    folder = prepare_output_dir(output_folder(output_dir))
    return lambda clip: str(clip.save(_free_name(folder, clip, extension), audio_format))


def output_folder(output_dir: str | Path | None) -> Path:
    """The folder of `format="path"`: the given one, else `audio` in that of `OUTPUT_VARIABLE`, else `outputs/audio`."""
    return Path(output_dir) if output_dir is not None else Path(os.environ.get(OUTPUT_VARIABLE) or "outputs") / "audio"


def _free_name(folder: Path, clip: Clip, extension: str) -> Path:
    """A name with the time and a digest of the clip, which no other clip has."""
    facts = f"{clip.metadata['model']} {clip.metadata['request']} {clip.seed} {time.time_ns()}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{digest}.{extension}"
