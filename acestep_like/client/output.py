"""The forms in which `AudioClient.generate` answers, and the files that it writes."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acestep_like.audio.formats import parse_format, prepare_output_dir
from acestep_like.client.clip import Clip, check_on_clipping
from acestep_like.errors import InputError

_log = logging.getLogger(__name__)

OUTPUT_VARIABLE = "ACESTEP_LIKE_OUTPUT_DIR"
"""Environment variable of the folder in which `format="path"` writes to `audio/`; without it, `outputs`."""


FORMS = ("numpy", "path", "bytes", "data_url")
"""How `generate` may answer."""


def encoder(
    format: str = "numpy",
    output_dir: str | Path | None = None,
    audio_format: str = "wav",
    on_clipping: str = "attenuate",
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
    check_on_clipping(on_clipping)
    if output_dir is not None and format != "path":
        raise InputError("output_dir", str(output_dir), 'format="path" beside it')
    if format == "numpy":
        return Clip.numpy
    if format == "bytes":
        return lambda clip: clip.to_bytes(audio_format, on_clipping=on_clipping)
    if format == "data_url":
        return lambda clip: clip.data_url(audio_format, on_clipping=on_clipping)
    folder = prepare_output_dir(output_folder(output_dir))
    return lambda clip: str(clip.save(_free_name(folder, clip, extension), audio_format, on_clipping=on_clipping))


def output_folder(output_dir: str | Path | None) -> Path:
    """The folder of `format="path"`: the given one, else `audio` in that of `OUTPUT_VARIABLE`, else `outputs/audio`."""
    return Path(output_dir) if output_dir is not None else Path(os.environ.get(OUTPUT_VARIABLE) or "outputs") / "audio"


@contextmanager
def finished_are_kept(values: list[Any], asked: int) -> Iterator[None]:
    """Files that are written stay when a later clip fails or the caller interrupts; the log says which."""
    complete = False
    try:
        yield
        complete = True
    finally:
        if values and not complete and isinstance(values[0], str):
            _log.warning("%d of %d clips were made and are kept: %s", len(values), asked, ", ".join(values))


def _free_name(folder: Path, clip: Clip, extension: str) -> Path:
    """A name with the time and a digest of the clip, which no other clip has."""
    facts = f"{clip.metadata['model']} {clip.metadata['request']} {clip.seed} {time.time_ns()}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{digest}.{extension}"
