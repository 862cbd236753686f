"""From the text that the 5 Hz LM wrote back to metadata, lyrics and codes.

Line by line, as upstream reads it, so that one broken field never hides the others. What is not legal is left out
and said in a note.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import yaml

from acestep_like.models.lm.requests import Metadata
from acestep_like.music.theory import LANGUAGES, TIME_SIGNATURES

FIELDS = ("bpm", "caption", "duration", "genres", "keyscale", "language", "timesignature")
BPM_RANGE, DURATION_RANGE_S = (30, 300), (10, 600)

_FIELD = re.compile(r"^([A-Za-z_]+):(.*)$")
_KEYSCALE = re.compile(r"^[A-G][#b♯♭]? (?:major|minor)$")
_BLANKS = " \t"
"""What YAML drops at the ends of lines; other white space is text."""
_LYRICS_HEADER = re.compile(r"^#\s*Lyri(?:c|cs)?\s*\n", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What an answer holds: legal metadata in the order written, the text after the thought, and notes."""

    metadata: Metadata
    lyrics: str = ""
    notes: tuple[str, ...] = ()


def parse_answer(text: str, given: Collection[str] = ()) -> Answer:
    """Read `<think>` metadata `</think>` and the lyrics after it.

    Without tags the thought ends at the first code, or at the end of the text. Fields in `given` are the caller's own,
    which the model only repeats: they are neither read nor judged.
    """
    head, closed, tail = text.partition("</think>")
    thought = head.split("<think>", 1)[-1]
    if not closed:
        thought = thought.split("<|audio_code_", 1)[0]
    decided = {name: value for name, value in raw_fields(thought).items() if name not in given}
    metadata, notes = legal_metadata(decided)
    return Answer(metadata, parse_lyrics(tail), notes)


def parse_lyrics(tail: str) -> str:
    """The free text after the thought, without its heading and the end of the turn."""
    text = tail.replace("<|im_end|>", "").strip()
    return _LYRICS_HEADER.sub("", text + "\n").strip()


def raw_fields(thought: str) -> dict[str, str]:
    """`name: value` lines; indented and blank lines continue the value before them."""
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in thought.strip("\n").split("\n"):
        match = _FIELD.match(line)
        if match:
            current = blocks.setdefault(match.group(1).lower(), [])
            current.clear()
            current.append(match.group(2).strip(_BLANKS))
        elif current is not None and not line.startswith("<") and (line[:1] in (" ", "\t", "") or not line.strip()):
            current.append(line.strip(_BLANKS))
    return {name: _scalar(lines) for name, lines in blocks.items()}


def _scalar(lines: list[str]) -> str:
    """A YAML scalar over several lines; an unquoted one is its lines joined by single blanks."""
    if lines[0][:1] in ("'", '"'):
        try:
            value = yaml.safe_load("\n  ".join(lines))
        except yaml.YAMLError:
            value = None
        if isinstance(value, str):
            return value
    return " ".join(line for line in lines if line)


def legal_metadata(raw: Mapping[str, str]) -> tuple[Metadata, tuple[str, ...]]:
    """The fields that are legal, typed, and a note for each that is not."""
    metadata: Metadata = {}
    notes = []
    for name, text in raw.items():
        if name not in FIELDS:
            continue
        value, accepted = _legal(name, text)
        if value is None:
            notes.append(f"The language model's {name} {text[:60]!r} is not {accepted}; it was left out.")
        else:
            metadata[name] = value
    return metadata, tuple(notes)


def _legal(name: str, text: str) -> tuple[int | str | None, str]:
    """The typed value, or None, and what is accepted."""
    if name in ("bpm", "duration"):
        low, high = BPM_RANGE if name == "bpm" else DURATION_RANGE_S
        number = re.match(r"^(\d{1,4})(?:\.\d+)?$", text)
        return (int(number.group(1)) if number and low <= int(number.group(1)) <= high else None), f"{low} to {high}"
    if name == "timesignature":
        meter = text.split("/")[0].strip()
        return (meter if meter in TIME_SIGNATURES else None), "one of 2, 3, 4, 6"
    if name == "keyscale":
        return (text if _KEYSCALE.match(text) else None), "a key such as 'C major'"
    if name == "language":
        return (text if text in LANGUAGES else None), "a known language code"
    return (text or None), "a text"
