"""Bass lines: root, fifth, octave and third by pattern, with approach notes into the next chord.

Pattern marks: r root, f fifth, o octave, t third, s seventh (or sixth), a approach to the next root, - sustain.
Standard library only.
"""

from __future__ import annotations

import random

from acestep_like.music.composer.context import Context, SectionContext, runs
from acestep_like.music.composer.ensembles import Part
from acestep_like.music.composer.patterns import pattern_for
from acestep_like.music.score import Note
from acestep_like.music.theory import CHORD_QUALITIES, Chord


def _root(chord: Chord, low: int) -> int:
    return low + (chord.bass_note - low) % 12


def _pitch(mark: str, chord: Chord, following: Chord, low: int, previous: int, rng: random.Random) -> int:
    root = _root(chord, low)
    steps = CHORD_QUALITIES[chord.quality]
    if mark == "f":
        fifth = next((step for step in steps if step in (6, 7, 8)), 7)
        return root + fifth if root + fifth <= low + 15 else root + fifth - 12
    if mark == "o":
        return root + 12
    if mark == "t":
        return root + next((step for step in steps if step in (3, 4)), 7)
    if mark == "s":
        return root + next((step for step in steps if step in (9, 10, 11)), 7) - (12 if root > low + 6 else 0)
    if mark == "a":
        target = _root(following, low)
        if abs(target - previous) <= 1:
            return root + 7 if root + 7 <= low + 15 else root - 5
        return target + (-1 if target > previous else 1) * rng.choice((1, 1, 2))
    return root


def bass_part(context: Context, section: SectionContext, part: Part, rng: random.Random) -> list[Note]:
    """One section of the bass."""
    notes: list[Note] = []
    lively = section.name in ("chorus", "solo")
    index = 1 if lively else 0
    low = part.low
    previous = low
    for bar in range(section.bars):
        if section.is_ending(bar):
            root = _root(section.chord_at(bar, 0), low)
            notes.append(context.hit(section.bar_beat(bar), root, context.beats_per_bar * 0.8, 88, rng))
            break
        text = pattern_for(part.patterns, context.timesignature, index)
        for step, length, mark in runs(text, section, bar):
            chord = section.chord_at(bar, step)
            shown = "r" if section.changes_at(bar, step) else mark
            last_of_chord = section.chord_at(bar, min(step + length, len(text) - 1)) != chord or step + length >= len(
                text
            )
            if shown == "a" and not last_of_chord:
                shown = "f"
            following = section.next_chord(bar, step)
            pitch = _pitch(shown, chord, following, low, previous, rng)
            start, end = section.step_beat(bar, step), section.step_beat(bar, step + length)
            accent = 10 if step == 0 else 0
            notes.append(
                context.hit(start, pitch, (end - start) * part.gate, part.velocity + accent + section.dynamic, rng)
            )
            previous = pitch
    return notes
