"""Scores as Standard MIDI Files, and back (through `mido`).

What is written opens in any sequencer: a track with tempo, time and key signature, a marker for each section and a text
for each chord, then one named track for each instrument, with its program, pan and, for the voice, its words.

What is read may come from anywhere, so size, notes and length are bounded. A file whose tempo changes is read at the
tempo that lasts longest; its notes keep their times in seconds. Where it names no key or chords they are worked out
from its notes (`composer/harmonise.py`).
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate, pairwise, zip_longest
from pathlib import Path
from typing import Any

from acestep_like.errors import InputError, OutputError
from acestep_like.music.composer.harmonise import chords_of_notes, key_of_notes
from acestep_like.music.general_midi import DRUM_BANK, PROGRAM_NAMES, class_of
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.score import Note, Score, Syllable, Track
from acestep_like.music.sections import section_of
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.styles import BPM_LIMITS
from acestep_like.music.theory import ACE_MODE, FLAT_NAMES, PITCH_NAMES, KeyScale, parse_chord, parse_keyscale

MAX_BYTES = 4_000_000
MAX_NOTES = 100_000
MAX_DURATION_S = 3600.0

_TICKS = 480
_QUARTERS = {"2": 1.0, "3": 1.0, "4": 1.0, "6": 1.5}
"""Quarter notes in a beat by time signature."""

_SIGNATURES = {"2": (2, 4), "3": (3, 4), "4": (4, 4), "6": (6, 8)}
_DRUM_CHANNEL = 9
_CHORD = "chord: "
_WRITABLE_KEYS = frozenset(
    "A A#m Ab Abm Am B Bb Bbm Bm C C# C#m Cb Cm D D#m Db Dm E Eb Ebm Em F F# F#m Fm G G#m Gb Gm".split()
)
_VOICE_ROLES = {"vocals": "vocals", "voice": "vocals", "singer": "vocals", "choir": "backing_vocals"}


def midi_bytes(score: Score) -> bytes:
    """A score as a Standard MIDI File of type 1."""
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=_TICKS, charset="utf-8")
    file.tracks.append(_conductor(mido, score))
    channels = iter([channel for channel in range(16) if channel != _DRUM_CHANNEL] * len(score.tracks))
    for track in score.tracks:
        channel = _DRUM_CHANNEL if track.bank == DRUM_BANK else next(channels)
        file.tracks.append(_track(mido, score, track, channel))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def save_midi(score: Score, path: str | Path) -> Path:
    """Write a score as a MIDI file, over one of that name.

    Raises:
        OutputError: the file cannot be written.
    """
    target = Path(path).expanduser()
    try:
        target.write_bytes(midi_bytes(score))
    except OSError as error:
        raise OutputError(f"{target}: the MIDI file cannot be written ({error.strerror or error})") from error
    return target


def read_midi(source: str | Path | bytes) -> Score:
    """Read a MIDI file from a path or its bytes.

    Returns:
        What the file plays. Its plan has sections only where markers name them; tempo, meter, key and chords always.

    Raises:
        InputError: no such file, no MIDI file, nothing in it that sounds, or more than the bounds of this module.
    """
    import mido

    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    shown = "the bytes of a file" if isinstance(source, bytes) else str(source)
    if len(data) > MAX_BYTES:
        raise InputError("score", shown, f"a MIDI file of at most {MAX_BYTES:,} bytes")
    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except (EOFError, OSError, ValueError, KeyError, IndexError, TypeError, mido.KeySignatureError) as error:
        raise InputError("score", shown, "a Standard MIDI File", f"It cannot be read: {error}.") from error
    if file.ticks_per_beat <= 0 or file.type == 2:
        raise InputError("score", shown, "a MIDI file of type 0 or 1 whose times count in beats")
    return _Reading(mido, file, shown).score()


_TEXT_FORM = "data:audio/midi;base64,"


def score_text(score: Score) -> str:
    """A score as one line of text, its MIDI file in base64, for recipes; `read_score` reads it."""
    return _TEXT_FORM + base64.b64encode(midi_bytes(score)).decode("ascii")


def read_score(value: object) -> Score:
    """A score from a `Score`, the path or bytes of a MIDI file, or the text of `score_text`.

    Raises:
        InputError: none of them, or as `read_midi`.
    """
    if isinstance(value, Score):
        if not (value.tracks and value.plan.bpm and value.plan.timesignature):
            raise InputError("score", "a Score without tracks, tempo or meter", "a Score with all three")
        _check_tracks(value)
        return value
    if isinstance(value, str) and value.startswith(_TEXT_FORM):
        text = value[len(_TEXT_FORM) :]
        if len(text) > MAX_BYTES * 4 // 3 + 4:
            raise InputError("score", value, f"a MIDI file of at most {MAX_BYTES:,} bytes")
        try:
            return read_midi(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise InputError("score", value, "base64 after its prefix") from None
    if isinstance(value, str | os.PathLike) and os.fspath(value):
        return read_midi(Path(os.fspath(value)))
    if isinstance(value, bytes | bytearray):
        return read_midi(bytes(value))
    raise InputError("score", value, "a Score, or the path or bytes of a MIDI file")


def _check_tracks(score: Score) -> None:
    for track in score.tracks:
        if track.track_class not in TRACK_NAMES or not 0 <= track.program < 128:
            accepted = "a track class of TRACK_NAMES and a program from 0 to 127"
            raise InputError("score", (track.name, track.track_class, track.program), accepted)
        for note in track.notes:
            if not (0 <= note.start_beat < math.inf and 0 < note.beats < math.inf and 0 <= note.pitch < 128):
                raise InputError("score", tuple(note), "notes from beat 0 on, with a length, and a pitch from 0 to 127")
            if not 0 < note.velocity < 128:
                raise InputError("score", tuple(note), "notes with a velocity from 1 to 127")


def _file_bytes(path: Path) -> bytes:
    try:
        path = path.expanduser()
        if path.is_file():
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError):  # unreadable, of an unknown user, or a name that no system takes
        pass
    raise InputError("score", str(path), "an existing MIDI file")


def _ticks(score: Score, beat: float) -> int:
    return max(0, round(beat * _QUARTERS[score.plan.timesignature or "4"] * _TICKS))


def _events(mido: Any, timed: Iterable[tuple[int, int, Any]]) -> Any:
    """A track from (tick, order within the tick, message)."""
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(timed, key=lambda event: event[:2]):
        message.time = tick - now
        track.append(message)
        now = tick
    return track


def _conductor(mido: Any, score: Score) -> Any:
    plan = score.plan
    meter = plan.timesignature or "4"
    numerator, denominator = _SIGNATURES[meter]
    tempo = mido.bpm2tempo((plan.bpm or 120) * _QUARTERS[meter])
    timed: list[tuple[int, int, Any]] = [
        (0, 0, mido.MetaMessage("track_name", name=f"{score.style} song")),
        (0, 1, mido.MetaMessage("set_tempo", tempo=tempo)),
        (0, 2, mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)),
    ]
    key = _key_name(plan.keyscale) if plan.keyscale else ""
    if key in _WRITABLE_KEYS:
        timed.append((0, 3, mido.MetaMessage("key_signature", key=key)))
    if plan.keyscale:
        timed.append((0, 4, mido.MetaMessage("text", text=f"key: {plan.keyscale.name}")))
    for section in plan.sections:
        tick = _ticks(score, section.start_bar * plan.beats_per_bar)
        timed.append((tick, 5, mido.MetaMessage("marker", text=section.name)))
    for span in plan.chords:
        text = f"{_CHORD}{span.chord.name}"
        timed.append((_ticks(score, span.start_beat), 6, mido.MetaMessage("text", text=text)))
    end = plan.duration_s / score.seconds_per_beat
    timed.append((_ticks(score, end), 9, mido.MetaMessage("end_of_track")))
    return _events(mido, timed)


def _key_name(key: KeyScale) -> str:
    minor = ACE_MODE[key.mode] == "minor"
    names = FLAT_NAMES if key.flats else PITCH_NAMES
    return names[key.tonic] + ("m" if minor else "")


def _track(mido: Any, score: Score, track: Track, channel: int) -> Any:
    timed: list[tuple[int, int, Any]] = [
        (0, 0, mido.MetaMessage("track_name", name=f"{track.track_class}: {track.name}")),
        (0, 1, mido.Message("program_change", channel=channel, program=track.program)),
        (0, 2, mido.Message("control_change", channel=channel, control=10, value=round(64 + 63 * track.pan))),
    ]
    for note in track.notes:
        start = _ticks(score, note.start_beat)
        end = max(start + 1, _ticks(score, note.start_beat + note.beats))
        timed.append((start, 5, mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)))
        timed.append((end, 3, mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)))
    if track.track_class == "vocals":
        for syllable, following in zip_longest(score.syllables, score.syllables[1:]):
            after = " " if following is None or following.word != syllable.word else ""
            text = syllable.text + ("\n" if following is None or following.line != syllable.line else after)
            timed.append((_ticks(score, syllable.start_beat), 4, mido.MetaMessage("lyrics", text=text)))
    return _events(mido, timed)


class _Reading:
    """One file on its way to a score; ticks become beats of the song's time signature at one tempo."""

    def __init__(self, mido: Any, file: Any, shown: str) -> None:
        self.mido, self.file, self.shown = mido, file, shown
        self.metas: list[tuple[int, Any]] = []
        self.notes: dict[tuple[int, int], list[tuple[int, int, int, int]]] = defaultdict(list)
        self.names: dict[int, str] = {}
        self.programs: dict[tuple[int, int], int] = {}
        self.end = self.count = 0
        for number, track in enumerate(file.tracks):
            self._read_track(number, track)
        if not any(self.notes.values()):
            raise InputError("score", shown, "a MIDI file with notes")

    def _read_track(self, number: int, track: Any) -> None:
        now, sounding = 0, defaultdict(list)
        for message in track:
            now += message.time
            if message.is_meta:
                if message.type == "track_name":
                    self.names[number] = _text(message.name)
                self.metas.append((now, message))
            elif message.type == "program_change":
                self.programs.setdefault((number, message.channel), message.program)
            elif message.type == "note_on" and message.velocity > 0:
                sounding[message.channel, message.note].append((now, message.velocity))
            elif message.type in ("note_on", "note_off") and sounding[message.channel, message.note]:
                start, velocity = sounding[message.channel, message.note].pop(0)
                if now > start:
                    self.notes[number, message.channel].append((start, now, message.note, velocity))
                    self.end = max(self.end, now)
                    self.count += 1
            if self.count > MAX_NOTES:
                raise InputError("score", self.shown, f"a MIDI file of at most {MAX_NOTES:,} notes")
        self.end = max(self.end, now)

    def score(self) -> Score:
        meter = self._meter()
        tempi = self._tempi()
        quarter_s = max(tempi, key=lambda tempo: tempo[2])[1]
        bpm = 60.0 / quarter_s / _QUARTERS[meter]
        if not BPM_LIMITS[0] <= bpm <= BPM_LIMITS[1]:
            raise InputError(
                "score", f"{self.shown} at {bpm:.1f} bpm", f"a tempo from {BPM_LIMITS[0]} to {BPM_LIMITS[1]}"
            )
        beats = _Beats(tempi, self.file.ticks_per_beat, quarter_s * _QUARTERS[meter])
        duration_s = beats.seconds(self.end)
        if not 0 < duration_s <= MAX_DURATION_S:
            raise InputError("score", f"{self.shown} of {duration_s:.0f} s", f"at most {MAX_DURATION_S:.0f} seconds")
        tracks = tuple(self._track(place, beats) for place in self.notes if self.notes[place])
        pitched = [note for track in tracks if track.bank != DRUM_BANK for note in track.notes]
        key = self._key() or key_of_notes(pitched)
        plan = SongPlan(round(duration_s, 3), round(bpm, 3), meter, key)
        bars = max(1, round(beats.beat(self.end) / plan.beats_per_bar + 0.499))
        chords = self._chords(beats, bars * plan.beats_per_bar)
        chords = chords or chords_of_notes(pitched, key, plan.beats_per_bar, bars)
        plan = replace(plan, chords=chords, sections=self._sections(beats, plan.beats_per_bar, bars))
        return Score(plan, "", tracks, 0.0, self._syllables(tracks, beats))

    def _meter(self) -> str:
        first = next((message for _, message in self.metas if message.type == "time_signature"), None)
        signature = (first.numerator, first.denominator) if first else (4, 4)
        known = {value: name for name, value in _SIGNATURES.items()} | {(2, 2): "2", (12, 8): "6", (8, 8): "4"}
        if signature not in known:
            raise InputError("score", f"{self.shown} in {signature[0]}/{signature[1]}", "2/4, 3/4, 4/4 or 6/8")
        return known[signature]

    def _tempi(self) -> list[tuple[int, float, float]]:
        """Tempo changes as (tick, seconds of a quarter note, how many seconds it lasts)."""
        changes = {0: 0.5}
        for tick, message in sorted(self.metas, key=lambda meta: meta[0]):
            if message.type == "set_tempo" and message.tempo > 0:
                changes[tick] = message.tempo / 1e6
        ticks = [*sorted(changes), max(self.end, *changes) + 1]
        return [
            (tick, changes[tick], (following - tick) / self.file.ticks_per_beat * changes[tick])
            for tick, following in pairwise(ticks)
        ]

    def _key(self) -> KeyScale | None:
        for _, message in self.metas:
            text = _text(message.text) if message.type == "text" else ""
            if text.startswith("key: "):
                return _readable(parse_keyscale, text[5:])
        for _, message in self.metas:
            if message.type == "key_signature":
                return _readable(parse_keyscale, message.key)
        return None

    def _chords(self, beats: _Beats, end: float) -> tuple[ChordSpan, ...]:
        """The chords that the file names in texts or markers."""
        named = []
        for tick, message in sorted(self.metas, key=lambda meta: meta[0]):
            if message.type in ("text", "marker") and _text(message.text).startswith(_CHORD):
                chord = _readable(parse_chord, _text(message.text)[len(_CHORD) :])
                if chord is not None:
                    named.append((round(beats.beat(tick), 3), chord))
        starts = [beat for beat, _ in named]
        spans = zip(named, [*starts[1:], *([max(end, starts[-1])] if starts else [])], strict=True)
        return tuple(ChordSpan(beat, following - beat, chord) for (beat, chord), following in spans if following > beat)

    def _sections(self, beats: _Beats, beats_per_bar: int, bars: int) -> tuple[Section, ...]:
        marked: dict[int, str] = {}
        for tick, message in sorted(self.metas, key=lambda meta: meta[0]):
            name = section_of(_text(message.text)) if message.type in ("marker", "cue_marker") else None
            if name is not None:
                marked[round(beats.beat(tick) / beats_per_bar)] = name
        starts = sorted(start for start in marked if start < bars)
        if not starts:
            return ()
        edges = [0, *starts[1:], bars]  # what stands before the first marker belongs to its section
        return tuple(
            Section(marked[start], edges[index], edges[index + 1] - edges[index]) for index, start in enumerate(starts)
        )

    def _track(self, place: tuple[int, int], beats: _Beats) -> Track:
        number, channel = place
        notes = tuple(
            Note(round(beats.beat(start), 5), round(beats.beat(end) - beats.beat(start), 5), pitch, velocity)
            for start, end, pitch, velocity in sorted(self.notes[place])
        )
        program = self.programs.get(place, 0)
        name = self.names.get(number, "").strip()
        written, _, rest = name.partition(": ")
        if channel == _DRUM_CHANNEL:
            return Track(rest or name or "drum kit", "drums", "drums", DRUM_BANK, program, notes)
        track_class = written if written in TRACK_NAMES else class_of(program)
        words = name.lower()
        for word, voice in _VOICE_ROLES.items():
            track_class = voice if written not in TRACK_NAMES and word in words else track_class
        return Track(
            rest or name or PROGRAM_NAMES[program], track_class, _role(track_class, words, notes), 0, program, notes
        )

    def _syllables(self, tracks: Iterable[Track], beats: _Beats) -> tuple[Syllable, ...]:
        """The words of the file on the notes of its voice."""
        voice = {note.start_beat: note for track in tracks if track.track_class == "vocals" for note in track.notes}
        found: list[Syllable] = []
        word = line = 0
        for tick, message in sorted(self.metas, key=lambda meta: meta[0]):
            note = voice.get(round(beats.beat(tick), 5)) if message.type == "lyrics" else None
            if note is None:
                continue
            text = _text(message.text)
            if text.strip():
                found.append(Syllable(note.start_beat, note.beats, note.pitch, text.strip(), word, line))
            word += text != text.rstrip()
            line += text.endswith(("\n", "\r"))
        return tuple(found)


class _Beats:
    """From ticks to seconds, and to beats of one length."""

    def __init__(self, tempi: list[tuple[int, float, float]], ticks_per_quarter: int, beat_s: float) -> None:
        self._ticks, self._beat_s = ticks_per_quarter, beat_s
        self._firsts = [tick for tick, _, _ in tempi]
        self._quarters_s = [quarter_s for _, quarter_s, _ in tempi]
        self._begin_s = [0.0, *accumulate(lasts_s for _, _, lasts_s in tempi)]

    def seconds(self, tick: int) -> float:
        place = bisect_right(self._firsts, tick) - 1
        return self._begin_s[place] + (tick - self._firsts[place]) / self._ticks * self._quarters_s[place]

    def beat(self, tick: int) -> float:
        return self.seconds(tick) / self._beat_s


def _role(track_class: str, name: str, notes: tuple[Note, ...]) -> str:
    """What a track does: by its class or name, else a lead where notes seldom sound together."""
    if track_class in ("bass", "vocals", "backing_vocals", "percussion", "fx"):
        return track_class
    if any(word in name for word in ("lead", "melody", "solo")):
        return "lead"
    together = sum(b.start_beat < a.start_beat + 0.5 * a.beats for a, b in pairwise(notes))
    return "chords" if together > 0.3 * len(notes) else "lead"


def _text(text: str) -> str:
    """Text of a file in the encoding it most likely has: UTF-8 where it can be read as that."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _readable(parse: Any, text: str) -> Any:
    """What a parser makes of a file's text; None where it is unreadable, since the file is not the caller's words."""
    try:
        return parse(text)
    except InputError:
        return None
