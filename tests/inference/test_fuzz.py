"""A thousand odd values through the doors for parameters and JSON: success, or one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acestep_like.errors import InputError
from acestep_like.inference.api import create_sample, format_sample, generate_music, understand_music
from acestep_like.types.params import GenerationConfig, GenerationParams, all_specs
from acestep_like.types.tasks import TASKS


class Unspeakable:
    """An object that fails wherever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


ODD = (
    *(None, True, False, 0, -1, -0.0, 0.5, 1e308, float("nan"), float("inf"), 10**400, -(2**70), 2**63 - 1, 3 + 4j),
    *("", " ", "\0", "\ud800", "\x1b[2J", "９", "nan", "1e999", "9" * 5000, "x" * 10_000, "~nosuchuser/x", "n" * 300),
    *(
        "[Verse]",
        "C major",
        "((((C) x64) x64) x64) x64",
        "C" + " " * 300 + "!",
        "<|audio_code_1|>",
        "1,2,3",
        "{}",
        "()",
    ),
    *(b"", b"RIFF", bytearray(b"x"), Path("~nosuchuser/x"), Path("."), (1, 2), [], {}, {"a": 1}, set(), range(3)),
    *(nested(50_000), [None], [[1]], ["a", 1], [10**400], [float("nan")], ("x", 48000), (tone(1), 10**400)),
    *(np.int64(4), np.float32("nan"), np.zeros(3), np.zeros((2, 3)), np.array("x"), np.array([object()])),
    *(torch.tensor(4), torch.zeros(0), torch.zeros(2, 3), torch.tensor(1 + 2j), (np.zeros((2, 0)), 48000)),
    *(object(), Unspeakable(), [Unspeakable()], type, len, iter(())),
)
VALUES = st.one_of(
    st.sampled_from(range(len(ODD))).map(ODD.__getitem__),
    st.integers(-400, 400),
    st.floats(),
    st.text(max_size=40),
    st.lists(st.one_of(st.integers(-9, 9), st.floats(), st.text(max_size=3)), max_size=4),
)
FIELDS = [name for name, spec in all_specs().items() if not spec.output]
CONFIG_FIELDS = frozenset(name for name in FIELDS if hasattr(GenerationConfig(), name))
GUIDED = fake_checkpoint(guide_version=3, max_duration_s=600.0)
FIXED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(result) -> None:
    """Success, or a sentence about a bad value, in one printable line."""
    if result.success:
        return
    assert isinstance(result.exception, InputError), repr(result.exception)
    assert result.error.isprintable() and len(result.error) < 1500, result.error
    result.status_message.encode("utf-8")


@FIXED
@given(
    st.sampled_from(list(TASKS)),
    st.booleans(),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3),
)
def test_any_parameters_are_made_or_refused_in_a_sentence(task, from_source, odd):
    base = {"caption": "x", "duration": 10, "task_type": task, "instruction": "with bass", "seed": 1}
    if from_source:
        base["src_audio"] = (tone(1), 48000)
    config = {"batch_size": 1, **{name: value for name, value in odd.items() if name in CONFIG_FIELDS}}
    params = {**base, **{name: value for name, value in odd.items() if name not in CONFIG_FIELDS}}
    if params["duration"] == 10 and config["batch_size"] == 1:
        params.setdefault("inference_steps", 1)
    check(generate_music(FakeDiT(GUIDED), FakeLM(), GenerationParams(**params), GenerationConfig(**config)))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_takes_or_refuses_every_odd_value(name):
    for value in ODD:
        if name in CONFIG_FIELDS:
            params, config = {"caption": "x"}, {"batch_size": 1, name: value}
        else:
            params, config = {"caption": "x", "duration": 10, "inference_steps": 1, name: value}, {"batch_size": 1}
        check(generate_music(FakeDiT(GUIDED), None, GenerationParams(**params), GenerationConfig(**config)))


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
NAMES = st.one_of(st.sampled_from([*FIELDS, "think", "language", "prompt"]), st.text(max_size=8))


@FIXED
@given(st.one_of(st.dictionaries(NAMES, JSON_VALUES, max_size=4).map(json.dumps), st.text(max_size=30), st.binary()))
def test_any_json_is_read_or_refused_in_a_sentence(text):
    for kind in (GenerationParams, GenerationConfig):
        try:
            kind.from_json(text).checked()
        except InputError as error:
            assert str(error).isprintable()


@FIXED
@given(VALUES, VALUES, st.dictionaries(st.sampled_from(["bpm", "duration", "keyscale", "language", "x"]), VALUES))
def test_any_words_for_the_language_model_are_taken_or_refused_in_a_sentence(one, other, metadata):
    lm = FakeLM()
    check(create_sample(lm, one, other))
    check(create_sample(lm, "x", vocal_language=one, temperature=other))
    check(format_sample(lm, one, other, metadata))
    check(format_sample(lm, "x", "y", one, top_k=other, seed=one))
    check(understand_music(lm, one, top_p=other))
