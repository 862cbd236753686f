"""A thousand odd values through the doors for parameters and JSON: success, or one clear sentence."""

from __future__ import annotations

import json

import pytest
from fakes import FakeDiT, FakeLM, fake_checkpoint, tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd import ODD, check

from acestep_like.errors import InputError
from acestep_like.inference.api import create_sample, format_sample, generate_music, understand_music
from acestep_like.types.params import GenerationConfig, GenerationParams, all_specs
from acestep_like.types.tasks import TASKS

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
