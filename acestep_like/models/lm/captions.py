"""What a written caption must keep of the words that were asked for, and the caption that does. Standard library only.

A language model's caption is taken as it is only where it keeps style, instruments and denials of the given words, or,
when it describes what is heard, where it agrees with the genre and the tracks beside it. Otherwise the given words or
the facts make the caption, and of the model's text only what fits is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from acestep_like.music.caption import (
    METER_WORDS,
    MODE_WORDS,
    TEMPO_WORDS,
    caption_bpm,
    caption_key,
    detect_style,
    says,
    spoken,
)
from acestep_like.music.instruments import caption_tracks, named_instruments, named_tracks
from acestep_like.music.styles import STYLE_HARMONY
from acestep_like.music.theory import ACE_MODE

T = TypeVar("T")

LONGEST_ENRICHED = 512
"""Characters up to which a given caption is added to; a longer one is detailed enough."""

_ASKING = re.compile(
    r"\s*(?:please|hi|hello|hey|(?:can|could|would|will) you|i(?:'d| would)? (?:want|need|like|love)|let's|"
    r"to (?:have|hear|get|make)|(?:i'm )?looking for|give|make|write|create|generate|compose|produce|me|us|"
    r"something like)\b[\s,:!]*",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"[\s,]*\b(?:please|thanks|thank you|pls)\b[\s.!?]*$", re.IGNORECASE)
_TRACK_WORDS = {"fx": "sound effects", "synth": "synthesizer", "keyboard": "keys", "backing_vocals": "backing vocals"}


def keeps(given: str, written: str) -> bool:
    """Whether a rewritten caption still asks for what the given one asks for: its style, each of its instruments, its
    denials, and the tempo, meter and key that it states."""
    style = detect_style(given)
    if style is not None and detect_style(written) != style:
        return False
    if not {_head(name) for name in named_instruments(given)} <= {_head(name) for name in named_instruments(written)}:
        return False
    if not set(caption_tracks(given).denied) <= set(caption_tracks(written).denied):
        return False
    return not _contradicts(given, written)


def fits(given: str, sentence: str) -> bool:
    """Whether a sentence can stand beside a given caption: it names no other style and nothing that is denied, and
    states no other tempo, meter or mode."""
    style, other = detect_style(given), detect_style(sentence)
    if style is not None and other is not None and other != style:
        return False
    if set(caption_tracks(given).denied) & set(named_tracks(sentence)):
        return False
    return not _contradicts(given, sentence)


def agrees(caption: str, genres: str, tracks: Iterable[str]) -> bool:
    """Whether a description names no other style than its genres and, where tracks are known, no other tracks."""
    style, named = detect_style(caption), _styles(genres)
    if style is not None and named and style not in named:
        return False
    known = set(tracks)
    return not known or set(named_tracks(caption)) <= known


def enriched(given: str, written: str, facts: str = "") -> str:
    """The given caption, word for word, with what the model wrote behind it where that fits and there is room.

    Args:
        facts: what must hold besides the caption's own words, such as `no vocals, in C major, 3/4`.
    """
    given, written = given.strip(), written.strip()
    fitting = fits(given, written) and (not facts or fits(facts, written))
    if not written or len(given) + len(written) + 2 > LONGEST_ENRICHED or not fitting:
        return given
    return f"{given.rstrip(' .,;')}. {written}"


def described(query: str) -> str:
    """The part of a request in plain words that describes music: `can you make me a waltz please` is `A waltz`."""
    text = " ".join(query.split())
    while (asking := _ASKING.match(text)) and asking.end() < len(text):
        text = text[asking.end() :]
    text = _CLOSING.sub("", text).strip(" ?!.,;:")
    return text[:1].upper() + text[1:]


def composed(genres: str, tracks: Iterable[str], keyscale: str = "", bpm: int | None = None) -> str:
    """A description of facts alone: `Bossa nova with guitar, bass and drums in D minor, 108 BPM.`"""
    names = [_TRACK_WORDS.get(track, track) for track in tracks]
    listed = ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1] if names else ""
    text = (genres.strip() or "music") + (f" with {listed}" if listed else "") + (f" in {keyscale}" if keyscale else "")
    return text[:1].upper() + text[1:] + (f", {bpm} BPM." if bpm else ".")


def mode_of(words: str) -> str:
    """`major` or `minor` where words such as `sad` or `dorian` tell it, else ""."""
    mode = _first(MODE_WORDS, words)
    return "" if mode is None else ACE_MODE[mode]


def genre_of(style: str, names: Iterable[str]) -> str:
    """The genre, in words that a model knows, of a style of `STYLE_HARMONY`."""
    return next((name for name in names if detect_style(name) == style), style)


def _styles(genres: str) -> set[str]:
    return {name for name, style in STYLE_HARMONY.items() if spoken(style.words, genres)}


def _head(instrument: str) -> str:
    """The noun of an instrument in the singular: `nylon guitars` is a guitar."""
    return re.split(r"[\s-]", instrument.lower())[-1].removesuffix("s")


def _contradicts(given: str, written: str) -> bool:
    """Whether two captions state different tempi, meters, keys or modes."""
    bpms = caption_bpm(given), caption_bpm(written)
    keys = caption_key(given), caption_key(written)
    if all(bpms) and bpms[0] != bpms[1]:
        return True
    if keys[0] is not None and keys[1] is not None and keys[0] != keys[1]:
        return True
    if keys[0] is not None and (mode := _first(MODE_WORDS, written)) is not None:
        return ACE_MODE[mode] != ACE_MODE[keys[0].mode]
    places = _first(TEMPO_WORDS, given), _first(TEMPO_WORDS, written)
    if places[0] is not None and places[1] is not None and abs(places[0] - places[1]) > 0.4:
        return True
    return any(
        (first := _first(table, given)) is not None
        and (second := _first(table, written)) is not None
        and first != second
        for table in (METER_WORDS, MODE_WORDS)
    )


def _first(table: Iterable[tuple[str, T]], caption: str) -> T | None:
    """The value of the first row whose words a caption has."""
    return next((value for words, value in table if says(words, caption)), None)
