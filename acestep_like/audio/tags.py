"""The recipe inside the file: every parameter that made an audio, as JSON in the comment tag.

The comment holds plain JSON in ASCII (other characters as `\\u` escapes, which every format carries unharmed); a long
recipe is deflated so that it stays below the tag limits of all formats.

What a file's tag holds is data of strangers: its length, its length when inflated and its depth are bounded before it
is inflated or parsed, and what is no recipe of this package is none at all. Its values are for the reader to check.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import soundfile as sf

from acestep_like.audio.containers import riff_comment
from acestep_like.audio.decode import ffmpeg_comment, sound_file
from acestep_like.audio.sources import open_source
from acestep_like.errors import InputError, OutputError

MAX_RECIPE_CHARACTERS = 1 << 20
"""Longest recipe as JSON: beyond any that fits a tag, since texts deflate to a third and codes to a quarter."""
MAX_RECIPE_DEPTH = 32

_PLAIN_LIMIT = 30_000
# libsndfile cannot read an Opus comment header beyond about 64 kB.
_LIMIT = 60_000
_DEFLATED = "acestep_like:deflate:"
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def encode_recipe(recipe: Mapping[str, Any]) -> str:
    """A recipe (JSON values only) as a tag text.

    Raises:
        OutputError: the recipe does not fit a tag even when deflated.
    """
    text = json.dumps(recipe, ensure_ascii=True, sort_keys=True, allow_nan=False)
    length = len(text)
    if length > _PLAIN_LIMIT:
        text = _DEFLATED + base64.b64encode(zlib.compress(text.encode("ascii"), 9)).decode("ascii")
    if len(text) > _LIMIT or length > MAX_RECIPE_CHARACTERS:
        raise OutputError(f"the recipe takes {len(text)} characters; a file's tag holds {_LIMIT}")
    return text


def decode_recipe(text: str) -> dict[str, Any] | None:
    """The recipe of a tag text, or None when the text is none: a mapping that names this package's version, with the
    parameters of a song (`params`) or the facts of a clip (`clip`)."""
    try:
        recipe = _json(_inflated(text[len(_DEFLATED) :]) if text.startswith(_DEFLATED) else text)
    except (ValueError, zlib.error):
        return None
    if not isinstance(recipe, dict) or not isinstance(recipe.get("acestep_like"), str):
        return None
    return recipe if any(isinstance(recipe.get(name), dict) for name in ("params", "clip")) else None


def _inflated(text: str) -> str:
    if len(text) > _LIMIT:
        raise ValueError("longer than any tag that this package writes")
    data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MAX_RECIPE_CHARACTERS + 1)
    return data.decode("ascii")


def _json(text: str) -> Any:
    """JSON of bounded length and depth, without NaN and infinity, which no recipe has."""
    if len(text) > MAX_RECIPE_CHARACTERS:
        raise ValueError("longer than any recipe")
    depth = 0
    for token in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_RECIPE_DEPTH:
            raise ValueError("nested deeper than any recipe")
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def read_recipe(source: Any) -> dict[str, Any]:
    """The recipe embedded in an audio file that this package wrote (flac, wav, mp3, ogg, opus, m4a).

    Args:
        source: a path, the bytes of a file, or a file object opened for reading bytes.

    Raises:
        InputError: no such file, not audio, or no recipe in it.
        DependencyError: an m4a file, without the extra `audio`.
    """
    with open_source(source, "path") as opened:
        try:
            with sound_file(opened.file) as sound:
                comment = riff_comment(opened.file) if sound.format == "WAV" else sound.comment
        except sf.LibsndfileError as error:
            comment = ffmpeg_comment(opened.file, opened.name)
            if comment is None:
                raise InputError("path", opened.name, "an audio file that can be read") from error
    recipe = decode_recipe(comment)
    if recipe is None:
        raise InputError("path", opened.name, "a file written by acestep_like", "It carries no recipe.")
    return recipe
