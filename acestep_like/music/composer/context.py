"""What every part writer needs to know of the song and of the section it writes. Standard library only."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property

from acestep_like.music.composer.ensembles import Ensemble
from acestep_like.music.composer.patterns import STEPS_PER_BAR, STEPS_PER_BEAT
from acestep_like.music.score import Note
from acestep_like.music.song_plan import ChordSpan
from acestep_like.music.theory import BEATS_PER_BAR, Chord, KeyScale

_DYNAMIC = {"intro": -12, "verse": -4, "chorus": 8, "bridge": -10, "solo": 5, "outro": -10}


@dataclass(frozen=True)
class Context:
    """The song as a whole.

    Attributes:
        swing: how far the middle of a beat comes late, in beats.
        choruses_return: every chorus has the melody of the first; else a later one brings it varied.
    """

    ensemble: Ensemble
    bpm: float
    timesignature: str
    key: KeyScale
    swing: float
    choruses_return: bool = False

    @property
    def beats_per_bar(self) -> int:
        return BEATS_PER_BAR[self.timesignature]

    @property
    def steps_per_bar(self) -> int:
        return STEPS_PER_BAR[self.timesignature]

    def hit(self, beat: float, pitch: int, beats: float, velocity: float, rng: random.Random) -> Note:
        """A note with human timing and force: a few milliseconds and MIDI steps of spread, by style."""
        spread_beats = self.ensemble.humanise_ms / 1000 * self.bpm / 60
        start = max(0.0, beat + rng.gauss(0, 1) * spread_beats * 0.5)
        level = velocity + rng.gauss(0, 1) * self.ensemble.humanise_ms * 0.4
        return Note(round(start, 5), round(max(beats, 0.05), 5), int(pitch), int(min(max(level, 18), 124)))


@dataclass(frozen=True)
class SectionContext:
    """One section: where it lies, what its chords are, and which time a section of its kind comes."""

    song: Context
    name: str
    start_bar: int
    bars: int
    variant: int
    chords: tuple[ChordSpan, ...]
    last: bool

    @property
    def dynamic(self) -> int:
        """MIDI velocity added by the kind of section, so that a chorus is louder than a verse."""
        return _DYNAMIC[self.name]

    def is_ending(self, bar: int) -> bool:
        """Whether a bar of this section is the last of the song: one held chord, so that it can ring out."""
        return self.last and bar == self.bars - 1 and self.bars > 1

    def bar_beat(self, bar: int) -> float:
        """First beat of a bar of the section, in beats of the song."""
        return float((self.start_bar + bar) * self.song.beats_per_bar)

    def step_beat(self, bar: int, step: float) -> float:
        """Beat of a sixteenth step, with swing: every second eighth (or sixteenth) comes late."""
        per_beat = STEPS_PER_BEAT[self.song.timesignature]
        beat = step / per_beat
        if self.song.swing and per_beat == 4:
            phase = step % 4
            if self.song.ensemble.swing_sixteenths:
                beat += self.song.swing * 0.5 if phase % 2 == 1 else 0.0
            else:  # bend the time within the beat so that its middle falls late
                middle = 0.5 + self.song.swing
                bent = phase / 2 * middle if phase <= 2 else middle + (phase - 2) / 2 * (1 - middle)
                beat = step // 4 + bent
        return self.bar_beat(bar) + beat

    @cached_property
    def _starts(self) -> list[float]:
        return [span.start_beat for span in self.chords]

    def span_at(self, bar: int, step: float) -> ChordSpan:
        """The chord span that sounds at a step (without swing)."""
        beat = self.bar_beat(bar) + step / STEPS_PER_BEAT[self.song.timesignature] + 1e-6
        return self.chords[max(bisect_right(self._starts, beat) - 1, 0)]

    def chord_at(self, bar: int, step: float) -> Chord:
        """The chord that sounds at a step."""
        return self.span_at(bar, step).chord

    def changes_at(self, bar: int, step: int) -> bool:
        """Whether a chord begins exactly at a step."""
        beat = self.bar_beat(bar) + step / STEPS_PER_BEAT[self.song.timesignature]
        index = bisect_left(self._starts, beat - 1e-6)
        return index < len(self._starts) and self._starts[index] - beat < 1e-6

    def next_chord(self, bar: int, step: int) -> Chord:
        """The chord after the one that sounds at a step (the same one at the end)."""
        beat = self.bar_beat(bar) + step / STEPS_PER_BEAT[self.song.timesignature] + 1e-6
        index = max(bisect_right(self._starts, beat) - 1, 0)
        return self.chords[min(index + 1, len(self.chords) - 1)].chord


def runs(pattern: str, section: SectionContext, bar: int) -> list[tuple[int, int, str]]:
    """Hits of a pattern in a bar as (step, length in steps, mark); `-` sustains, and a chord change strikes again."""
    found: list[tuple[int, int, str]] = []
    step = 0
    while step < len(pattern):
        mark = pattern[step]
        if mark in ".-":
            step += 1
            continue
        start = step
        step += 1
        while step < len(pattern) and pattern[step] == "-" and not section.changes_at(bar, step):
            step += 1
        found.append((start, step - start, mark))
        while step < len(pattern) and pattern[step] == "-":  # the sustained part after a change
            again = step
            step += 1
            while step < len(pattern) and pattern[step] == "-" and not section.changes_at(bar, step):
                step += 1
            found.append((again, step - again, "r" if mark in "rftosa" and mark.isalpha() and mark != "x" else mark))
    return found
