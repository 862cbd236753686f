"""A song of the corpus: the tracks that were composed, the plan that they follow, and words for the whole.

Nothing here is random: the same `Song` always renders to the same audio. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.score import Track
from acestep_like.music.song_plan import SongPlan


@dataclass(frozen=True)
class Song:
    """A composed song; `plan.chords` and `plan.sections` are exactly what is played."""

    seed: int
    style: str
    plan: SongPlan
    tracks: tuple[Track, ...]
    mood: str
    era: str
    production: str
    has_vocals: bool
    language: str
    swing: float

    @property
    def track_classes(self) -> tuple[str, ...]:
        """The classes that occur, in the order of `TRACK_NAMES`."""
        present = {track.track_class for track in self.tracks}
        return tuple(name for name in TRACK_NAMES if name in present)
