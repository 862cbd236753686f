"""What sounds, note by note: the tracks of a composed song. Standard library only.

Times are in beats of the song's time signature (a dotted quarter in 6/8); pitches are MIDI numbers; programs are
General MIDI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from acestep_like.music.song_plan import SongPlan


class Note(NamedTuple):
    """One note. `start_beat` is the sounding start: swing and human timing are already in it."""

    start_beat: float
    beats: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Track:
    """One instrument of a song.

    Attributes:
        name: readable name, e.g. `electric piano`.
        track_class: one of `TRACK_NAMES`; tracks of one class make one stem.
        role: what it does: drums, percussion, bass, chords, pad, arp, lead, counter, vocals, backing_vocals, fx.
        bank, program: soundfont preset.
        pan: -1 (left) to 1 (right).
        level_db: offset from the usual level of the role.
        reverb_send: 0 (dry) to about 1.
    """

    name: str
    track_class: str
    role: str
    bank: int
    program: int
    notes: tuple[Note, ...]
    pan: float = 0.0
    level_db: float = 0.0
    reverb_send: float = 0.2


@dataclass(frozen=True)
class Score:
    """A song note by note: `plan.chords` and `plan.sections` are exactly what is played.

    Attributes:
        style: one of `STYLES`.
        swing: how far the middle of a beat comes late, in beats; already in the notes.
    """

    plan: SongPlan
    style: str
    tracks: tuple[Track, ...]
    swing: float = 0.0
