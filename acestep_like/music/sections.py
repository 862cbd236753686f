"""Sections."""

from __future__ import annotations

import re

SECTION_NAMES = ("intro", "verse", "chorus", "bridge", "solo", "outro")
"""The kinds of section a song plan knows, in the order of the guide's channels."""


# Words in tags by what they name. The first row that is found counts: an "instrumental intro" is an intro, a
# "pre-chorus" no chorus, and an "instrumental break" is played, while a bare "break" leads over.
_SECTION_WORDS = (
    ("verse", "pre chorus", "prechorus"),
    ("chorus", "post chorus", "chorus"),
    ("intro", "intro", "introduction", "opening", "prelude"),
    ("outro", "outro", "ending", "coda", "fade out", "finale", "end"),
    ("bridge", "bridge", "middle eight", "middle 8"),
    ("verse", "verse", "strophe"),
    ("solo", "solo", "instrumental", "inst", "interlude"),
    ("chorus", "hook", "refrain", "drop"),
    ("bridge", "break", "breakdown", "build", "build up", "buildup"),
    ("verse", "theme", "rap"),
)


_TAG = re.compile(
    r"^\s*\[([^\]\n]+)\]\s*$|^\s*(verse|(?:pre-?|post-?)?chorus|bridge|intro|outro|solo|hook|refrain)\s*\d*\s*:\s*$",
    re.IGNORECASE,
)


def is_tag(line: str) -> bool:
    """Whether a line of lyrics is a tag such as `[Verse 1]`, `[whispered]` or `Chorus:`, which nobody sings."""
    return _TAG.match(line) is not None


def section_of(label: str) -> str | None:
    """The kind of section (of `SECTION_NAMES`) that a label such as `Final Chorus x2` or `Guitar Solo - soft` names.

    What stands before a dash, colon, comma or parenthesis counts first. None when it names no section.
    """
    label = label.lower()
    for text in (re.split(r"\s[-–—]\s|[–—:,(|]", label)[0], label):
        words = " ".join(re.findall(r"[^\W_]+", text))
        for name, *phrases in _SECTION_WORDS:
            if any(re.search(rf"\b{phrase}s?\d*\b", words) for phrase in phrases):
                return name
    return None


def section_tags(lyrics: str) -> list[str]:
    """The sections named by tag lines such as `[Verse 1]` or `Chorus:`, in order, as names of `SECTION_NAMES`.

    Tags that name none (`[whispered]`) are directions and change nothing; neither does a sole `[Instrumental]`.
    """
    if lyrics.strip().lower() == "[instrumental]":
        return []
    tags = filter(None, map(_TAG.match, lyrics.splitlines()))
    return [name for tag in tags if (name := section_of(tag.group(1) or tag.group(2))) is not None]
