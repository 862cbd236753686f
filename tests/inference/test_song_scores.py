"""Every new song has its score: of its own seed, saved as MIDI and LRC, made around the notes that are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acestep_like import GenerationConfig, GenerationParams, generate_music
from acestep_like.entrypoints.cli.main import main
from acestep_like.errors import InputError
from acestep_like.music.composer.compose import compose_score
from acestep_like.music.midi import midi_bytes, read_midi, save_midi, score_text
from acestep_like.music.planner import plan_song
from acestep_like.music.score import Note, Score, Track
from acestep_like.music.song_plan import SongPlan
from acestep_like.types.recorded_score import recorded_score

LYRICS = "[Verse]\nWalking down the street tonight\n[Chorus]\nSing it out and never let it go"
TUNE = tuple(Note(float(beat), 1.0, pitch, 90) for beat, pitch in enumerate((69, 72, 76, 72, 65, 69, 72, 69) * 3))


def hummed() -> Score:
    """A lead line of six bars at 126 bpm, without anything else."""
    return Score(SongPlan(11.5, 126.0, "4"), "", (Track("hum", "woodwinds", "lead", 0, 73, TUNE),))


@pytest.fixture(scope="module")
def songs(mini):
    params = GenerationParams(caption="pop rock with singer", lyrics=LYRICS, duration=12, seed=7, inference_steps=1)
    params.thinking = False
    result = generate_music(mini, None, params, GenerationConfig(batch_size=2))
    assert result.success, result.error
    return result.audios


def test_each_item_has_a_score_of_its_own_to_its_own_plan(songs) -> None:
    one, other = songs[0].score, songs[1].score
    assert one is not None and other is not None and one.tracks != other.tracks
    for audio, score in zip(songs, (one, other), strict=True):
        assert score.plan.bpm == audio.params["plan"]["bpm"] and score.plan.duration_s == audio.duration_s
        assert [s.name for s in score.plan.sections] == [name for name, _, _ in audio.params["plan"]["sections"]]


def test_a_recorded_song_gives_its_score_again(songs) -> None:
    recorded = json.loads(json.dumps(songs[0].params))
    assert recorded_score(recorded, songs[0].duration_s) == songs[0].score


def test_midi_and_word_times_are_saved(songs, tmp_path: Path) -> None:
    assert read_midi(songs[0].save_midi(tmp_path / "song.mid")).plan.bpm == pytest.approx(songs[0].score.plan.bpm)
    assert "Walking" in songs[0].save_lrc(tmp_path / "song.lrc").read_text(encoding="utf-8")


def test_a_hummed_tune_becomes_a_song_in_its_tempo_and_chords(mini, tmp_path: Path) -> None:
    path = save_midi(hummed(), tmp_path / "hum.mid")
    params = GenerationParams(caption="folk", score=str(path), seed=3, inference_steps=1, thinking=False)
    result = generate_music(mini, None, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    audio = result.audios[0]
    given = read_midi(path)
    assert audio.params["bpm"] == 126 and audio.duration_s == pytest.approx(given.plan.duration_s, abs=0.01)
    assert audio.params["plan"]["chords"].startswith("Am | F | Am | F")
    assert str(tmp_path) not in json.dumps(audio.params)
    lead = next(track for track in audio.score.tracks if track.role == "lead")
    assert [note.pitch for note in lead.notes] == [note.pitch for note in TUNE]
    assert {"guitar", "woodwinds"} <= set(audio.score.track_classes)
    again = GenerationParams.from_recipe(audio.params)
    same = generate_music(mini, None, again, GenerationConfig(batch_size=1)).audios[0]
    assert same.key == audio.key and same.score == audio.score


def test_what_is_given_wins_over_the_score() -> None:
    params = GenerationParams(score=hummed(), bpm=90, keyscale="D minor", duration=20).checked()
    assert (params.bpm, params.keyscale, params.duration, params.timesignature) == (90, "D minor", 20, "4")
    left_open = GenerationParams(score=hummed()).checked()
    assert (left_open.bpm, left_open.duration, left_open.timesignature) == (126, 11.5, "4")


def test_words_are_sung_on_a_given_tune() -> None:
    plan = plan_song(duration_s=11.5, bpm=126, timesignature="4", caption="folk", lyrics=LYRICS, seed=1)
    score = compose_score(plan, caption="folk", lyrics=LYRICS, seed=1, given=hummed())
    assert [s.pitch for s in score.syllables] == [note.pitch for note in TUNE][: len(score.syllables)]
    assert "".join(s.text for s in score.syllables).startswith("Walkingdown")
    assert [track.role for track in score.tracks].count("vocals") == 1


def test_given_tracks_replace_their_like_and_nothing_else() -> None:
    plan = plan_song(duration_s=30, bpm=120, timesignature="4", caption="rock", seed=1)
    alone = compose_score(plan, caption="rock", seed=1)
    bass = Track("my bass", "bass", "bass", 0, 33, (Note(0.0, 2.0, 40, 90), Note(900.0, 1.0, 40, 90)))
    both = compose_score(plan, caption="rock", seed=1, given=Score(plan, "", (bass,)))
    assert [t.name for t in both.tracks if t.track_class == "bass"] == ["my bass"]
    assert [note.start_beat for t in both.tracks if t.name == "my bass" for note in t.notes] == [0.0]
    assert [t for t in both.tracks if t.track_class != "bass"] == [t for t in alone.tracks if t.track_class != "bass"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"score": "none.mid"}, "an existing MIDI file"),
        ({"score": b"no midi"}, "a Standard MIDI File"),
        ({"score": 5}, "a Score, or the path or bytes"),
        ({"score": "data:audio/midi;base64,???"}, "base64"),
        ({"score": hummed(), "timesignature": "3"}, "'4', which the score has"),
        ({"score": hummed(), "task_type": "cover", "src_audio": "a.wav"}, "new music"),
        ({"score": Score(SongPlan(9.0), "", ())}, "a Score with all three"),
        ({"score": Score(hummed().plan, "", (Track("a", "bass", "bass", 0, 33, (Note(0, 1, 300, 9),)),))}, "0 to 127"),
        ({"score": Score(hummed().plan, "", (Track("a", "banjo", "bass", 0, 33, TUNE),))}, "of TRACK_NAMES"),
    ],
)
def test_scores_that_cannot_be_played_are_refused_before_a_model_runs(fields: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        GenerationParams(caption="folk", **fields).checked()


def test_scores_are_json() -> None:
    params = GenerationParams(caption="folk", score=hummed())
    again = GenerationParams.from_json(params.to_json())
    assert again.score == score_text(hummed()) and again.checked().bpm == 126
    assert GenerationParams(score=midi_bytes(hummed())).checked().bpm == 126


def test_an_edit_has_no_score(songs) -> None:
    edited = type(songs[0])("", songs[0].tensor, "k", 48000, {**songs[0].params, "task_type": "repaint"})
    assert edited.score is None
    with pytest.raises(InputError, match="new music"):
        edited.save_midi("song.mid")


def test_the_command_writes_midi_and_word_times_beside_the_song(mini, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("acestep_like.entrypoints.cli.generate.load_models", lambda *_, **__: (mini, None))
    hum = save_midi(hummed(), tmp_path / "hum.mid")
    words = ["generate", "folk", "--lyrics", LYRICS, "--score", str(hum), "--midi", "--lrc", "--steps", "1", "--quiet"]
    assert main([*words, "--seed", "3", "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".flac", ".lrc", ".mid"]
