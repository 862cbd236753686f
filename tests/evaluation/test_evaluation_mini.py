"""The evaluation itself: right answers score, wrong ones fall to chance, a run resumes, reports are honest."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from acestep_like.evaluation import clip_cache as studio
from acestep_like.evaluation import clip_metrics as clips
from acestep_like.evaluation import mini, reference, task_measures, tasks
from acestep_like.evaluation.prompts import FREE_PROMPTS, held_out_prompts, prompt_of, song_of
from acestep_like.models.analysis.evaluator import Evaluator, EvaluatorConfig, EvaluatorNet
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.theory import KeyScale


@pytest.fixture(scope="module")
def prompts():
    return held_out_prompts(24, 16.0)


@pytest.fixture(scope="module")
def evaluator():
    torch.manual_seed(0)
    return Evaluator(EvaluatorNet(EvaluatorConfig(styles=("jazz", "rock"))))


def perfect(prompt) -> clips.Measures:
    """What would be measured in a clip that follows its prompt in everything."""
    key = prompt.plan.keyscale
    return {
        "bpm": float(prompt.bpm),
        "degrees": [1] * 6,
        "decoy_degrees": [1, 0, 0, 0, 0, 0],
        "tonic": key.tonic,
        "mode": key.mode,
        "timesignature": prompt.timesignature,
        "sections": [1.0],
        "section_chance": 0.2,
        "style": prompt.style,
        "tracks": {name: float(name in prompt.tracks) for name in TRACK_NAMES},
        "embedding": [0.0, 1.0],
    }


def test_prompts_are_held_out_and_ask_for_everything_that_is_measured(prompts):
    from acestep_like.training import corpus

    assert all(prompt.seed in corpus.SPLITS["test"] for prompt in prompts)
    assert {prompt.style for prompt in prompts} == set(corpus.STYLES)
    assert len({prompt.timesignature for prompt in prompts}) >= 3
    for prompt in prompts:
        assert prompt.plan.chords and prompt.plan.sections and prompt.plan.bpm == prompt.bpm
        for track in song_of(prompt).tracks[:1]:
            assert track.name in prompt.caption


def test_the_real_song_of_a_prompt_plays_the_same_plan(prompts):
    for prompt in prompts:
        song = song_of(prompt)
        assert song.plan == prompt.plan
        assert prompt_of(song).plan.chords[:3] == prompt.plan.chords[:3]


@pytest.mark.parametrize("count", [2, 7, 14, 24])
def test_chance_is_never_measured_against_the_song_itself(prompts, count):
    some = prompts[:count]
    assert all(decoy.seed != prompt.seed for prompt, decoy in zip(some, reference.decoys(some), strict=True))


def test_free_prompts_are_many_and_name_known_styles():
    from acestep_like.training import corpus

    assert len(FREE_PROMPTS) >= 40
    assert {style for prompt in FREE_PROMPTS for style in prompt.styles} == set(corpus.STYLES)
    assert sum(prompt.bpm is not None for prompt in FREE_PROMPTS) >= 12


def test_perfect_clips_score_one_and_shuffled_ones_far_less(prompts):
    found = clips.figures([perfect(prompt) for prompt in prompts], prompts)
    for figure in found.values():
        assert figure.value == pytest.approx(1.0), figure.name
        assert figure.chance is not None and figure.chance < 0.6, figure.name


def test_wrong_answers_score_zero(prompts):
    wrong = [
        {**perfect(prompt), "bpm": prompt.bpm * 1.25, "degrees": [0, 0], "style": "none", "sections": [0.8]}
        for prompt in prompts
    ]
    found = clips.figures(wrong, prompts)
    for name in ("tempo, styles with drums", "chord degree of the bar", "style"):
        assert found[name].value == 0.0
    assert found["greatest change where a section begins"].value == 0.0


def test_figures_repeat_and_carry_errors(prompts):
    measured = [perfect(prompt) for prompt in prompts]
    measured[0] = {**measured[0], "style": "none"}
    once, twice = clips.figures(measured, prompts), clips.figures(measured, prompts)
    assert once == twice
    assert 0 < once["style"].error < 0.1


@pytest.mark.parametrize(
    ("detected", "asked", "meter", "agrees"),
    [
        (120, 120, "4", True),
        (60, 120, "4", True),
        (240, 120, "4", True),
        (124, 120, "4", True),
        (126, 120, "4", False),
        (90, 60, "4", False),
        (90, 60, "6", True),
        (180, 60, "6", True),
        (80, 60, "6", False),
    ],
)
def test_octaves_of_a_tempo_agree(detected, asked, meter, agrees):
    assert clips.tempo_agrees(detected, asked, meter) is agrees


def test_keys_with_the_same_notes_agree():
    assert clips.same_notes(0, "major", KeyScale(9, "minor"))
    assert clips.same_notes(2, "dorian", KeyScale(0, "major"))
    assert clips.same_notes(9, "minor", KeyScale(9, "harmonic minor"))
    assert not clips.same_notes(7, "major", KeyScale(0, "major"))


def test_noise_is_measured_near_chance(prompts, evaluator):
    def noise(params, seed):
        return torch.randn(2, 16 * 48000, generator=torch.Generator().manual_seed(seed)) * 0.1, {}

    measured = mini.measure_held_out(noise, prompts[:3], evaluator, thinking=False)
    found = clips.figures(measured, prompts[:3])
    assert found["chord degree of the bar"].value < 0.4
    json.dumps(measured)


def test_free_text_needs_plan_and_sound_to_agree():
    slow = replace(FREE_PROMPTS[0], bpm=(40.0, 92.0))
    assert mini.tempo_honoured(slow, 80, "4", 160.0)
    assert not mini.tempo_honoured(slow, 80, "4", 100.0)
    assert not mini.tempo_honoured(slow, 120, "4", 120.0)
    fast = replace(FREE_PROMPTS[0], bpm=(118.0, 200.0))
    assert mini.tempo_honoured(fast, 90, "6", 90.0)


def test_free_figures_count_prompts_without_tempo_words_by_style_alone():
    rows = [
        {
            "text": p.text,
            "style": p.styles[0],
            "bpm_planned": sum(p.bpm) / 2 if p.bpm else 300.0,
            "bpm_detected": sum(p.bpm) / 2 if p.bpm else 1.0,
            "timesignature": "4",
        }
        for p in FREE_PROMPTS
    ]
    found = mini.free_figures(rows)
    assert found["free text: style and tempo words"].value == 1.0
    assert found["free text: tempo words"].count < len(FREE_PROMPTS)
    assert found["free text: style"].chance < 0.3


def test_texture_distance_is_zero_for_the_same_and_positive_for_another():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 48000 * 2, generator=generator) * 0.1
    assert mini.texture_distance(a, a) == 0
    assert mini.texture_distance(a, a * 0.1) > 0.5


def _studio(monkeypatch, folder, calls):
    def generate(dit, lm, params, config):
        calls.append((params.caption, config.seeds))
        if params.caption == "bad":
            return SimpleNamespace(success=False, error="no such thing", audios=[])
        audio = torch.full((2, 100), 0.25)
        recorded = {"seed": config.seeds[0], "caption": params.caption, "windows": [(0, 1)]}
        return SimpleNamespace(success=True, audios=[SimpleNamespace(tensor=audio, params=recorded)])

    monkeypatch.setattr(studio, "generate_music", generate)
    weights = folder / "weights"
    weights.mkdir(exist_ok=True)
    (weights / "model.safetensors").write_bytes(b"abc")
    return studio.Studio(SimpleNamespace(checkpoint=SimpleNamespace(path=weights)), None, folder / "clips")


def test_a_clip_is_made_once_and_found_again(monkeypatch, tmp_path):
    calls: list = []
    first = _studio(monkeypatch, tmp_path, calls)
    audio, recorded = first.make({"caption": "calm", "duration": 12.0}, 5)
    again, kept = _studio(monkeypatch, tmp_path, calls).make({"caption": "calm", "duration": 12.0}, 5)
    assert len(calls) == 1 and torch.equal(audio, again)
    assert recorded == kept == {"seed": 5, "caption": "calm"}
    first.make({"caption": "calm", "duration": 12.0}, 6)
    first.make({"caption": "wild", "duration": 12.0}, 5)
    assert len(calls) == 3
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"other weights")
    retrained = studio.Studio(first.dit, None, tmp_path / "clips")
    retrained.make({"caption": "calm", "duration": 12.0}, 5)
    assert len(calls) == 4


def test_a_failed_generation_stops_the_evaluation_with_its_reason(monkeypatch, tmp_path):
    with pytest.raises(studio.EvaluationError, match="no such thing"):
        _studio(monkeypatch, tmp_path, []).make({"caption": "bad", "duration": 12.0}, 5)
    assert not list((tmp_path / "clips").iterdir())


def test_report_shows_aims_and_chance_beside_the_figures(prompts):
    measured = [perfect(prompt) for prompt in prompts]
    judge = {"held_out": {"rendered": {"style": 0.9}}}
    free = [
        {"text": p.text, "style": p.styles[0], "bpm_planned": 90.0, "bpm_detected": 90.0, "timesignature": "4"}
        for p in FREE_PROMPTS
    ]
    results = {"reference": None, "evaluator": judge, "held_out": {"off": measured}, "free": {"off": free}}
    text = mini.report(results, prompts)
    row = next(line for line in text.splitlines() if line.startswith("| style "))
    assert row.split("|")[2:4] == [" 0.95 ", " 1.000 ±0.000 "]
    assert any(line.startswith("| free text: style | 0.85 | 1.000") for line in text.splitlines())
    assert "Evaluator on held-out songs, rendered: style 0.9" in text


def test_a_reference_is_read_back_and_refused_for_other_lengths(prompts, tmp_path):
    measures = {name: [perfect(p) for p in prompts] for name in ("rendered", "through_codec", "other_songs")}
    kept = {"provenance": {"seconds": 16.0, "count": 24}, "codec": {"songs": 0}, "measures": measures}
    path = tmp_path / "reference.json"
    reference.save_reference(kept, path)
    assert reference.load_reference(24, 16.0, path) == kept
    assert len(reference.load_reference(5, 16.0, path)["measures"]["through_codec"]) == 5
    assert reference.load_reference(100, 16.0, path) == kept
    assert reference.load_reference(24, 12.0, path) is None


# Tasks


def test_si_sdr_of_a_known_mixture():
    generator = torch.Generator().manual_seed(0)
    true, other = torch.randn(2, 48000, generator=generator), torch.randn(2, 48000, generator=generator)
    assert task_measures.si_sdr_db(true * 0.3, true) > 60
    assert task_measures.si_sdr_db(true + 0.1 * other, true) == pytest.approx(20, abs=0.5)


def test_level_does_not_count_in_the_matched_distance():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(2, 48000, generator=generator) * 0.1
    assert task_measures.matched_log_mel_distance(true * 0.2, true) < 0.01


def test_summary_means_leave_out_what_was_not_measured():
    rows = [{"lego: a / ours": 1.0, "lego: a / truth": None}, {"lego: a / ours": 0.0, "lego: a / truth": 0.5}]
    found = tasks.summary(rows)
    assert found["lego: a"]["ours"] == (0.5, pytest.approx(0.3536, abs=1e-3), 2)
    assert found["lego: a"]["truth"][2] == 1
    assert "| a | 0.500 ±0.354 | 0.500 ±0.000 |" in tasks.table(found)


def test_the_other_style_is_another_one(prompts):
    for prompt in prompts:
        assert task_measures.other_style(prompt) != prompt.style
        assert task_measures.other_style(prompt) in task_measures.asked_for(prompt).styles


def test_people_ask_for_every_style():
    from acestep_like.evaluation.prompts import FREE_PROMPTS
    from acestep_like.music.styles import STYLES

    assert {free.styles[0] for free in FREE_PROMPTS} == set(STYLES)


def test_sheet_draws_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    from acestep_like.evaluation.contact_sheet import contact_sheet

    audio = np.random.default_rng(0).standard_normal((2, 48000)).astype(np.float32)
    contact_sheet(
        [("one", audio), ("two", audio), ("three", audio), ("four", audio)], tmp_path / "sheet.png", seconds=1
    )
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
