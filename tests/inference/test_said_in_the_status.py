"""What was not done as asked is said in the status; what was given wins; recipes are read with distrust."""

from __future__ import annotations

import json

import pytest
import soundfile as sf
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone

import acestep_like
from acestep_like.audio.tags import read_recipe
from acestep_like.editing import complete, cover, extend, extract, lego, repaint
from acestep_like.errors import AceStepError, InputError, NotLoadedError
from acestep_like.inference.api import create_sample, format_sample, generate_music, understand_audio, understand_music
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.results import AudioResult

ONE = GenerationConfig(batch_size=1, seeds=[1])
CODES = "<|audio_code_1|>" * 50


def make(dit=None, lm=None, config=ONE, save_dir=None, **fields):
    fields = {"caption": "x", "thinking": False, **fields}
    result = generate_music(dit or FakeDiT(), lm, GenerationParams(**fields), config, save_dir)
    assert result.success, result.error
    return result


@pytest.mark.parametrize("duration_s", [10.0, 10.99, 12.345, 3.3])
def test_a_given_duration_wins_to_the_sample(duration_s):
    dit = FakeDiT()
    audio = make(dit, duration=duration_s).audios[0]
    assert dit.requests[0].duration_s == duration_s and audio.tensor.shape[1] == round(duration_s * 48000)


def test_codes_of_another_length_give_way_to_the_duration_and_it_is_said():
    dit = FakeDiT()
    result = make(dit, audio_codes=CODES, duration=20)
    assert dit.requests[0].duration_s == 20 and result.audios[0].duration_s == 20
    assert "The audio codes are 10 s and the duration 20 s" in result.status_message
    assert "audio codes are" not in make(audio_codes=CODES, duration=10).status_message


def test_the_language_model_writes_codes_for_all_of_the_duration():
    lm = FakeLM()
    make(lm=lm, duration=10.99, thinking=True)
    assert lm.requests[0].duration_s == 11


def test_a_source_without_use_is_ignored_and_it_is_said():
    dit = FakeDiT()
    result = make(dit, src_audio="no such file.wav")
    assert dit.requests[0].source is None and "src_audio was ignored" in result.status_message


@pytest.mark.parametrize("task", ["cover", "repaint"])
def test_codes_may_stand_for_a_source(task):
    dit = FakeDiT()
    result = make(dit, task_type=task, audio_codes=CODES, repainting_start=2, repainting_end=30)
    assert result.audios[0].duration_s == 10 and dit.requests[0].source is None
    assert dit.requests[0].windows == (((2, -1),) if task == "repaint" else ())


def test_clipping_ahead_is_said():
    loud = make(FakeDiT(gain=10), enable_normalization=False)
    assert "Item 1 peaks at +14.0 dBFS" in loud.status_message
    assert "dBFS" not in make(FakeDiT(gain=10)).status_message


def test_extra_outputs_name_spans_and_retakes():
    extra = make(retake_seed=5, retake_variance=0.25, duration=10).extra_outputs
    assert extra["spans"] == [("full", 0, 250)]
    assert (extra["retake_seed_value"], extra["retake_variance"]) == ("5", 0.25)


def test_files_name_their_sources_without_a_folder(tmp_path):
    home = tmp_path / "private"
    home.mkdir()
    for name in ("song.wav", "voice.wav"):
        sf.write(home / name, tone(11).numpy().T, 48000)
    result = make(
        task_type="cover",
        src_audio=home / "song.wav",
        reference_audio=[str(home / "voice.wav"), (tone(3), 48000)],
        save_dir=tmp_path / "out",
    )
    recipe = read_recipe(result.audios[0].path)
    assert recipe["params"]["src_audio"] == "song.wav" and recipe["params"]["src_sha256"]
    assert recipe["params"]["reference_audio"] == ["voice.wav", "<audio in memory [2, 144000] at 48000 Hz>"]
    assert str(tmp_path) not in json.dumps(recipe)
    assert str(tmp_path) not in json.dumps(result.audios[0].params)


@pytest.mark.parametrize(
    ("recorded", "field"),
    [
        ({"bpm": "evil"}, "bpm"),
        ({"bpm": 10**400}, "bpm"),
        ({"bpm": [[[1]]]}, "bpm"),
        ({"keyscale": "C" + " " * 400 + "!"}, "keyscale"),
        ({"timesignature": {"a": 1}}, "timesignature"),
        ({"plan": {"chords": "(((((Am) x64) x64) x64) x64) x64"}}, "chords"),
    ],
)
def test_what_a_recipe_says_wrongly_is_left_out_with_a_note(recorded, field):
    source = AudioResult("", tone(11), "key", 48000, {"keyscale": "D minor", **recorded})
    dit = FakeDiT(fake_checkpoint(guide_version=3))
    result = make(dit, task_type="repaint", src_audio=source, repainting_start=2, repainting_end=4)
    assert f"The recipe of the source was not followed in {field}: " in result.status_message
    item = dit.requests[0].items[0]
    assert item.keyscale == ("" if "keyscale" in recorded or "plan" in recorded else "D minor")


SOURCE = (tone(11), 48000)
FAILING = {
    "generate_music": lambda dit, lm: generate_music(dit, lm, GenerationParams(caption="x"), ONE),
    "understand_audio": lambda dit, lm: understand_audio(dit, lm, SOURCE),
    "understand_music": lambda dit, lm: understand_music(lm, CODES),
    "create_sample": lambda dit, lm: create_sample(lm, "x"),
    "format_sample": lambda dit, lm: format_sample(lm, "x", "y"),
    "cover": lambda dit, lm: cover(dit, SOURCE, "x"),
    "repaint": lambda dit, lm: repaint(dit, SOURCE, "x", (1, 2)),
    "extend": lambda dit, lm: extend(dit, SOURCE, "x", right_s=2),
    "extract": lambda dit, lm: extract(dit, SOURCE, "bass"),
    "lego": lambda dit, lm: lego(dit, SOURCE, "bass", "x"),
    "complete": lambda dit, lm: complete(dit, SOURCE, "bass", "x"),
}


@pytest.mark.parametrize("name", FAILING)
def test_every_failed_result_carries_its_exception(name):
    call = FAILING[name]
    unloaded = call(None, None)
    assert not unloaded.success and isinstance(unloaded.exception, NotLoadedError) and unloaded.error
    refusal = AceStepError("no luck")
    failed = call(FakeDiT(fail=refusal), FakeLM(fail=refusal))
    assert not failed.success and failed.exception is refusal and failed.error == "no luck"
    swapped = call(FakeLM(), FakeDiT())
    assert isinstance(swapped.exception, InputError) and "comes first" in swapped.error
    wrong = call("mini", "mini")
    assert isinstance(wrong.exception, InputError) and "got 'mini'" in wrong.error


def test_wrong_callbacks_are_refused_before_anything_runs():
    for name, value in (("progress", 5), ("on_step", "x"), ("cancel", True)):
        dit = FakeDiT()
        result = generate_music(dit, None, GenerationParams(caption="x"), ONE, **{name: value})
        assert result.error and result.error.startswith(f"{name}: got ") and not dit.requests


def test_errors_are_exported_at_the_top():
    assert acestep_like.InputError is InputError and acestep_like.AceStepError is AceStepError
    assert set(acestep_like.__all__) <= set(dir(acestep_like))
