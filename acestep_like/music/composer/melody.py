"""Melodies from motifs: a two-bar idea that returns, moves with the chords and ends on them.

A motif is rhythm and contour; it is written into a section as A, A moved, A, B (cadence), so the same kind of section
brings the same material, and a later occurrence brings it varied. Standard library only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from acestep_like.music.composer.context import Context, SectionContext
from acestep_like.music.composer.patterns import STEPS_PER_BEAT
from acestep_like.music.composer.voicing import nearest_in, playable_classes
from acestep_like.music.score import Note
from acestep_like.music.streams import Stream

# Lengths in sixteenths within a beat, from quiet to busy; negative numbers are rests.
_CELLS = {
    4: ((4,), (4,), (2, 2), (-2, 2), (3, 1), (2, 1, 1), (1, 1, 2), (1, 2, 1), (1, 1, 1, 1)),
    6: ((6,), (6,), (4, 2), (-2, 2, 2), (4, 2), (2, 2, 2), (2, 4), (2, 2, 1, 1), (1, 1, 1, 1, 1, 1)),
}


@dataclass(frozen=True)
class Motif:
    """Notes of two bars as (step, length in steps, scale steps above the anchor)."""

    notes: tuple[tuple[int, int, int], ...]


def make_motif(rng: random.Random, context: Context, density: float, bars: int = 2) -> Motif:
    """A motif whose density (0..1) is the share of the busiest rhythm."""
    per_beat = STEPS_PER_BEAT[context.timesignature]
    cells = _CELLS[per_beat]
    widest = max(2, round((len(cells) - 1) * min(density * 1.25, 1)))
    notes: list[tuple[int, int, int]] = []
    height = rng.choice((0, 2, 4))
    beats = bars * context.beats_per_bar
    beat = 0
    while beat < beats:
        start = beat * per_beat
        if rng.random() < 0.26 * (1.2 - density) and beat:
            beat += 1
            continue
        if rng.random() < 0.45 * (1 - density) and beat + 1 < beats:
            notes.append((start, 2 * per_beat, height))
            height = _step(rng, height)
            beat += 2
            continue
        step = start
        for length in cells[min(int(rng.random() ** 0.8 * widest), len(cells) - 1)]:
            if length > 0:
                notes.append((step, length, height))
                height = _step(rng, height)
            step += abs(length)
        beat += 1
    if len(notes) < 2:
        notes = [(0, per_beat, 0), (per_beat, per_beat, 2)]
    return Motif(tuple(notes))


def _step(rng: random.Random, height: int) -> int:
    """The next height: mostly by step, now and then a leap, drawn back towards the middle."""
    move = rng.choice((-2, -1, -1, -1, 1, 1, 1, 2, 2, -3, 4))
    if height > 6:
        move = -abs(move)
    elif height < -3:
        move = abs(move)
    return height + move


def vary(motif: Motif, rng: random.Random) -> Motif:
    """The motif with one note moved and perhaps one split in two."""
    notes = list(motif.notes)
    place = rng.randrange(len(notes))
    step, length, height = notes[place]
    notes[place] = (step, length, height + rng.choice((-1, 1)))
    longest = max(range(len(notes)), key=lambda k: notes[k][1])
    step, length, height = notes[longest]
    if length >= 4 and rng.random() < 0.6:
        notes[longest : longest + 1] = [
            (step, length // 2, height),
            (step + length // 2, length - length // 2, height + 1),
        ]
    return Motif(tuple(notes))


_DENSITY = {"verse": 0.85, "chorus": 1.15, "solo": 1.5, "bridge": 0.7, "intro": 0.6, "outro": 0.5}


def section_motif(context: Context, section: SectionContext, stream: Stream) -> Motif:
    """The motif of a section: one for each kind, varied when it returns."""
    density = min(context.ensemble.density * _DENSITY[section.name], 1.0)
    motif = make_motif(stream(f"motif {section.name}"), context, density)
    same = context.choruses_return and section.name == "chorus"
    return vary(motif, stream(f"vary {section.name} {section.variant}")) if section.variant and not same else motif


def cadence(motif: Motif, context: Context) -> Motif:
    """The motif's first bar, then one long note: the end of a phrase."""
    steps = context.steps_per_bar
    head = tuple(note for note in motif.notes if note[0] < steps)
    return Motif((*head, (steps, max(steps // 2, 4), 0)))


def melody_part(
    context: Context,
    section: SectionContext,
    motif: Motif,
    *,
    centre: int,
    gate: float,
    velocity: int,
    rng: random.Random,
    answer: bool = False,
) -> list[Note]:
    """Write a motif into a section.

    Args:
        centre: MIDI pitch the line moves around.
        gate: sounding share of each note.
        answer: play only in the second half of each four bars (a counter-line).
    """
    notes: list[Note] = []
    per_beat = STEPS_PER_BEAT[context.timesignature]
    previous = centre
    for first in range(0, section.bars, 2):
        phrase = (first // 2) % 4
        if answer and phrase % 2 == 0 and section.bars > 2:
            continue
        shape = cadence(motif, context) if first + 2 >= section.bars and section.bars > 2 else motif
        move = (0, 1, 0, -1)[phrase]
        for step, length, height in shape.notes:
            bar, place = first + step // context.steps_per_bar, step % context.steps_per_bar
            if bar >= section.bars:
                continue
            if section.is_ending(bar):
                if place == 0:
                    tone = nearest_in(previous, section.chord_at(bar, 0).pitch_classes[:3])
                    notes.append(context.hit(section.bar_beat(bar), tone, context.beats_per_bar * 0.7, velocity, rng))
                continue
            chord = section.chord_at(bar, place)
            strong = place % per_beat == 0 and (length >= per_beat or place == 0)
            classes = chord.pitch_classes if strong or length > per_beat else playable_classes(chord, context.key)
            target = centre + (height + move) * 12 / 7
            pitch = nearest_in(target, classes)
            if pitch == previous and not strong:
                pitch = nearest_in(target + 1.5, classes)
            length = min(length, context.steps_per_bar * (section.bars - bar) - place)
            start, end = section.step_beat(bar, place), section.step_beat(bar, place + length)
            level = velocity + (6 if strong else 0) + min(max(height, -3), 6) + section.dynamic // 2
            notes.append(context.hit(start, pitch, (end - start) * gate, level, rng))
            previous = pitch
    return notes
