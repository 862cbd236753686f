"""Scores go out as MIDI and LRC files and come back; what comes from anywhere is bounded and answered in a sentence."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import mido
import pytest

from acestep_like.errors import InputError, OutputError
from acestep_like.music.composer.compose import compose_score
from acestep_like.music.lrc import lrc_text, save_lrc
from acestep_like.music.lyric_timing import lines_of_score
from acestep_like.music.midi import MAX_BYTES, midi_bytes, read_midi, save_midi
from acestep_like.music.planner import plan_song
from acestep_like.music.score import Score
from acestep_like.music.theory import parse_chord

LYRICS = "[Verse]\nWalking down the empty street tonight\n[Chorus]\nSing it out, мир 世界 and never let it go"


def song(caption: str = "pop rock with singer", lyrics: str = LYRICS, **plan: object) -> Score:
    made = plan_song(duration_s=40, caption=caption, lyrics=lyrics, seed=5, **plan)  # type: ignore[arg-type]
    return compose_score(made, caption=caption, lyrics=lyrics, seed=5)


def file_of(*tracks: list, **settings: object) -> bytes:
    file = mido.MidiFile(type=1, ticks_per_beat=480, **settings)
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(messages))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def melody(pitches: list[int], ticks: int = 480, channel: int = 0) -> list:
    messages = []
    for pitch in pitches:
        messages.append(mido.Message("note_on", note=pitch, velocity=90, channel=channel, time=0))
        messages.append(mido.Message("note_off", note=pitch, velocity=0, channel=channel, time=ticks))
    return messages


@pytest.mark.parametrize("meter", ["2", "3", "4", "6"])
def test_a_score_survives_its_midi_file(meter: str, tmp_path: Path) -> None:
    score = song(timesignature=meter, keyscale="F# dorian", bpm=96)
    again = read_midi(save_midi(score, tmp_path / "song.mid"))
    assert (again.plan.timesignature, again.plan.keyscale) == (meter, score.plan.keyscale)
    assert again.plan.bpm == pytest.approx(96, abs=0.01)
    assert again.plan.duration_s == pytest.approx(score.plan.duration_s, abs=0.05)
    assert [(s.name, s.start_bar) for s in again.plan.sections] == [(s.name, s.start_bar) for s in score.plan.sections]
    shared = min(len(score.plan.chords), len(again.plan.chords))
    assert shared >= len(score.plan.chords) - 1
    for ours, theirs in zip(score.plan.chords[:shared], again.plan.chords[:shared], strict=True):
        assert ours.chord == theirs.chord and ours.start_beat == pytest.approx(theirs.start_beat, abs=0.01)
    by_name = {(track.name, track.track_class): track for track in again.tracks}
    for track in score.tracks:
        copy = by_name[track.name, track.track_class]
        assert (copy.bank, copy.program) == (track.bank, track.program)
        assert sorted(note.pitch for note in copy.notes) == sorted(note.pitch for note in track.notes)
        assert copy.notes[0].start_beat == pytest.approx(track.notes[0].start_beat, abs=0.01)
    assert [s.text for s in again.syllables] == [s.text for s in score.syllables]
    assert [(s.word, s.line) for s in again.syllables] == [(s.word, s.line) for s in score.syllables]


def test_a_sequencer_finds_names_tempo_and_markers() -> None:
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(song(bpm=120, timesignature="4", keyscale="A minor"))))
    metas = [message for message in file.tracks[0] if message.is_meta]
    assert next(m for m in metas if m.type == "set_tempo").tempo == 500_000
    assert next(m for m in metas if m.type == "key_signature").key == "Am"
    assert {"verse", "chorus"} <= {m.text for m in metas if m.type == "marker"}
    names = [next(m.name for m in track if m.type == "track_name") for track in file.tracks[1:]]
    assert len(set(names)) == len(names) and any(name.startswith("drums: ") for name in names)
    assert file.length == pytest.approx(40, abs=0.2)


def test_a_hummed_melody_gets_a_key_and_chords_that_suit_it() -> None:
    hummed = read_midi(file_of(melody([69, 72, 76, 72, 65, 69, 72, 69, 67, 71, 74, 71, 69, 69, 76, 69])))
    assert hummed.plan.bpm == 120 and hummed.plan.keyscale is not None and hummed.plan.keyscale.name == "A minor"
    assert [span.chord for span in hummed.plan.chords] == [parse_chord(name) for name in ("Am", "F", "G", "Am")]
    assert hummed.plan.sections == () and [track.role for track in hummed.tracks] == ["lead"]


def test_a_tempo_that_changes_keeps_the_notes_in_their_seconds() -> None:
    tempi = [mido.MetaMessage("set_tempo", tempo=500_000), mido.MetaMessage("set_tempo", tempo=1_000_000, time=960)]
    score = read_midi(file_of(tempi, melody([60] * 10)))
    starts = [score.seconds(note.start_beat) for note in score.tracks[0].notes]
    assert starts == pytest.approx([0, 0.5, *(1.0 + k for k in range(8))], abs=1e-3)
    assert score.plan.bpm == 60


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "a Standard MIDI File"),
        (b"RIFF....WAVE", "a Standard MIDI File"),
        (midi_bytes(song())[:200], "a Standard MIDI File"),
        (b"x" * (MAX_BYTES + 1), "at most 4,000,000 bytes"),
        (file_of([mido.MetaMessage("track_name", name="empty")]), "with notes"),
        (file_of([mido.MetaMessage("time_signature", numerator=7, denominator=8)], melody([60])), "2/4, 3/4, 4/4"),
        (file_of([mido.MetaMessage("set_tempo", tempo=16_000_000)], melody([60])), "a tempo from 30 to 300"),
        (file_of([mido.MetaMessage("set_tempo", tempo=2_000_000)], melody([60, 62], ticks=2_000_000)), "3600 seconds"),
    ],
)
def test_what_is_no_usable_midi_file_is_refused_in_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_midi(data)


def test_damaged_files_are_read_or_refused() -> None:
    whole, rng = midi_bytes(song()), random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole[: rng.choice((len(whole), 2000))])
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read_midi(bytes(damaged))
        except InputError as error:
            assert "score: got" in str(error)


def test_files_that_cannot_be_found_or_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an existing MIDI file"):
        read_midi(tmp_path / "none.mid")
    with pytest.raises(OutputError, match="cannot be written"):
        save_midi(song(), tmp_path / "no folder" / "song.mid")


def test_word_times_of_an_lrc_file_are_those_of_the_notes(tmp_path: Path) -> None:
    score = song()
    text = save_lrc(score, tmp_path / "song.lrc").read_text(encoding="utf-8")
    assert text == lrc_text(score)
    lines = text.splitlines()
    assert re.sub(r"\[[^]]*\] |<[^>]*> ", "", "\n".join(lines)).split("\n") == [
        "Walking down the empty street tonight",
        "Sing it out, мир 世界 and never let it go",
    ]
    stamps = [float(m) * 60 + float(s) for m, s in re.findall(r"<(\d+):([\d.]+)>", text)]
    words = {}
    for syllable in score.syllables:
        words.setdefault(syllable.word, score.seconds(syllable.start_beat))
    assert stamps == pytest.approx(list(words.values()), abs=0.006)
    timed = lines_of_score(score)
    assert [line.text for line in timed] == [
        "Walking down the empty street tonight",
        "Sing it out, мир 世界 and never let it go",
    ]
    assert [line.start_s for line in timed] == [
        score.seconds(next(s.start_beat for s in score.syllables if s.line == index)) for index in (0, 1)
    ]
    assert all(line.start_s < line.end_s <= score.plan.duration_s for line in timed)
    with pytest.raises(InputError, match="words that are sung"):
        save_lrc(song(lyrics=""), tmp_path / "none.lrc")
    assert not (tmp_path / "none.lrc").exists()
