"""Drum kit and percussion parts: patterns by section, fills, ghost notes. Standard library only."""

from __future__ import annotations

import random

from acestep_like.music.composer.context import Context, SectionContext
from acestep_like.music.composer.patterns import DRUMS, PERCUSSION, STEPS_PER_BAR, clean, fit, pattern_for
from acestep_like.music.score import Note

_KEYS = {"kick": 36, "snare": 38, "clap": 39, "rim": 37, "hat": 42, "open": 46, "pedal": 44, "ride": 51, "crash": 49}
_LEVEL = {"kick": 104, "snare": 98, "clap": 92, "rim": 82, "hat": 70, "open": 72, "pedal": 64, "ride": 72, "crash": 92}
_STRESS = {"X": 1.16, "x": 1.0, "o": 0.55}
_TOMS = (50, 48, 47, 45, 43, 41)

PERCUSSION_KEYS = {
    "shaker": {"x": 82, "o": 82},
    "tambourine": {"x": 54, "X": 54, "o": 54},
    "conga": {"l": 64, "m": 63, "h": 62, "o": 62},
    "bongo": {"h": 60, "m": 61, "o": 60},
    "cowbell": {"x": 56},
    "clave": {"x": 75},
    "triangle": {"x": 81, "o": 80},
    "woodblock": {"x": 76},
    "claps": {"x": 39},
    "timpani": {},
    "taiko": {},
}


def _layer(section: SectionContext, bar: int) -> tuple[int, set[str] | None]:
    """Which pattern a bar takes and which voices of it sound (None: all)."""
    if section.name == "intro":
        return 0, {"hat", "ride", "kick"} if bar >= section.bars // 2 else {"hat", "ride", "pedal"}
    if section.name == "outro":
        return 0, None if bar < section.bars // 2 else {"kick", "hat", "rim", "ride"}
    if section.name == "bridge":
        return 0, {"kick", "rim", "ride", "pedal", "clap"} if section.variant % 2 == 0 else {"hat", "snare", "rim"}
    return (1, None) if section.name in ("chorus", "solo") else (0, None)


def drum_part(context: Context, section: SectionContext, feel: str, rng: random.Random) -> list[Note]:
    """One section of the kit: pattern, crash on its first beat, fill in its last bar."""
    table = DRUMS[feel]
    rows = table.get(context.timesignature) or tuple(
        {voice: fit(text, context.timesignature) for voice, text in row.items()} for row in table["4"]
    )
    steps = STEPS_PER_BAR[context.timesignature]
    notes: list[Note] = []
    for bar in range(section.bars):
        if section.is_ending(bar):
            last = (36, 49) if context.ensemble.crash else (36, 51)
            notes += [context.hit(section.bar_beat(bar), key, 1.5, 92, rng) for key in last]
            break
        index, voices = _layer(section, bar)
        row = rows[min(index, len(rows) - 1)]
        fill = bar == section.bars - 1 and section.name not in ("intro", "outro") and rng.random() < 0.85
        fill_from = steps - (steps // 2 if rng.random() < 0.35 else steps // 4) if fill else steps
        for voice, text in row.items():
            if voices is not None and voice not in voices:
                continue
            for step, mark in enumerate(clean(text)[:fill_from]):
                if mark != "." and not (mark == "o" and rng.random() < 0.15):
                    level = _LEVEL[voice] * _STRESS[mark] * (1 if step else 1.05) + section.dynamic
                    notes.append(context.hit(section.step_beat(bar, step), _KEYS[voice], 0.2, level, rng))
        if fill:
            notes += _fill(context, section, bar, fill_from, steps, rng)
        if bar == 0 and section.name in ("chorus", "solo", "verse") and section.start_bar and context.ensemble.crash:
            notes.append(context.hit(section.bar_beat(0), 49, 1.0, 92, rng))
    return notes


def _fill(
    context: Context, section: SectionContext, bar: int, first: int, steps: int, rng: random.Random
) -> list[Note]:
    """Toms and snare from `first` to the end of the bar, falling in pitch and rising in force."""
    notes = []
    soft = context.ensemble.gentle
    for position, step in enumerate(range(first, steps)):
        if rng.random() < (0.45 if soft else 0.22):
            continue
        progress = position / max(steps - first - 1, 1)
        key = 38 if rng.random() < 0.35 else _TOMS[min(int(progress * len(_TOMS)), len(_TOMS) - 1)]
        level = (58 if soft else 80) + 26 * progress
        notes.append(context.hit(section.step_beat(bar, step), key, 0.2, level, rng))
    return notes


def percussion_part(context: Context, section: SectionContext, kind: str, rng: random.Random) -> list[Note]:
    """One section of hand percussion, timpani or taiko (the last two follow the bass note)."""
    notes: list[Note] = []
    index = 1 if section.name in ("chorus", "solo") else 0
    text = pattern_for(PERCUSSION[kind], context.timesignature, index)
    keys = PERCUSSION_KEYS[kind]
    for bar in range(section.bars):
        if section.is_ending(bar):
            text = text[0] + "." * (len(text) - 1)
        for step, mark in enumerate(text):
            if mark == ".":
                continue
            beat = section.step_beat(bar, step)
            level = (62 if mark == "o" else 96 if mark == "X" else 84) + section.dynamic
            if kind == "timpani":
                root = section.chord_at(bar, step).bass_note
                notes.append(context.hit(beat, 33 + (root - 33) % 12, 1.5, level, rng))
            elif kind == "taiko":
                notes.append(context.hit(beat, 43 if mark == "l" else 50, 1.0, level + 8, rng))
            else:
                notes.append(context.hit(beat, keys[mark], 0.3, level, rng))
    return notes
