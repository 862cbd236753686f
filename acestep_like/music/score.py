"""What sounds, note by note: the tracks of a composed song. Standard library only.

Times are in beats of the song's time signature (a dotted quarter in 6/8); pitches are MIDI numbers; programs are
General MIDI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.piano_roll import piano_roll_svg
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
class Syllable:
    """One sung syllable, on a note of the voice.

    Attributes:
        text: as written; the syllables of a word joined are the word.
        word, line: which word and line of the lyrics it belongs to, counted from 0 through the song.
    """

    start_beat: float
    beats: float
    pitch: int
    text: str
    word: int
    line: int


@dataclass(frozen=True)
class Score:
    """A song note by note: `plan.chords` and `plan.sections` are exactly what is played.

    Attributes:
        plan: tempo, meter, key, chords and sections, all known.
        style: one of `STYLES`.
        swing: how far the middle of a beat comes late, in beats; already in the notes.
        syllables: the words of the voice, in order; empty where nobody sings words.
    """

    plan: SongPlan
    style: str
    tracks: tuple[Track, ...]
    swing: float = 0.0
    syllables: tuple[Syllable, ...] = ()

    @property
    def seconds_per_beat(self) -> float:
        """Length of a beat of the time signature."""
        return self.plan.seconds_per_bar() / self.plan.beats_per_bar

    def seconds(self, beat: float) -> float:
        """When a beat sounds, in seconds from the start of the audio."""
        return self.plan.first_bar_s + beat * self.seconds_per_beat

    def _repr_html_(self) -> str:
        return piano_roll_svg(self)

    @property
    def track_classes(self) -> tuple[str, ...]:
        """The track classes that play, in the order of `TRACK_NAMES`."""
        playing = {track.track_class for track in self.tracks}
        return tuple(name for name in TRACK_NAMES if name in playing)
