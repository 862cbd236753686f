"""The recipe inside the file: every parameter that made an audio, as JSON in the comment tag.

The comment holds plain JSON in ASCII (other characters as `\\u` escapes, which every format carries unharmed); a long
recipe is deflated so that it stays below the tag limits of all formats.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile as sf

from acestep_like.errors import InputError, OutputError
from acestep_like.types.paths import user_path

_PLAIN_LIMIT = 30_000
# libsndfile cannot read an Opus comment header beyond about 64 kB.
_LIMIT = 60_000
_DEFLATED = "acestep_like:deflate:"


def encode_recipe(recipe: Mapping[str, Any]) -> str:
    """A recipe (JSON values only) as a tag text.

    Raises:
        OutputError: the recipe does not fit a tag even when deflated.
    """
    text = json.dumps(recipe, ensure_ascii=True, sort_keys=True, allow_nan=False)
    if len(text) > _PLAIN_LIMIT:
        text = _DEFLATED + base64.b64encode(zlib.compress(text.encode("ascii"), 9)).decode("ascii")
    if len(text) > _LIMIT:
        raise OutputError(f"the recipe takes {len(text)} characters; a file's tag holds {_LIMIT}")
    return text


def decode_recipe(text: str) -> dict[str, Any] | None:
    """The recipe of a tag text, or None when the text is no recipe."""
    try:
        if text.startswith(_DEFLATED):
            text = zlib.decompress(base64.b64decode(text[len(_DEFLATED) :], validate=True)).decode("ascii")
        recipe = json.loads(text)
    except (ValueError, zlib.error, binascii.Error):
        return None
    return recipe if isinstance(recipe, dict) else None


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The recipe embedded in an audio file that this package wrote (flac, wav, mp3, ogg, opus).

    Raises:
        InputError: no such file, not audio, or no recipe in it.
    """
    path = user_path(path, "path")
    if not os.path.isfile(path):
        raise InputError("path", str(path), "an existing audio file")
    try:
        with sf.SoundFile(str(path)) as file:
            comment = _riff_comment(path) if file.format == "WAV" else file.comment
    except sf.LibsndfileError as error:
        raise InputError("path", str(path), "an audio file that can be read") from error
    recipe = decode_recipe(comment)
    if recipe is None:
        raise InputError("path", str(path), "a file written by acestep_like", "It carries no recipe.")
    return recipe


def _riff_comment(path: Path) -> str:
    """The ICMT entry of a WAV file's LIST/INFO chunk; libsndfile writes long ones but skips them when reading."""
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = header[:4], int.from_bytes(header[4:], "little")
            if name != b"LIST" or file.read(4) != b"INFO":
                file.seek(size + (size & 1) - (4 if name == b"LIST" else 0), 1)
                continue
            body = file.read(size - 4 + (size & 1))
            offset = 0
            while offset + 8 <= len(body):
                length = int.from_bytes(body[offset + 4 : offset + 8], "little")
                if body[offset : offset + 4] == b"ICMT":
                    return body[offset + 8 : offset + 8 + length].rstrip(b"\0").decode("utf-8", "replace")
                offset += 8 + length + (length & 1)
    return ""
