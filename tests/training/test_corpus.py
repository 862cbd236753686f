"""The composer: deterministic, plays what its plan says, in many styles, meters, keys and tempi."""

from __future__ import annotations

import bisect
import random
from collections import Counter
from itertools import pairwise

import pytest

from acestep_like.music.chart import parse_chords
from acestep_like.music.composer.ensembles import ENSEMBLES
from acestep_like.music.composer.form import choose_form, section_bars
from acestep_like.music.composer.harmony import progression_chords
from acestep_like.music.composer.patterns import DRUMS, PERCUSSION, STEPS_PER_BAR, clean
from acestep_like.music.composer.voicing import lead_voices, nearest_in
from acestep_like.music.general_midi import DRUM_BANK, PROGRAM_NAMES, class_of
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.styles import STYLES
from acestep_like.music.theory import BEATS_PER_BAR, CHORD_QUALITIES, MODES, Chord, KeyScale
from acestep_like.training.corpus import SPLITS, compose
from acestep_like.training.corpus.song import Song


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [compose(seed) for seed in range(160)]


def test_the_same_seed_gives_the_same_song() -> None:
    assert compose(5) == compose(5)
    assert compose(5) != compose(6)


def test_asking_for_a_tempo_leaves_form_kind_and_instruments_alone() -> None:
    slow, fast = compose(9, style="rock", bpm=110, duration_s=30), compose(9, style="rock", bpm=112, duration_s=30)
    assert [track.name for track in slow.tracks] == [track.name for track in fast.tracks]
    assert slow.plan.keyscale == fast.plan.keyscale


def test_splits_are_disjoint() -> None:
    names = list(SPLITS)
    assert names == ["train", "validation", "test"]
    for first, second in pairwise(names):
        assert SPLITS[first].stop <= SPLITS[second].start


def test_the_corpus_is_broad(songs: list[Song]) -> None:
    assert len(STYLES) >= 14 and {song.style for song in songs} == set(STYLES)
    assert {song.plan.keyscale.tonic for song in songs if song.plan.keyscale} == set(range(12))
    assert {song.plan.keyscale.mode for song in songs if song.plan.keyscale} >= {
        "major",
        "minor",
        "dorian",
        "mixolydian",
    }
    tempi = [song.plan.bpm or 0 for song in songs]
    assert min(tempi) >= 50 and max(tempi) <= 190 and min(tempi) < 62 and max(tempi) > 170
    meters = Counter(song.plan.timesignature for song in songs)
    assert 0.2 <= 1 - meters["4"] / len(songs) <= 0.36
    assert set(meters) == {"2", "3", "4", "6"}


def test_all_track_classes_occur(songs: list[Song]) -> None:
    found = Counter(name for song in songs for name in song.track_classes)
    assert set(found) == set(TRACK_NAMES)
    assert min(found.values()) >= 0.05 * len(songs)


def test_songs_are_whole_bars_of_40_to_64_s(songs: list[Song]) -> None:
    for song in songs:
        assert 40 <= song.plan.duration_s <= 64
        assert song.plan.bars == pytest.approx(round(song.plan.bars), abs=1e-6)


def test_sections_and_chords_cover_the_song_without_gaps(songs: list[Song]) -> None:
    for song in songs:
        at = 0
        for section in song.plan.sections:
            assert section.start_bar == at and section.bars >= 1
            at += section.bars
        assert at == round(song.plan.bars)
        beat = 0.0
        for span in song.plan.chords:
            assert span.start_beat == pytest.approx(beat)
            beat += span.beats
        assert beat == pytest.approx(at * song.plan.beats_per_bar)


def _chord_share(song: Song, roles: set[str] | None) -> tuple[float, float]:
    """Sounding beats on chord tones and in all, of pitched tracks of some roles (None: all)."""
    starts = [span.start_beat for span in song.plan.chords]
    inside = total = 0.0
    for track in song.tracks:
        unpitched = track.bank == DRUM_BANK or track.role in ("fx", "percussion")
        if unpitched or (roles is not None and track.role not in roles):
            continue
        for note in track.notes:
            span = song.plan.chords[max(bisect.bisect_right(starts, note.start_beat + 0.2) - 1, 0)]
            inside += note.beats * (note.pitch % 12 in span.chord.pitch_classes)
            total += note.beats
    return inside, total


def test_what_is_played_is_what_the_plan_says(songs: list[Song]) -> None:
    chordal = {"chords", "pad", "rhythm", "keys", "arp", "strings", "ostinato", "backing_vocals"}
    parts = [_chord_share(song, chordal) for song in songs]
    assert sum(a for a, _ in parts) / sum(b for _, b in parts) > 0.99
    parts = [_chord_share(song, {"bass"}) for song in songs]
    assert sum(a for a, _ in parts) / sum(b for _, b in parts) > 0.9  # the rest are approach notes
    parts = [_chord_share(song, {"lead", "vocals", "counter"}) for song in songs]
    assert 0.65 < sum(a for a, _ in parts) / sum(b for _, b in parts) < 0.97  # melodies have passing notes


def test_bass_sounds_the_root_where_a_chord_begins(songs: list[Song]) -> None:
    hits = total = 0
    for song in songs:
        starts = {round(span.start_beat, 3): span.chord.bass_note for span in song.plan.chords}
        for track in song.tracks:
            if track.role != "bass":
                continue
            for note in track.notes:
                near = [start for start in (round(note.start_beat), round(note.start_beat * 2) / 2) if start in starts]
                if near and abs(note.start_beat - near[0]) < 0.08:
                    total += 1
                    hits += note.pitch % 12 == starts[near[0]]
    assert total > 500 and hits / total > 0.97


def test_the_song_ends_on_its_tonic(songs: list[Song]) -> None:
    for song in songs:
        if song.plan.sections[-1].bars > 1:
            assert song.plan.keyscale is not None
            assert song.plan.chords[-1].chord.root == song.plan.keyscale.tonic


def test_sections_differ_and_like_sections_share_their_material() -> None:
    differ = shared = counted = 0
    for seed in range(60):
        song = compose(seed, style=STYLES[seed % len(STYLES)])
        beats = song.plan.beats_per_bar
        density: dict[str, list[tuple[int, ...]]] = {}
        for section in song.plan.sections:
            start, end = section.start_bar * beats, (section.start_bar + section.bars) * beats
            row = tuple(
                sum(start <= note.start_beat < end for note in track.notes) // section.bars for track in song.tracks
            )
            density.setdefault(section.name, []).append(row)
        if {"verse", "chorus"} <= density.keys():
            counted += 1
            differ += density["verse"][0] != density["chorus"][0]
        chords = []
        for section in song.plan.sections[:-1]:
            start, end = section.start_bar * beats, (section.start_bar + 2) * beats
            if section.name == "verse":
                chords.append([span.chord for span in song.plan.chords if start <= span.start_beat < end])
        shared += all(row == chords[0] for row in chords)
    assert counted > 20 and differ / counted > 0.95
    assert shared > 55


@pytest.mark.parametrize("duration_s", [5.0, 16.0, 33.3, 120.0, 600.0])
def test_an_asked_duration_is_kept(duration_s: float) -> None:
    song = compose(3, duration_s=duration_s)
    assert song.plan.duration_s == duration_s
    last = max(note.start_beat + note.beats for track in song.tracks for note in track.notes)
    assert last * 60 / (song.plan.bpm or 1) <= duration_s + 1e-3


@pytest.mark.parametrize("meter", ["2", "3", "4", "6"])
@pytest.mark.parametrize("style", STYLES)
def test_every_style_plays_in_every_meter_and_mode(style: str, meter: str) -> None:
    for index, mode in enumerate(MODES):
        key = KeyScale(index, mode)
        song = compose(index, style=style, timesignature=meter, keyscale=key, bpm=100, duration_s=20)
        assert song.plan.keyscale == key and song.plan.timesignature == meter and song.plan.bpm == 100
        assert song.tracks and song.style == style


def test_a_given_plan_is_played_as_it_is() -> None:
    chart = parse_chords("Dm7 | G7 Bb | Cmaj7 | A7")
    spans, at = [], 0.0
    for bar in chart * 2:
        for chord in bar:
            spans.append(ChordSpan(at, 4 / len(bar), chord))
            at += 4 / len(bar)
    plan = SongPlan(
        19.2, 100, "4", KeyScale(0, "major"), tuple(spans), (Section("verse", 0, 4), Section("chorus", 4, 4))
    )
    song = compose(4, style="folk", plan=plan)
    assert song.plan == plan
    inside, total = _chord_share(song, {"chords", "rhythm"})
    assert inside / total > 0.99


def test_patterns_fill_their_bars() -> None:
    for name, table in DRUMS.items():
        for meter, rows in table.items():
            for row in rows:
                for voice, text in row.items():
                    assert len(clean(text)) == STEPS_PER_BAR[meter], (name, meter, voice)
    for table in PERCUSSION.values():
        for meter, texts in table.items():
            assert all(len(clean(text)) == STEPS_PER_BAR[meter] for text in texts)
    for ensemble in ENSEMBLES.values():
        for part in (ensemble.bass, *ensemble.comps):
            for meter, texts in (part.patterns if part else {}).items():
                assert all(len(clean(text)) == STEPS_PER_BAR[meter] for text in texts), (ensemble.name, part, meter)


def test_forms_fill_exactly_the_bars_asked() -> None:
    for bars in range(1, 80):
        for bar_s in (1.0, 2.0, 4.2):
            form = choose_form(random.Random(bars), bars, bar_s)
            assert sum(length for _, length in form) == bars
            assert max(length for _, length in form) <= 2 * section_bars(bar_s)


def test_progressions_read_borrowed_chords_and_halves() -> None:
    key = KeyScale(0, "major")
    bars = progression_chords("1 2:7 b7 4,4:m", key, "triad")
    assert bars == [[Chord(0)], [Chord(2, "7")], [Chord(10)], [Chord(5), Chord(5, "m")]]
    assert progression_chords("2 5 1", key, "seventh") == [[Chord(2, "m7")], [Chord(7, "7")], [Chord(0, "maj7")]]


def test_voices_move_little() -> None:
    previous = lead_voices(Chord(0), 52, 3, None)
    following = lead_voices(Chord(9, "m"), 52, 3, previous)
    assert sum(abs(a - b) for a, b in zip(previous, following, strict=True)) <= 4
    for quality in CHORD_QUALITIES:
        for root in range(12):
            voicing = lead_voices(Chord(root, quality), 50, 4, previous)
            assert {pitch % 12 for pitch in voicing} <= set(Chord(root, quality).pitch_classes)
    assert nearest_in(61.2, [0, 4, 7]) == 60


def test_every_program_has_a_name_and_a_class() -> None:
    assert len(PROGRAM_NAMES) == 128
    assert {class_of(program) for program in range(128)} | {"drums", "backing_vocals"} == set(TRACK_NAMES)
    assert BEATS_PER_BAR["6"] == 2
