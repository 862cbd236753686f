"""The JSON schema of parameters says what the declarations say."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from acestep_like.errors import InputError
from acestep_like.types.fields import specs
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.schema import class_schema

CLASSES = (GenerationParams, GenerationConfig)
SCHEMAS = {cls: class_schema(cls) for cls in CLASSES}
FIELDS = [(cls, name) for cls in CLASSES for name in SCHEMAS[cls]["properties"]]


@pytest.mark.parametrize("cls", CLASSES)
def test_the_schema_is_one_and_accepts_the_defaults(cls):
    schema = SCHEMAS[cls]
    Draft202012Validator.check_schema(schema)
    json.dumps(schema, allow_nan=False)
    data = {name: value for name, value in cls().to_dict().items() if name in schema["properties"]}
    Draft202012Validator(schema).validate(data)
    assert list(schema["properties"]) == [name for name, spec in specs(cls).items() if not spec.output]
    assert not Draft202012Validator(schema).is_valid({"banjo": 1})


NUMBERS = st.one_of(st.integers(-700, 70_000), st.floats(-20, 4000), st.sampled_from([-1, 0, 2**63, 48000]))
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.lists(NUMBERS, max_size=3))
READ_BY_THE_CLASS = {"keyscale", "timesignature", "chords", "audio_codes", "src_audio", "reference_audio", "score"}


@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=1500,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.sampled_from(FIELDS), VALUES)
def test_what_the_schema_accepts_the_declaration_accepts(field, value):
    cls, name = field
    if name in READ_BY_THE_CLASS or not Draft202012Validator(SCHEMAS[cls]["properties"][name]).is_valid(value):
        return
    specs(cls)[name].check(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("bpm", 29),
            ("bpm", 301),
            ("duration", 601),
            ("task_type", "remix"),
            ("caption", "x" * 4097),
            ("shift", 5.1),
        ),
        *(("latent_rescale", 0), ("repainting_end", 0), ("timesteps", []), ("timesteps", [1.5]), ("seed", -2)),
    ],
)
def test_what_lies_beyond_a_declaration_is_no_valid_json(name, value):
    assert not Draft202012Validator(SCHEMAS[GenerationParams]).is_valid({name: value})
    with pytest.raises(InputError):
        specs(GenerationParams)[name].check(value)


def test_fields_can_be_left_out():
    assert "src_audio" not in class_schema(GenerationParams, leave_out=["src_audio"])["properties"]
