"""Key and chords for notes that came without them, such as a hummed melody. Standard library only.

Key: correlation of the notes' durations by pitch class with the profiles of Krumhansl and Kessler (1982). Chords: for
each bar the triad of the key that the notes fit best, low notes counting more as its root.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import correlation

from acestep_like.music.composer.harmony import diatonic_quality
from acestep_like.music.score import Note
from acestep_like.music.song_plan import ChordSpan
from acestep_like.music.theory import ACE_MODE, MODES, Chord, KeyScale

_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
_USUAL = {"major": {0: 0.25, 3: 0.12, 4: 0.15, 5: 0.08}, "minor": {0: 0.25, 3: 0.1, 5: 0.12, 6: 0.12, 2: 0.05}}
"""How much more often than others the triad of a degree is played."""

_DIMINISHED = -0.6

_BASS_BELOW = 52


def key_of_notes(notes: Sequence[Note]) -> KeyScale:
    """The major or minor key of notes; C major where there are none."""
    weights = [0.0] * 12
    for note in notes:
        weights[note.pitch % 12] += min(note.beats, 4.0)
    if max(weights) == min(weights):
        return KeyScale(0, "major")
    keys = [KeyScale(tonic, mode) for mode in ("major", "minor") for tonic in range(12)]

    def fit(key: KeyScale) -> float:
        return correlation([weights[(key.tonic + step) % 12] for step in range(12)], _PROFILES[key.mode])

    return max(keys, key=fit)


def chords_of_notes(notes: Sequence[Note], key: KeyScale, beats_per_bar: int, bars: int) -> tuple[ChordSpan, ...]:
    """One chord a bar that suits the notes; a bar without any keeps the chord before it, and the last is the tonic."""
    triads = [Chord(root, diatonic_quality(key.mode, degree, "triad")) for degree, root in enumerate(key.pitch_classes)]
    usual = [
        _USUAL[ACE_MODE[key.mode]].get(degree, 0.0) + (_DIMINISHED if triad.quality == "dim" else 0.0)
        for degree, triad in enumerate(triads)
    ]
    weights: list[list[float]] = [[0.0] * 12 for _ in range(bars)]
    roots: list[list[float]] = [[0.0] * 12 for _ in range(bars)]
    for note in notes:
        first, last = note.start_beat, note.start_beat + min(note.beats, 8.0 * beats_per_bar)
        for bar in range(max(0, int(first // beats_per_bar)), min(bars, int(last // beats_per_bar) + 1)):
            inside = min(last, (bar + 1) * beats_per_bar) - max(first, bar * beats_per_bar)
            if inside > 0:
                weights[bar][note.pitch % 12] += inside * (1.3 if abs(first - bar * beats_per_bar) < 0.1 else 1.0)
                roots[bar][note.pitch % 12] += inside if note.pitch < _BASS_BELOW else 0.0
    spans: list[ChordSpan] = []
    chord = triads[0]
    for bar in range(bars):
        total = sum(weights[bar])
        if total > 0:
            last_bar = bar == bars - 1

            def fit(degree: int, bar: int = bar, total: float = total, last_bar: bool = last_bar) -> float:
                tones = triads[degree].pitch_classes
                inside = sum(weights[bar][tone] for tone in tones) / total
                low = sum(roots[bar])
                bass = roots[bar][tones[0]] / low if low else 0.0
                return inside + 0.6 * bass + usual[degree] + (0.5 if last_bar and degree == 0 else 0.0)

            chord = triads[max(range(len(MODES[key.mode])), key=fit)]
        spans.append(ChordSpan(float(bar * beats_per_bar), float(beats_per_bar), chord))
    return tuple(spans)
