"""Musical values: keys, time signatures, chords, section tags, languages. Standard library only.

Pitch classes are integers 0..11 with C = 0. Times in beats are counted in the beat of the time signature
(a quarter note in 2/4, 3/4 and 4/4; a dotted quarter in 6/8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from acestep_like.errors import InputError

PITCH_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")


LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
"""Scale degrees in semitones above the tonic."""


# ACE-Step knows two modes; the others are named by the one that shares their third.
ACE_MODE = {mode: ("minor" if 3 in steps else "major") for mode, steps in MODES.items()}


CHORD_QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "9": (0, 4, 7, 10, 2),
    "maj9": (0, 4, 7, 11, 2),
    "m9": (0, 3, 7, 10, 2),
    "add9": (0, 4, 7, 2),
}
"""Chord tones in semitones above the root, by suffix."""


_QUALITY_ALIASES = {
    "maj": "",
    "M": "",
    "min": "m",
    "-": "m",
    "°": "dim",
    "o": "dim",
    "+": "aug",
    "sus": "sus4",
    "M7": "maj7",
    "Δ": "maj7",
    "Δ7": "maj7",
    "min7": "m7",
    "-7": "m7",
    "ø": "m7b5",
    "ø7": "m7b5",
    "M9": "maj9",
    "min9": "m9",
    "2": "sus2",
    "4": "sus4",
    "min6": "m6",
    "°7": "dim7",
}


BEATS_PER_BAR = {"2": 2, "3": 3, "4": 4, "6": 2}
"""Beats in a bar by time signature; 6/8 is felt in two dotted quarters."""


SUBDIVISIONS = {"2": 2, "3": 2, "4": 2, "6": 3}
"""Eighth notes in a beat by time signature."""


TIME_SIGNATURES = ("2", "3", "4", "6")


LANGUAGES = tuple(
    "ar az bg bn ca cs da de el en es fa fi fr he hi hr ht hu id is it ja ko la lt ms ne nl no pa pl pt ro ru sa sk sr"
    " sv sw ta te th tl tr uk ur vi yue zh unknown".split()
)


@dataclass(frozen=True)
class KeyScale:
    """A tonic (pitch class 0..11) and a mode of `MODES`."""

    tonic: int
    mode: str
    flats: bool = False

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The scale as pitch classes, tonic first."""
        return tuple((self.tonic + step) % 12 for step in MODES[self.mode])

    @property
    def name(self) -> str:
        """The name with its own mode, e.g. `D dorian`."""
        return f"{(FLAT_NAMES if self.flats else PITCH_NAMES)[self.tonic]} {self.mode}"

    @property
    def ace_name(self) -> str:
        """The name in ACE-Step's vocabulary (major or minor), e.g. `D minor` for D dorian."""
        return f"{(FLAT_NAMES if self.flats else PITCH_NAMES)[self.tonic]} {ACE_MODE[self.mode]}"


@dataclass(frozen=True)
class Chord:
    """A root (pitch class), a quality of `CHORD_QUALITIES` and an optional bass pitch class."""

    root: int
    quality: str = ""
    bass: int | None = None

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Chord tones as pitch classes, root first."""
        return tuple((self.root + step) % 12 for step in CHORD_QUALITIES[self.quality])

    @property
    def bass_note(self) -> int:
        """The lowest pitch class: the slash bass, else the root."""
        return self.root if self.bass is None else self.bass

    @property
    def name(self) -> str:
        slash = "" if self.bass is None else f"/{PITCH_NAMES[self.bass]}"
        return f"{PITCH_NAMES[self.root]}{self.quality}{slash}"


def _pitch(letter: str, accidental: str) -> int:
    return (LETTERS[letter.upper()] + {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[accidental]) % 12


_KEY = re.compile(r"([A-Ga-g]) ?([#b♯♭]?) ?[-_]? ?([A-Za-z ]*)")  # of a text whose blanks are single


_ACCIDENTAL_WORD = re.compile(r"(?<=^[A-Ga-g])[ -](sharp|flat)\b", re.IGNORECASE)


_KEY_MODES = {
    "": "major",
    "maj": "major",
    "major": "major",
    "m": "minor",
    "min": "minor",
    "minor": "minor",
    "aeolian": "minor",
    "ionian": "major",
    "natural minor": "minor",
    "dorian": "dorian",
    "phrygian": "phrygian",
    "lydian": "lydian",
    "mixolydian": "mixolydian",
    "harmonic minor": "harmonic minor",
}


def parse_keyscale(text: str) -> KeyScale:
    """Read a key such as `C Major`, `Am`, `F# minor`, `B♭ major`, `E flat minor` or `D dorian`.

    Raises:
        InputError: the text names no key.
    """
    single_blanks = " ".join(text.split())
    signed = _ACCIDENTAL_WORD.sub(lambda word: "#" if word.group(1).lower() == "sharp" else "b", single_blanks)
    match = _KEY.fullmatch(signed)
    if match:
        letter, accidental, mode_text = match.groups()
        words = mode_text.lower().strip()
        if words in _KEY_MODES and mode_text.strip() != "M":
            return KeyScale(_pitch(letter, accidental), _KEY_MODES[words], accidental in ("b", "♭"))
    raise InputError("keyscale", text, "a key such as 'C major', 'Am', 'F# minor' or 'Bb major', or '' for automatic")


def parse_timesignature(text: str | int) -> str:
    """Read `4`, `4/4`, `3/4`, `6/8`, ... and answer `2`, `3`, `4` or `6`.

    Raises:
        InputError: any other time signature.
    """
    known = {"2": "2", "3": "3", "4": "4", "6": "6", "2/4": "2", "3/4": "3", "4/4": "4", "6/8": "6"}
    value = text.strip().replace(" ", "") if isinstance(text, str) else ""
    if isinstance(text, Integral) and not isinstance(text, bool) and 0 < text < 10:
        value = str(int(text))
    if value not in known:
        raise InputError("timesignature", text, "2 (2/4), 3 (3/4), 4 (4/4) or 6 (6/8), or '' for automatic")
    return known[value]


_CHORD = re.compile(r"^([A-G])([#b♯♭]?)([^/\s]*)(?:/([A-G])([#b♯♭]?))?$")


def parse_chord(text: str) -> Chord:
    """Read one chord symbol such as `Am7`, `F#dim`, `Bb/D`.

    Raises:
        InputError: the text is no chord symbol this module knows.
    """
    match = _CHORD.match(text.strip())
    if match:
        letter, accidental, suffix, bass, bass_accidental = match.groups()
        quality = _QUALITY_ALIASES.get(suffix, suffix)
        if quality in CHORD_QUALITIES:
            return Chord(
                _pitch(letter, accidental), quality, _pitch(bass, bass_accidental or "") if bass is not None else None
            )
    suffixes = ", ".join(name or "(major)" for name in CHORD_QUALITIES)
    raise InputError("chords", text, f"chord symbols such as 'Am', 'F', 'G7' or 'Bb/D'; known suffixes: {suffixes}")


def degree_of(chord: Chord, scale: Sequence[int]) -> int | None:
    """Scale degree (0 = tonic) of the chord's root in a scale given as pitch classes, or None when outside."""
    return list(scale).index(chord.root) if chord.root in scale else None


def ace_key(text: str) -> str:
    """A key as the prompts of the models write it; empty where none is given."""
    return parse_keyscale(text).ace_name if text.strip() else ""


def ace_meter(text: str) -> str:
    """A time signature as the prompts of the models write it; empty where none is given."""
    return parse_timesignature(text) if text.strip() else ""
