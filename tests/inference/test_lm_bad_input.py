"""The three helpers: one clear sentence for everything that cannot work, and the model never runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from lm_models import random_lm

from acestep_like.inference.api import create_sample, format_sample, understand_music
from acestep_like.llm_inference import LLMHandler

CODES = "<|audio_code_1|>" * 60


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> LLMHandler:
    """A loaded handler whose model must not run."""
    handler = LLMHandler()
    handler._lm = random_lm()
    monkeypatch.setattr(handler._lm.backend, "generate", lambda *_: pytest.fail("the model ran"))
    return handler


CALLS: dict[str, Callable[..., Any]] = {
    "understand": lambda lm, **options: understand_music(lm, CODES, **options),
    "create": lambda lm, **options: create_sample(lm, "a waltz", **options),
    "format": lambda lm, **options: format_sample(lm, "jazz", "[Verse]\nla", **options),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("options", "field", "accepted"),
    [
        ({"temperature": -1}, "temperature", "from 0 to 2"),
        ({"temperature": math.nan}, "temperature", "from 0 to 2"),
        ({"temperature": "hot"}, "temperature", "a number"),
        ({"temperature": True}, "temperature", "a number"),
        ({"top_k": -1}, "top_k", "from 0 to"),
        ({"top_k": 2.5}, "top_k", "a whole number"),
        ({"top_p": 1.01}, "top_p", "from 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty", "above 0"),
        ({"use_constrained_decoding": 1}, "use_constrained_decoding", "True or False"),
        ({"seed": -2}, "seed", "random"),
    ],
    ids=str,
)
def test_absurd_settings(name: str, options: dict[str, Any], field: str, accepted: str, handler: LLMHandler) -> None:
    result = CALLS[name](handler, **options)
    assert not result.success and result.error.startswith(f"{field}: got {next(iter(options.values()))!r}; expected ")
    assert accepted in result.error and "\n" not in result.error
    assert result.status_message == f"Error: {result.error}"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("handler_", [None, LLMHandler()], ids=["none", "empty"])
def test_no_model(name: str, handler_: LLMHandler | None) -> None:
    result = CALLS[name](handler_)
    assert (result.success, result.error) == (False, "LLM not initialized")
    assert result.status_message == "5Hz LM not initialized. Please initialize it first."


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        ("", "No audio codes provided."),
        ("  \n", "No audio codes provided."),
        (None, "audio_codes: got None; expected "),
        (12, "audio_codes: got 12; expected "),
        ("la la la", "audio_codes: got 'la'; expected '<|audio_code_N|>' tokens or numbers"),
        ("<|audio_code_1024|>", "codes from 0 to 1023. They were made for another model than tiny-5Hz-lm."),
        ("<|audio_code_64000|>", "audio_codes: got 64000; expected codes from 0 to 63999."),
        ("<|audio_code_1|>" * 3001, "audio_codes: got '3001 codes'; expected at most 3000."),
    ],
    ids=["empty", "blank", "none", "number", "prose", "other-model", "no-model", "too-long"],
)
def test_bad_codes(codes: Any, sentence: str, handler: LLMHandler) -> None:
    result = understand_music(handler, codes)
    assert not result.success and sentence in (result.error or "")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda lm: create_sample(lm, None), "query: got None; expected a string of at most 4096 characters."),
        (lambda lm: create_sample(lm, "x" * 5000), "(5000 characters); expected a string of at most"),
        (lambda lm: create_sample(lm, "x", instrumental="yes"), "instrumental: got 'yes'; expected True or False."),
        (lambda lm: create_sample(lm, "x", vocal_language="klingon"), "vocal_language: got 'klingon'; expected one of"),
        (lambda lm: format_sample(lm, ["jazz"], ""), "caption: got ['jazz']; expected a string"),
        (lambda lm: format_sample(lm, "jazz", 5), "lyrics: got 5; expected a string"),
        (lambda lm: format_sample(lm, "x", "", user_metadata="bpm 90"), "user_metadata: got 'bpm 90'; expected a dict"),
        (lambda lm: format_sample(lm, "jazz", "", user_metadata={"tempo": 90}), "the keys bpm, duration, keyscale"),
        (lambda lm: format_sample(lm, "jazz", "", user_metadata={"bpm": 900}), "bpm: got 900; expected a"),
        (lambda lm: format_sample(lm, "jazz", "", user_metadata={"keyscale": "H major"}), "keyscale: got 'H major'"),
    ],
)
def test_bad_words(call: Callable[[LLMHandler], Any], sentence: str, handler: LLMHandler) -> None:
    result = call(handler)
    assert not result.success and sentence in result.error, result.error
