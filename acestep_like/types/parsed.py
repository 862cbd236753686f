"""What a caller wrote, read once: the fields of `GenerationParams` that are text, as the values they stand for.

Nothing below reads these fields as text again.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep_like.music.chart import Bars
from acestep_like.music.score import Score
from acestep_like.music.theory import KeyScale

Window = tuple[float, float]
"""Start and end in seconds; an end of -1 is the end of the source."""


@dataclass(frozen=True)
class ParsedParams:
    """The fields of `GenerationParams` that are written as text or have several forms.

    Attributes:
        codes: the audio codes; empty where none are given.
        keyscale: None where none is given.
        timesignature: "2", "3", "4" or "6"; "" where none is given.
        chart: bars by section name; None where no chords are given.
        windows: of `repainting_start` and `repainting_end`, at least one.
        timesteps: the caller's own schedule, or None.
        tracks: that the instruction asks for.
        instruction: the sentence for the DiT, built from the task where it was left at its default.
        score: what the song plays; None where none is given.
    """

    codes: tuple[int, ...]
    keyscale: KeyScale | None
    timesignature: str
    chart: dict[str, Bars] | None
    windows: tuple[Window, ...]
    timesteps: tuple[float, ...] | None
    tracks: tuple[str, ...]
    instruction: str
    score: Score | None = None
