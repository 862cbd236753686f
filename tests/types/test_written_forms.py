"""Values as people, example files and other programs write them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from acestep_like.errors import InputError
from acestep_like.music.theory import KeyScale
from acestep_like.types.params import ALIASES, GenerationConfig, GenerationParams
from acestep_like.types.seeds import item_seeds


def checked(**fields):
    return GenerationParams(caption="x", **fields).checked()


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("bpm", 0, None),
        ("bpm", 120.0, 120),
        ("bpm", "120", 120),
        ("bpm", "120.0", 120),
        ("bpm", np.int64(90), 90),
        ("bpm", np.array(90), 90),
        ("bpm", torch.tensor(90), 90),
        ("bpm", "none", None),
        ("duration", "12.5", 12.5),
        ("duration", 5, 5.0),
        ("duration", None, -1.0),
        ("timesignature", 4, "4"),
        ("timesignature", 4.0, "4"),
        ("timesignature", "N/A", ""),
        ("timesignature", None, ""),
        ("keyscale", None, ""),
        ("keyscale", "unknown", ""),
        ("vocal_language", "EN", "en"),
        ("vocal_language", "", "unknown"),
        ("vocal_language", None, "unknown"),
        ("vocal_language", "N/A", "unknown"),
        ("task_type", " Text2Music", "text2music"),
        ("thinking", "false", False),
        ("thinking", np.bool_(False), False),
        ("thinking", None, True),
        ("seed", "7", 7),
        ("timesteps", "0.9, 0.5, 0", [0.9, 0.5, 0.0]),
        ("timesteps", np.array([0.9, 0.5]), [0.9, 0.5]),
        ("repainting_start", np.float32(1.5), 1.5),
        ("repainting_start", None, 0.0),
        ("audio_codes", "12,7", "<|audio_code_12|><|audio_code_7|>"),
        ("audio_codes", [12, np.int64(7)], "<|audio_code_12|><|audio_code_7|>"),
        ("audio_codes", np.array([12, 7]), "<|audio_code_12|><|audio_code_7|>"),
        ("audio_codes", "<|audio_code_12|> <|audio_code_7|>", "<|audio_code_12|><|audio_code_7|>"),
    ],
)
def test_a_value_is_read_as_it_is_meant(field, written, meant):
    value = getattr(checked(**{field: written}), field)
    assert value == meant and type(value) is type(meant)


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("seeds", np.array([1, 2]), [1, 2]),
        ("seeds", range(1, 3), [1, 2]),
        ("seeds", (np.int64(1), 2), [1, 2]),
        ("seeds", np.int64(5), [5]),
        ("seeds", "1, 2", [1, 2]),
        ("seeds", [], None),
        ("audio_format", "FLAC", "flac"),
        ("batch_size", "2", 2),
        ("mp3_sample_rate", 48000.0, 48000),
    ],
)
def test_a_setting_is_read_as_it_is_meant(field, written, meant):
    assert getattr(GenerationConfig(**{field: written}).checked(), field) == meant


def test_an_example_file_of_upstream_is_read_as_it_lies_there():
    example = {"think": True, "caption": "a pop song", "lyrics": "[Verse]\nla", "bpm": 0, "duration": 200}
    example |= {"keyscale": "G Major", "language": "EN", "timesignature": 4}
    for text in (json.dumps(example), "\ufeff" + json.dumps(example), b"\xef\xbb\xbf" + json.dumps(example).encode()):
        params, parsed = GenerationParams.from_json(text).parsed()
        assert params.thinking and params.vocal_language == "en" and params.bpm is None
        assert parsed.keyscale == KeyScale(7, "major") and parsed.timesignature == "4"


@pytest.mark.parametrize("alias", ALIASES)
def test_other_names_of_a_field_are_known_and_never_given_twice(alias):
    value = 20 if "duration" in alias else "4" if "signature" in alias else "en" if alias == "language" else ""
    GenerationParams.from_dict({alias: value})
    with pytest.raises(InputError, match="one value"):
        GenerationParams.from_dict({alias: value, ALIASES[alias]: value})


@pytest.mark.parametrize("text", ["[" * 100_000, '{"bpm": ' + "9" * 5000 + "}", "{", b"\xff", None, 5])
def test_what_is_no_json_object_is_refused_in_a_sentence(text):
    with pytest.raises(InputError):
        GenerationParams.from_json(text).checked()


def test_the_positional_order_is_the_documented_one():
    params = GenerationParams("cover", "", None, "a.wav", "", "jazz", "[verse]", True, "en", 90, "C major", "3", 20.0)
    assert (params.vocal_language, params.bpm, params.keyscale, params.timesignature) == ("en", 90, "C major", "3")
    assert params.instrumental is True and params.duration == 20.0


def test_the_seed_after_the_largest_is_the_smallest():
    assert item_seeds(3, [], 2**63 - 2, True) == (2**63 - 2, 2**63 - 1, 0)


@pytest.mark.parametrize("task", ["lego", "extract", "complete"])
def test_long_instructions_are_read_in_no_time(task):
    starts = {"lego": "Generate the ", "extract": "Extract the ", "complete": "Complete the input track with "}
    with pytest.raises(InputError, match="^instruction: got "):
        checked(task_type=task, src_audio="a.wav", instruction=starts[task] + " " * 900 + "!")
