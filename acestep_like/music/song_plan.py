"""The plan of a song in time: tempo, meter, key, chords and sections. Standard library only.

A plan is what the guide of a checkpoint is drawn from (`models/diffusion/guide.py`) and what the training corpus is
composed to. Every part may be absent (`None` or empty) when unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from acestep_like.music.theory import BEATS_PER_BAR, Chord, KeyScale


@dataclass(frozen=True)
class ChordSpan:
    """One chord from `start_beat` for `beats` beats."""

    start_beat: float
    beats: float
    chord: Chord


@dataclass(frozen=True)
class Section:
    """A section of `SECTION_NAMES` from `start_bar` for `bars` bars."""

    name: str
    start_bar: int
    bars: int


@dataclass(frozen=True)
class SongPlan:
    """What is known of a song's structure. The tempo is constant.

    Bar 0 begins at `first_bar_s`: at 0 s, or before it where a recording begins within a bar.
    `tracks` are the track classes (`tasks.TRACK_NAMES`) that a task asks for or a caption names.
    """

    duration_s: float
    bpm: float | None = None
    timesignature: str | None = None
    keyscale: KeyScale | None = None
    chords: tuple[ChordSpan, ...] = field(default=())
    sections: tuple[Section, ...] = field(default=())
    tracks: tuple[str, ...] = field(default=())
    first_bar_s: float = 0.0

    @property
    def beats_per_bar(self) -> int:
        """Beats in a bar; 4 when the time signature is unknown."""
        return BEATS_PER_BAR[self.timesignature or "4"]

    def seconds_per_bar(self) -> float:
        """Length of a bar in seconds; the tempo must be known."""
        if self.bpm is None:
            raise ValueError("the plan has no tempo")
        return 60.0 / self.bpm * self.beats_per_bar

    @property
    def bars(self) -> float:
        """Length in bars (fractional); the tempo must be known."""
        return self.duration_s / self.seconds_per_bar()
