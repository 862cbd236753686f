"""The evaluator learns from rendered songs, keeps what it learned in its file, and says what it was measured at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from acestep_like.errors import CheckpointError
from acestep_like.models.analysis.evaluator import (
    Evaluator,
    EvaluatorConfig,
    EvaluatorNet,
    frechet_distance,
    mean_average_precision,
    mel_power,
    normalise,
    pace_of,
)
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.training.evaluator import ClipStore, present_tracks, stem_activity, train_evaluator

RATE = 48000


def _song(seed: int, style: str):
    return SimpleNamespace(seed=seed, style=style, plan=SimpleNamespace(timesignature="4", bpm=70 + 60 * (seed % 2)))


def _audio(seed: int, low: bool) -> torch.Tensor:
    """Noise below 300 Hz or above 5 kHz, 10 s, its level coming and going."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft(torch.randn(2, 10 * RATE, generator=generator))
    frequency = torch.fft.rfftfreq(10 * RATE, 1 / RATE)
    audio = torch.fft.irfft(spectrum * ((frequency < 300) if low else (frequency > 5000)), n=10 * RATE)
    return 0.1 * audio / audio.std()


@pytest.fixture(scope="module")
def store() -> ClipStore:
    filled = ClipStore()
    for seed in range(17):
        low = seed % 2 == 0
        audio = _audio(seed, low)
        filled.add(_song(seed, "low" if low else "high"), audio, {"bass" if low else "drums": audio})
    filled.add_decoded(3, _audio(3, False)[:, : 9 * RATE], start_s=1.0)
    return filled


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluator")
    report = train_evaluator(store, folder, minutes=1, device="cpu", steps=40, batch_size=16, log=lambda line: None)
    return folder, report


def test_training_separates_what_is_easy_to_separate(trained):
    evaluator = Evaluator.load(trained[0])
    detected = [evaluator.judge(_audio(seed, seed % 2 == 0)).style["low"] for seed in (100, 101, 102, 103)]
    assert min(detected[0], detected[2]) > max(detected[1], detected[3])


def test_report_tells_the_held_out_songs_and_is_kept_with_the_weights(trained):
    folder, report = trained
    assert report["songs"] == 16 and report["held_out_songs"] == 1
    assert report["held_out"]["rendered"]["windows"] == 2
    assert Evaluator.load(folder).report == report


def test_saved_weights_are_small_and_judge_alike(trained, tmp_path):
    evaluator = Evaluator.load(trained[0])
    evaluator.save(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 2_000_000
    audio = _audio(7, True)
    a, b = evaluator.judge(audio), Evaluator.load(tmp_path).judge(audio)
    assert a.tracks == b.tracks and np.array_equal(a.embedding, b.embedding)


def test_a_folder_that_is_no_evaluator_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        Evaluator.load(tmp_path)


def test_judgement_does_not_depend_on_level_or_length_of_the_recording():
    torch.manual_seed(0)
    evaluator = Evaluator(EvaluatorNet(EvaluatorConfig(styles=("a", "b"))))
    audio = _audio(1, True)
    loud, quiet = evaluator.judge(audio), evaluator.judge(audio * 0.3)
    assert np.allclose(loud.embedding, quiet.embedding, atol=0.05 * np.abs(loud.embedding).max())
    assert evaluator.judge(audio[:, : 2 * RATE]).embedding.shape == loud.embedding.shape
    assert evaluator.judge(torch.zeros(2, RATE)).top_style in ("a", "b")


def test_mel_frames_match_the_seconds_and_levels_are_removed():
    mel = mel_power(torch.randn(2, 3 * RATE) * 0.1)
    assert mel.shape == (150, 80)
    x = normalise(torch.stack([mel, mel + 1.0]))
    assert torch.allclose(x[0], x[1], atol=0.02)


def test_presence_follows_the_level_of_the_stem_in_the_window():
    mix = torch.randn(2, 4 * RATE) * 0.1
    quiet, half = mix * 0.01, mix.clone()
    half[:, 2 * RATE :] = 0
    levels = stem_activity(mix, {"drums": mix, "fx": quiet, "bass": half})
    assert levels.shape == (20, len(TRACK_NAMES))
    names = [name for name, there in zip(TRACK_NAMES, present_tracks(levels), strict=True) if there]
    assert names == ["bass", "drums"]
    assert not present_tracks(levels[10:])[TRACK_NAMES.index("bass")]


def test_a_decoded_clip_keeps_the_labels_of_its_place_in_the_song(store):
    song, decoded = store.rows[3], store.rows[-1]
    assert decoded.decoded and decoded.style == song.style
    assert decoded.activity_start == song.activity_start + 5
    with pytest.raises(KeyError):
        store.add_decoded(999, _audio(0, True))


def test_frechet_distance_is_zero_for_the_same_and_grows_with_the_shift():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200, 8))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 1) == pytest.approx(8, rel=1e-3)
    assert frechet_distance(a, a + 1) < frechet_distance(a, a + 2)


def test_average_precision_by_hand_and_at_chance():
    present = np.array([[1], [0], [1], [0]], bool)
    assert mean_average_precision(np.array([[4.0], [3], [2], [1]]), present) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_average_precision(np.zeros((4, 1)), present) == pytest.approx(0.5)
    assert np.isnan(mean_average_precision(np.zeros((4, 1)), np.ones((4, 1), bool)))


@pytest.mark.parametrize(("bpm", "pace"), [(60, 0), (88, 0), (100, 1), (122, 1), (150, 2)])
def test_pace_of_a_tempo(bpm, pace):
    assert pace_of(bpm) == pace


def test_the_embedded_evaluator_is_small_and_says_how_good_it_is():
    from acestep_like.models.analysis.evaluator import default_evaluator
    from acestep_like.music.styles import STYLES

    evaluator = default_evaluator()
    held_out = evaluator.report["held_out"]
    assert tuple(evaluator.net.config.styles) == STYLES
    assert held_out["rendered"]["style"] > 5 / len(STYLES)
    assert held_out["rendered"]["tracks_map"] > held_out["rendered"]["tracks_map_chance"]
    assert sum(parameter.numel() for parameter in evaluator.net.parameters()) * 2 < 2_000_000
