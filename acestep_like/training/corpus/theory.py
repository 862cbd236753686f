"""From progression text to chords, and from chords to voicings that move little. Standard library only.

A progression is text: one word a bar, chords within a bar joined by `,`; each chord is a scale degree 1..7, with `b`
or `#` before it when borrowed and `:quality` after it when the quality is not the mode's own (`2:7` is a secondary
dominant in major).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from acestep_like.music.theory import CHORD_QUALITIES, MODES, Chord, KeyScale

_TRIADS = {(4, 7): "", (3, 7): "m", (3, 6): "dim", (4, 8): "aug"}
_SEVENTHS = {
    (4, 7, 11): "maj7",
    (4, 7, 10): "7",
    (3, 7, 10): "m7",
    (3, 6, 10): "m7b5",
    (3, 6, 9): "dim7",
    (3, 7, 11): "m",
    (4, 8, 11): "aug",
}
_NINTHS = {"maj7": "maj9", "m7": "m9", "7": "9"}
_SIMPLE = {"maj7": "", "7": "", "m7": "m", "m7b5": "dim", "dim7": "dim", "maj9": "", "m9": "m", "9": ""}


def diatonic_quality(mode: str, degree: int, colour: str) -> str:
    """Quality of the chord on a degree (0..6) of a mode.

    Args:
        colour: `triad`, `seventh`, `ninth` (where the ninth is a whole tone) or `power`.
    """
    if colour == "power":
        return "5"
    steps = MODES[mode]
    above = [(steps[(degree + k) % 7] - steps[degree]) % 12 for k in (2, 4, 6)]
    if colour == "triad":
        return _TRIADS.get((above[0], above[1]), "")
    quality = _SEVENTHS.get((above[0], above[1], above[2]), "")
    ninth = (steps[(degree + 1) % 7] - steps[degree]) % 12
    if colour == "ninth" and ninth == 2:
        return _NINTHS.get(quality, quality)
    return quality


def parse_degree(text: str, key: KeyScale, colour: str) -> Chord:
    """One chord of a progression, e.g. `6`, `b7`, `2:7`, in a key."""
    symbol, _, quality = text.partition(":")
    shift = symbol.count("#") - symbol.count("b")
    degree = int(symbol.strip("#b")) - 1
    root = (key.tonic + MODES[key.mode][degree] + shift) % 12
    if quality == "M":
        quality = ""
    elif not quality:
        # a borrowed root has no quality in the mode: it is taken as major, as in rock and film music
        quality = diatonic_quality(key.mode, degree, colour) if not shift else ("5" if colour == "power" else "")
    elif colour == "triad" and quality not in ("7", "sus4", "sus2"):
        quality = _SIMPLE.get(quality, quality)
    return Chord(root, quality)


def parse_progression(text: str, key: KeyScale, colour: str) -> list[list[Chord]]:
    """A progression as chords by bar."""
    return [[parse_degree(symbol, key, colour) for symbol in bar.split(",")] for bar in text.split()]


def voicings(chord: Chord, low: int, size: int) -> list[list[int]]:
    """Close positions of a chord with up to `size` notes, lowest note within an octave above `low`."""
    tones = list(chord.pitch_classes)
    if len(tones) > size and len(tones) > 3:
        tones.pop(2)  # the fifth says least
    tones = tones[:size]
    found = []
    for lowest in tones:
        bottom = low + (lowest - low) % 12
        found.append(sorted(bottom + (tone - lowest) % 12 for tone in tones))
    return found


def lead_voices(chord: Chord, low: int, size: int, previous: Sequence[int] | None) -> list[int]:
    """The voicing that moves least from the previous one and stays near its register."""

    def cost(voicing: list[int]) -> float:
        drift = abs(sum(voicing) / len(voicing) - (low + 8))
        crowding = sum(1.5 for a, b in pairwise(voicing) if b - a == 1 and a < 55)
        if not previous:
            return drift + crowding
        move = sum(min(abs(note - other) for other in previous) for note in voicing) / len(voicing)
        return move + 0.35 * drift + crowding

    return min(voicings(chord, low, size), key=cost)


def nearest_in(pitch: float, classes: Sequence[int]) -> int:
    """The MIDI pitch nearest to `pitch` whose pitch class is in `classes` (the lower one of two equally near)."""
    return min(
        (round(pitch) + shift for shift in range(-6, 7) if (round(pitch) + shift) % 12 in classes),
        key=lambda note: (abs(note - pitch), note),
    )


def playable_classes(chord: Chord, key: KeyScale) -> list[int]:
    """Pitch classes a melody may use over a chord: the scale, bent to the chord where the chord leaves it."""
    tones = set(chord.pitch_classes)
    foreign = tones - set(key.pitch_classes)
    bent = [pc for pc in key.pitch_classes if not any((pc - tone) % 12 in (1, 11) for tone in foreign)]
    return sorted(set(bent) | tones)


def simplify(quality: str) -> str:
    """The triad under a quality, for power or pad layers."""
    return _SIMPLE.get(quality, quality) if quality in CHORD_QUALITIES else quality
