"""GenerationParams and GenerationConfig: the documented fields, what was given, and the JSON round trip."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

from acestep_like.errors import InputError
from acestep_like.types.audio_codes import read_codes
from acestep_like.types.params import AUDIO_FORMATS, GenerationConfig, GenerationParams, all_specs, windows

# The seed document's listing, field by field.
DOCUMENTED_PARAMS = {
    "task_type": "text2music",
    "instruction": "Fill the audio semantic mask based on the given conditions:",
    "reference_audio": None,
    "src_audio": None,
    "audio_codes": "",
    "caption": "",
    "lyrics": "",
    "instrumental": False,
    "vocal_language": "unknown",
    "bpm": None,
    "keyscale": "",
    "timesignature": "",
    "duration": -1.0,
    "inference_steps": 8,
    "seed": -1,
    "guidance_scale": 7.0,
    "use_adg": False,
    "cfg_interval_start": 0.0,
    "cfg_interval_end": 1.0,
    "shift": 1.0,
    "infer_method": "ode",
    "timesteps": None,
    "repainting_start": 0.0,
    "repainting_end": -1,
    "audio_cover_strength": 1.0,
    "thinking": True,
    "lm_temperature": 0.85,
    "lm_cfg_scale": 2.0,
    "lm_top_k": 0,
    "lm_top_p": 0.9,
    "lm_negative_prompt": "NO USER INPUT",
    "use_cot_metas": True,
    "use_cot_caption": True,
    "use_cot_lyrics": False,
    "use_cot_language": True,
    "use_constrained_decoding": True,
    "cot_bpm": None,
    "cot_keyscale": "",
    "cot_timesignature": "",
    "cot_duration": None,
    "cot_vocal_language": "unknown",
    "cot_caption": "",
    "cot_lyrics": "",
}
DOCUMENTED_CONFIG = {
    "batch_size": 2,
    "allow_lm_batch": False,
    "use_random_seed": True,
    "seeds": None,
    "lm_batch_chunk_size": 8,
    "constrained_decoding_debug": False,
    "audio_format": "flac",
}
LATER = {
    "enable_normalization": True,
    "normalization_db": -1.0,
    "fade_in_duration": 0.0,
    "fade_out_duration": 0.0,
    "latent_shift": 0.0,
    "latent_rescale": 1.0,
    "sampler_mode": "euler",
    "velocity_norm_threshold": 0.0,
    "velocity_ema_factor": 0.0,
    "retake_seed": None,
    "retake_variance": 0.0,
    "cover_noise_strength": 0.0,
    "repaint_mode": "balanced",
    "repaint_strength": 0.5,
    "chunk_mask_mode": "auto",
    "global_caption": "",
}


@pytest.mark.parametrize(("name", "default"), [*DOCUMENTED_PARAMS.items(), *LATER.items()])
def test_params_read_as_documented(name, default):
    assert getattr(GenerationParams(), name) == default


@pytest.mark.parametrize(("name", "default"), DOCUMENTED_CONFIG.items())
def test_config_reads_as_documented(name, default):
    assert getattr(GenerationConfig(), name) == default


def test_defaults_are_accepted_by_their_own_declarations():
    params = GenerationParams(caption="x")
    assert params.checked() == params
    assert GenerationConfig().checked() == GenerationConfig()


@pytest.mark.parametrize("name", ["inference_steps", "shift", "guidance_scale"])
def test_what_the_checkpoint_decides_remembers_whether_it_was_given(name):
    default = DOCUMENTED_PARAMS[name]
    unset, given = GenerationParams(caption="x"), GenerationParams(caption="x", **{name: default})
    assert not unset.given(name) and given.given(name) and getattr(unset, name) == getattr(given, name) == default
    assert not GenerationParams(**{name: None}).given(name)
    changed = GenerationParams()
    setattr(changed, name, default)
    assert changed.given(name)
    for same in (
        copy.copy,
        copy.deepcopy,
        lambda p: pickle.loads(pickle.dumps(p)),
        lambda p: dataclasses.replace(p, caption="other"),
        lambda p: GenerationParams(**dataclasses.asdict(p)),
        lambda p: GenerationParams.from_json(p.to_json()),
        lambda p: GenerationParams.from_dict(p.to_dict()),
    ):
        assert not same(unset).given(name) and same(given).given(name)
        assert getattr(same(unset), name) == default
    assert not unset.checked().given(name) and given.checked().given(name)


def test_json_round_trip_of_everything():
    params = GenerationParams(
        caption="ünï 'x'",
        lyrics="[Verse]\nla",
        bpm=84,
        duration=30.5,
        timesteps=[0.9, 0.5, 0],
        shift=3.0,
        repainting_start=[1, 5.0],
        repainting_end=[2, 6.0],
        chords="Am | F",
        retake_seed=3,
    )
    assert GenerationParams.from_json(params.to_json()) == params
    config = GenerationConfig(batch_size=3, seeds=[1, 2], audio_format="mp3")
    assert GenerationConfig.from_json(config.to_json(indent=1)) == config


def test_audio_in_memory_is_described_in_json():
    data = json.loads(GenerationParams(src_audio=(np.zeros((2, 48000)), 48000)).to_json())
    assert data["src_audio"] == "<audio in memory [2, 48000] at 48000 Hz>"


def test_unknown_fields_name_the_nearest_known_one():
    with pytest.raises(InputError, match="Did you mean 'keyscale'"):
        GenerationParams.from_dict({"keyscales": "C"})
    with pytest.raises(InputError, match="JSON object"):
        GenerationParams.from_json("[1")
    with pytest.raises(InputError, match="mapping"):
        GenerationParams.from_json("[1]")


def test_from_recipe_takes_the_parameters_and_leaves_the_rest():
    recorded = {**GenerationParams(caption="x", bpm=90).to_dict(), "checkpoint": "mini", "cot_keyscale": "C major"}
    assert GenerationParams.from_recipe(recorded) == GenerationParams(caption="x", bpm=90)


def test_numpy_numbers_are_numbers():
    params = GenerationParams(caption="x", bpm=np.int64(90), duration=np.float32(12.5)).checked()
    assert type(params.bpm) is int and type(params.duration) is float


@pytest.mark.parametrize("duration", [None, 0, -1, -5.0])
def test_every_way_to_leave_the_duration_open(duration):
    assert GenerationParams(caption="x", duration=duration).checked().duration == -1.0


@pytest.mark.parametrize(
    "name", [name for name, spec in all_specs().items() if spec.low is not None and name != "timesteps"]
)
def test_the_ends_of_every_range_are_accepted_and_what_lies_beyond_is_not(name):
    spec = all_specs()[name]
    assert spec.check(type(spec.low)(spec.low)) == spec.low
    assert spec.check(spec.high) == spec.high
    if spec.unset_below is None and -1 not in spec.also:
        with pytest.raises(InputError, match=f"^{name}: got "):
            spec.check(spec.low - 1 if spec.low - 1 not in spec.also else spec.low - 2)
    with pytest.raises(InputError, match=f"^{name}: got "):
        spec.check(spec.high + 1)


@pytest.mark.parametrize("name", list(all_specs()))
def test_every_field_has_a_help_a_group_and_says_what_it_accepts(name):
    spec = all_specs()[name]
    assert spec.help.endswith(".") and spec.group and spec.accepted


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bpm", "84", 84),
        ("bpm", "none", None),
        ("duration", "30", 30.0),
        ("timesteps", "0.9,0.5,0", [0.9, 0.5, 0.0]),
        ("repainting_start", "3.5", 3.5),
        ("repainting_start", "1,5", [1.0, 5.0]),
        ("seeds", "1,2", [1, 2]),
        ("instrumental", "True", True),
        ("caption", "a, b", "a, b"),
        ("mp3_sample_rate", "44100", 44100),
    ],
)
def test_values_are_read_from_text(name, text, value):
    assert all_specs()[name].parse(text) == value


def test_codes_are_read_and_refused():
    assert read_codes("<|audio_code_1|> <|audio_code_63999|>\n") == (1, 63999)
    assert read_codes("") == () and read_codes("12, 7 33") == (12, 7, 33)
    for bad in (
        "abc",
        "1;2",
        "-1",
        "<|audio_code_1|>x<|audio_code_2|>",
        "<|audio_code_64000|>",
        "<|audio_code_1|>" * 3001,
    ):
        with pytest.raises(InputError, match=r"^audio_codes: got "):
            read_codes(bad)


def test_windows_are_pairs():
    assert windows(GenerationParams()) == ((0.0, -1.0),)
    assert windows(GenerationParams(repainting_start=[1, 4], repainting_end=[2, -1])) == ((1, 2), (4, -1))


def test_the_formats_are_those_that_can_be_written():
    from acestep_like.audio.formats import FORMATS

    assert set(AUDIO_FORMATS) == set(FORMATS)
