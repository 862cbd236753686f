"""What a composed song is: notes in tracks, and the plan they were composed to. Standard library only.

Times are in beats of the plan's time signature (a dotted quarter in 6/8); pitches are MIDI numbers; programs are
General MIDI. Nothing here is random: the same `Song` always renders to the same audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from acestep_like.music.song_plan import SongPlan

DRUM_BANK = 128
"""The soundfont bank in which each program is a drum kit."""

TRACK_CLASSES = (
    "woodwinds",
    "brass",
    "fx",
    "synth",
    "strings",
    "percussion",
    "keyboard",
    "guitar",
    "bass",
    "drums",
    "backing_vocals",
    "vocals",
)
"""The twelve track classes of ACE-Step, in its order."""


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
        track_class: one of `TRACK_CLASSES`; tracks of one class make one stem.
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
        """The classes that occur, in the order of `TRACK_CLASSES`."""
        present = {track.track_class for track in self.tracks}
        return tuple(name for name in TRACK_CLASSES if name in present)


_CLASS_RANGES = (
    (0, 22, "keyboard"),
    (22, 23, "woodwinds"),
    (23, 24, "keyboard"),
    (24, 32, "guitar"),
    (32, 40, "bass"),
    (40, 47, "strings"),
    (47, 48, "percussion"),
    (48, 50, "strings"),
    (50, 52, "synth"),
    (52, 55, "vocals"),
    (55, 56, "fx"),
    (56, 62, "brass"),
    (62, 64, "synth"),
    (64, 80, "woodwinds"),
    (80, 104, "synth"),
    (104, 108, "guitar"),
    (108, 109, "percussion"),
    (109, 110, "woodwinds"),
    (110, 111, "strings"),
    (111, 112, "woodwinds"),
    (112, 119, "percussion"),
    (119, 128, "fx"),
)

PROGRAM_NAMES = (
    "piano",
    "bright piano",
    "electric grand piano",
    "honky-tonk piano",
    "electric piano",
    "fm electric piano",
    "harpsichord",
    "clavinet",
    "celesta",
    "glockenspiel",
    "music box",
    "vibraphone",
    "marimba",
    "xylophone",
    "tubular bells",
    "dulcimer",
    "drawbar organ",
    "percussive organ",
    "rock organ",
    "church organ",
    "reed organ",
    "accordion",
    "harmonica",
    "bandoneon",
    "nylon guitar",
    "acoustic guitar",
    "jazz guitar",
    "clean electric guitar",
    "muted guitar",
    "overdriven guitar",
    "distorted guitar",
    "guitar harmonics",
    "upright bass",
    "fingered bass",
    "picked bass",
    "fretless bass",
    "slap bass",
    "slap bass",
    "synth bass",
    "synth bass",
    "violin",
    "viola",
    "cello",
    "double bass",
    "tremolo strings",
    "pizzicato strings",
    "harp",
    "timpani",
    "string section",
    "slow strings",
    "synth strings",
    "synth strings",
    "choir",
    "voice oohs",
    "synth voice",
    "orchestra hit",
    "trumpet",
    "trombone",
    "tuba",
    "muted trumpet",
    "french horn",
    "brass section",
    "synth brass",
    "synth brass",
    "soprano sax",
    "alto sax",
    "tenor sax",
    "baritone sax",
    "oboe",
    "english horn",
    "bassoon",
    "clarinet",
    "piccolo",
    "flute",
    "recorder",
    "pan flute",
    "bottle",
    "shakuhachi",
    "whistle",
    "ocarina",
    "square lead",
    "saw lead",
    "calliope lead",
    "chiff lead",
    "charang lead",
    "voice lead",
    "fifths lead",
    "bass lead",
    "new age pad",
    "warm pad",
    "polysynth pad",
    "choir pad",
    "bowed pad",
    "metallic pad",
    "halo pad",
    "sweep pad",
    "rain pad",
    "soundtrack pad",
    "crystal pad",
    "atmosphere pad",
    "brightness pad",
    "goblin pad",
    "echo pad",
    "sci-fi pad",
    "sitar",
    "banjo",
    "shamisen",
    "koto",
    "kalimba",
    "bagpipe",
    "fiddle",
    "shanai",
    "tinkle bell",
    "agogo",
    "steel drums",
    "woodblock",
    "taiko drum",
    "melodic tom",
    "synth drum",
    "reverse cymbal",
    "guitar noise",
    "breath noise",
    "seashore",
    "bird tweet",
    "telephone ring",
    "helicopter",
    "applause",
    "gunshot",
)
"""Readable names of the 128 General MIDI programs."""


def class_of(program: int) -> str:
    """Track class of a melodic General MIDI program (0..127)."""
    return next(name for low, high, name in _CLASS_RANGES if low <= program < high)
