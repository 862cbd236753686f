"""From chords to voicings that move little, and to the pitches that a melody may use. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from acestep_like.music.theory import Chord, KeyScale


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
