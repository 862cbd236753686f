"""Chords in rhythm: blocks, strums, arpeggios, stabs and pads by pattern, with voice leading.

Pattern marks: x chord, X accented chord, o soft chord, u upper notes (an upstroke), b lowest note an octave down,
p power chord, 0..7 single notes of the voicing going up, - sustain. Standard library only.
"""

from __future__ import annotations

import random

from acestep_like.music.composer.context import Context, SectionContext, runs
from acestep_like.music.composer.ensembles import Part
from acestep_like.music.composer.patterns import pattern_for
from acestep_like.music.composer.voicing import lead_voices
from acestep_like.music.score import Note
from acestep_like.music.song_plan import ChordSpan
from acestep_like.music.theory import CHORD_QUALITIES

_STRESS = {"X": 12, "x": 0, "o": -18, "u": -10, "b": 4, "p": 4}


class Voicer:
    """Remembers the last voicing of one part, so that the next chord moves little."""

    def __init__(self, low: int, size: int) -> None:
        self.low, self.size = low, size
        self.previous: list[int] | None = None
        self._span: ChordSpan | None = None

    def voicing(self, span: ChordSpan, shift: int = 0) -> list[int]:
        """The voicing of a span's chord, the same one while the span lasts."""
        if span is not self._span:
            self.previous = lead_voices(span.chord, self.low, self.size, self.previous)
            self._span = span
        return [pitch + shift for pitch in self.previous or []]


def _pitches(mark: str, voicing: list[int], span: ChordSpan, part: Part) -> list[int]:
    if mark.isdigit():
        index = int(mark)
        octave, index = divmod(index, len(voicing))
        return [voicing[index] + 12 * octave]
    if mark == "u":
        return voicing[1:]
    if mark == "b":
        return [part.low - 12 + (span.chord.bass_note - part.low) % 12]
    if mark == "p":
        root = part.low + (span.chord.root - part.low) % 12
        fifth = next((step for step in CHORD_QUALITIES[span.chord.quality] if step in (6, 7, 8)), 7)
        return [root, root + fifth, root + 12]
    return voicing


def _weight(pitch: int, span: ChordSpan) -> int:
    """Velocity by chord tone: the root speaks, sevenths and ninths colour, so that Am7 is not detected as C6."""
    place = span.chord.pitch_classes.index(pitch % 12) if pitch % 12 in span.chord.pitch_classes else 0
    return 8 if place == 0 else -14 if place >= 3 else 0


def comp_part(context: Context, section: SectionContext, part: Part, voicer: Voicer, rng: random.Random) -> list[Note]:
    """One section of a chord part."""
    notes: list[Note] = []
    index = 1 if section.name in ("chorus", "solo") else 0
    shift = 12 if part.lift and section.name in ("chorus",) else 0
    strum = part.strum_ms / 1000 * context.bpm / 60
    for bar in range(section.bars):
        text = pattern_for(part.patterns, context.timesignature, index)
        if section.is_ending(bar):
            text = ("p" if "p" in text else "X") + "-" * (len(text) - 1)
        for step, length, mark in runs(text, section, bar):
            span = section.span_at(bar, step)
            pitches = _pitches(mark, voicer.voicing(span, shift), span, part)
            start, end = section.step_beat(bar, step), section.step_beat(bar, step + length)
            level = part.velocity + _STRESS.get(mark, 0) + (6 if step == 0 else 0) + section.dynamic
            order = pitches[::-1] if mark == "u" else pitches
            for place, pitch in enumerate(order):
                delay = strum * place * (0.8 + 0.4 * rng.random())
                weight = _weight(pitch, span)
                length_beats = (end - start) * part.gate - delay
                notes.append(context.hit(start + delay, pitch, length_beats, level + weight, rng))
    return notes
