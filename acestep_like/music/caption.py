"""What a caption says in words of style, tempo, meter and key."""

from __future__ import annotations

import re

from acestep_like.music.styles import BPM_LIMITS, STYLE_HARMONY
from acestep_like.music.theory import KeyScale, parse_keyscale

TEMPO_WORDS: tuple[tuple[str, float], ...] = (
    (r"very slow|largo|glacial|adagio|lento|crawling", 0.0),
    (r"very fast|really fast|breakneck|frantic|presto|furious|racing", 1.0),
    (r"slow\w*|ballad|unhurried|leisurely|sluggish|low tempo|sleepy|lullaby|laid[ -]back|relaxed|calm|gentle", 0.15),
    (r"mid[ -]?tempo|medium (tempo|pace|paced)|moderate|moderato|andante|andantino|allegretto|walking pace", 0.5),
    (
        r"fast([ -]paced)?|up[ -]?tempo|upbeat|quick|speedy|rapid|brisk|allegro|vivace|lively|high[ -](tempo|energy)",
        0.9,
    ),
    (r"energetic|driving|exciting|intense|trailer", 0.7),
    (r"nocturnes?|lullabies|berceuse|sad|sorrowful|mournful|melanchol\w+|elegy|requiem|funeral", 0.15),
)
"""Words and the place they mean within a style's tempo range; the first line that matches counts."""


METER_WORDS: tuple[tuple[str, str], ...] = (
    (r"3/4|waltz\w*|triple meter|three[ -]four", "3"),
    (r"6/8|jig|compound|six[ -]eight|tarantella|barcarolle", "6"),
    (r"2/4|march|polka|two[ -]step|two[ -]four", "2"),
    (r"4/4|four[ -]four|common time|four on the floor", "4"),
)


MODE_WORDS: tuple[tuple[str, str], ...] = (
    (r"dorian", "dorian"),
    (r"phrygian", "phrygian"),
    (r"lydian", "lydian"),
    (r"mixolydian", "mixolydian"),
    (r"harmonic minor", "harmonic minor"),
    (r"minor|sad|dark|melancholi\w*|tragic|gloomy|sombre|somber|haunting|ominous", "minor"),
    (r"major|happy|joyful|cheerful|sunny|bright|uplifting|playful", "major"),
)


_BPM_TEXT = re.compile(
    r"\b(\d{2,3})(?:\.0)?\s{0,3}-?\s{0,3}(?:bpm|beats per minute)\b"
    r"|\bbpm\s{0,3}(?:of|is|[:=])?\s{0,3}(\d{2,3})\b",
    re.I,
)


_KEY_TEXT = re.compile(
    r"\b((?-i:[A-G])|(?<=\bin )[a-g]|(?<=\bkey of )[a-g])\s?([#♯♭]|b\b|[- ]?sharp\b|[- ]?flat\b)?[ -]"
    r"?(harmonic minor|major|minor|maj|min|dorian|phrygian|lydian|mixolydian)\b(?! key| mood| feel| tone| scale chord)",
    re.I,
)


def spoken(words: str, caption: str) -> list[re.Match[str]]:
    """Where a caption has one of the words (a regular expression, whole words, any case)."""
    return list(re.finditer(rf"(?<![\w/])(?:{words})(?![\w/])", caption, re.IGNORECASE))


def says(words: str, caption: str) -> bool:
    """Whether a caption has one of the words."""
    return bool(spoken(words, caption))


def detect_style(caption: str) -> str | None:
    """The style that a caption names most often (the first named where equal), or None.

    Where one style's word directly precedes another's the second counts, as in `jazz funk` or `folk rock`.
    """
    found = [
        (match.start(), match.end(), name)
        for name, style in STYLE_HARMONY.items()
        for match in spoken(style.words, caption)
    ]
    heads = [
        (start, name)
        for start, end, name in found
        if not any(other != name and next_start - end in (0, 1) for next_start, _, other in found)
    ]
    if not heads:
        return "piano" if says("pianos?", caption) else None  # beside a style's words it is only an instrument
    names = [name for _, name in heads]
    return min(heads, key=lambda head: (-names.count(head[1]), head[0]))[1]


def caption_bpm(caption: str) -> int | None:
    """A tempo written as a number, such as `90 bpm`; None where there is none in 30..300."""
    for match in _BPM_TEXT.finditer(caption):
        value = int(match.group(1) or match.group(2))
        if BPM_LIMITS[0] <= value <= BPM_LIMITS[1]:
            return value
    return None


def caption_key(caption: str) -> KeyScale | None:
    """A key written out, such as `in D minor` or `F# dorian`; `a minor key` is none."""
    match = _KEY_TEXT.search(caption)
    if not match:
        return None
    accidental = (match.group(2) or "").strip(" -").lower()
    sign = {"sharp": "#", "flat": "b"}.get(accidental, accidental)
    return parse_keyscale(f"{match.group(1).upper()}{sign} {match.group(3).lower()}")
