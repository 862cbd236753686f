"""The six tasks on the embedded model: what must hold for real, as far as its quality allows.

Figures over many held-out songs are printed by `python -m acestep_like.evaluation tasks`; here single songs show that
each task does what it says. Everything starts from a song that the model makes itself.
"""

from __future__ import annotations

import pytest
import torch

from acestep_like import editing
from acestep_like.audio.level import rms_dbfs
from acestep_like.inference.api import generate_music
from acestep_like.models.analysis.track_tagger import UNHEARD_BELOW
from acestep_like.types.params import GenerationConfig, GenerationParams

RATE = 48000
BPM = 112


STEPS = 8
BAR_S = 240 / BPM


@pytest.fixture(scope="module")
def song(mini):
    params = GenerationParams(
        caption="funk with slap bass, drums and electric piano",
        bpm=BPM,
        keyscale="D minor",
        timesignature="4",
        duration=round(5 * BAR_S, 2),
        chords="Dm7 | G7",
        instrumental=True,
        seed=11,
        thinking=False,
        inference_steps=STEPS,
    )
    result = generate_music(mini, None, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    return result.audios[0]


def test_repaint_changes_the_windows_and_not_one_sample_beyond(mini, song) -> None:
    windows = [(BAR_S, 2 * BAR_S), (3 * BAR_S, 4 * BAR_S)]
    result = editing.repaint(mini, song, "funk with a brass solo", windows, seed=1, inference_steps=STEPS)
    assert result.success, result.error
    audio, (report,) = result.audios[0].tensor, result.extra_outputs["seams"]
    changed = torch.zeros(song.tensor.shape[1], dtype=torch.bool)
    for start, end in report["changed"]:
        changed[start:end] = True
    assert torch.equal(audio[:, ~changed], song.tensor[:, ~changed]) and report["untouched_exact"]
    assert int(changed.sum()) <= round((2 * BAR_S + 4 * 0.05) * RATE)
    assert float((audio[:, changed] - song.tensor[:, changed]).square().mean()) > 1e-5
    assert -20 < rms_dbfs(audio[:, changed]) - rms_dbfs(song.tensor[:, changed]) < 4
    assert len(report["edges"]) == 4 and sum(edge["smooth"] for edge in report["edges"]) >= 2


def test_cover_keeps_more_of_the_source_the_stronger_it_is(mini, song) -> None:
    detected = {}
    for strength in (0.0, 0.5, 1.0):
        result = editing.cover(mini, song, "rock with guitar", strength=strength, seed=3, inference_steps=STEPS)
        assert result.success, result.error
        detected[strength] = editing.agreement(song, result.audios[0])["similarity"]
    assert (
        detected[0.0] < detected[1.0] and detected[0.5] > detected[0.0] - 0.1 and detected[1.0] > detected[0.5] - 0.1
    ), detected
    assert detected[0.0] < 0.3, "without the source the cover is another song"


def test_stems_of_the_embedded_model_sum_to_the_mix_exactly(mini, song) -> None:
    result = editing.extract(mini, song, ["drums", "brass"], seed=1, inference_steps=4)
    assert result.success, result.error
    assert torch.equal(sum(audio.tensor for audio in result.audios), result.extra_outputs["mix"])
    assert [fact["track"] for fact in result.extra_outputs["stems"]] == ["drums", "brass"]


def test_lego_plays_a_track_in_time_with_the_backing(mini, song) -> None:
    result = editing.lego(mini, song, "bass", "funky slap bass", seed=1, inference_steps=STEPS)
    assert result.success, result.error
    alone, both = result.audios
    assert rms_dbfs(alone.tensor) > -50
    assert alone.params["plan"]["bpm"] == BPM and both.params["parents"][-1] == alone.key


def test_a_chain_of_all_tasks_touches_no_disk(mini, song, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = {"seed": 1, "inference_steps": 2}
    drums = editing.extract(mini, song, "drums", **steps).audios[0]
    both = editing.lego(mini, drums, "bass", "deep bass", **steps).audios[1]
    full = editing.complete(mini, both, ["keyboard"], "funk with electric piano", **steps).audios[0]
    patched = editing.repaint(mini, full, "drum fill", (4.0, 6.0), **steps).audios[0]
    longer = editing.extend(mini, patched, "funk outro", right_s=2.0, **steps).audios[0]
    covered = editing.cover(mini, longer, "jazz trio", **steps).audios[0]
    for parent, child in (
        (song, drums),
        (drums, both),
        (both, full),
        (full, patched),
        (patched, longer),
        (longer, covered),
    ):
        assert parent.key in child.params["parents"]
    assert longer.tensor.shape[1] == song.tensor.shape[1] + 2 * RATE == covered.tensor.shape[1]
    assert list(tmp_path.iterdir()) == []


def test_the_ear_hears_the_tracks_of_the_song_and_extract_believes_it(mini, song) -> None:
    detected = mini.detect_tracks(song)
    assert detected is not None and min(detected["drums"], detected["bass"]) > 0.5 > max(
        detected["vocals"], detected["strings"]
    )
    result = editing.extract(mini, song, ["drums", "vocals"], seed=1, inference_steps=STEPS)
    assert result.success, result.error
    drums, vocals = result.extra_outputs["stems"]
    assert drums["present"] and drums["heard"] == pytest.approx(detected["drums"], abs=1e-3)
    if vocals["heard"] < UNHEARD_BELOW:
        assert not vocals["present"] and vocals["level_db"] < -50


def _heard_style(mini, caption: str) -> str:
    from acestep_like.models.analysis.evaluator import default_evaluator

    params = GenerationParams(caption=caption, duration=12, seed=4, thinking=False, instrumental=True)
    result = generate_music(mini, None, params, GenerationConfig(batch_size=1))
    assert result.success, result.error
    return default_evaluator().judge(result.audios[0].tensor).top_style


@pytest.mark.parametrize(
    ("style", "caption"),
    [
        ("metal", "metal music, typical instruments"),
        ("rock", "rock, weird lemon stuff"),
        ("chiptune", "chiptune for my cousin oswin"),
        ("house", "the quarterly house music, as discussed"),
    ],
)
def test_words_that_mean_nothing_do_not_take_a_caption_over(mini, style: str, caption: str) -> None:
    assert _heard_style(mini, caption) == style


def test_one_strange_ending_leaves_most_styles_alone(mini) -> None:
    """Most of six styles are still detected (one in seventeen would be by chance)."""
    styles = ("rock", "chiptune", "house", "reggae", "country", "trap")
    detected = {style: _heard_style(mini, f"{style}, weird lemon stuff") for style in styles}
    assert sum(style == name for style, name in detected.items()) >= 4, detected


def test_the_loudness_of_a_source_changes_no_answer(mini, song) -> None:
    answers, levels = [], []
    for factor in (1.0, 0.01):
        source = (song.tensor * factor, RATE)
        result = editing.extract(mini, source, ["bass", "drums"], seed=2, inference_steps=4)
        assert result.success, result.error
        plan = mini.detect_structure(source)
        codes = mini.convert_src_audio_to_codes(source)
        stems = [{**fact, "heard": round(fact["heard"], 3)} for fact in result.extra_outputs["stems"]]
        answers.append((stems, round(plan.bpm, 1), plan.keyscale, plan.chords, codes))
        levels.append([rms_dbfs(audio.tensor / factor) for audio in result.audios])
    assert answers[0] == answers[1]
    assert levels[1] == pytest.approx(levels[0], abs=0.1)
