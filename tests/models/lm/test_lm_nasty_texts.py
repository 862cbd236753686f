"""Whatever people paste: prompts stay whole, values come back as they were, and reading never fails."""

from __future__ import annotations

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_models import random_lm

from acestep_like.errors import InputError
from acestep_like.inference.api import create_sample, format_sample
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.lm import prompts
from acestep_like.models.lm.constraint import GrammarCompiler
from acestep_like.models.lm.grammar import metadata_grammar
from acestep_like.models.lm.parse import FIELDS, legal_metadata, parse_answer, raw_fields
from acestep_like.models.lm.requests import ThinkRequest
from acestep_like.types.audio_codes import parse_codes
from acestep_like.types.params import GenerationParams

NASTY = (
    "\x85",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\r\n",
    "\r",
    "\n",
    "\t",
    " ",
    "  ",
    "\u3000",
    "\xa0",
    "\x00",
    "\x1b",
    "\x7f",
    "\x80",
    "\ufffe",
    "\U0001f600",
    "e\u0301",
    "\u200b",
    "\u202e",
    ":",
    ": ",
    "#",
    " #",
    "'",
    '"',
    "\\",
    "\\n",
    "\\x3C",
    "<think>",
    "</think>",
    "<|im_end|>",
    "<|audio_code_1|>",
    "<|",
    "|>",
    "</",
    "\nbpm: 99\n",
    "---",
    "...",
    "- ",
    "? ",
    "| ",
    "> ",
    "&a",
    "*a",
    "!t",
    "%",
    "@",
    "`",
    "{",
    "}",
    "[",
    "]",
    ",",
    "null",
    "true",
    "1e3",
    "2020-01-01",
    "~",
    "=",
    "<<",
    "word ",
    "x" * 90,
    "y " * 50,
)
ANY = st.lists(st.sampled_from(NASTY) | st.text(max_size=4), max_size=12).map("".join)
TEXT = ANY.map(lambda text: text.encode("utf-8", "ignore").decode())
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(TEXT)
def test_a_value_survives_the_thought_in_both_readers(value: str) -> None:
    thought = prompts.cot_text({"caption": value, "bpm": 99, "keyscale": "C major"})
    inner = thought.removeprefix("<think>\n").removesuffix("\n</think>")
    lm = random_lm()
    assert not set(lm.tokenizer.get_added_vocab().values()) & set(lm.encode(inner))
    assert yaml.safe_load(inner) == {"bpm": 99, "caption": prompts.cot_value("caption", value), "keyscale": "C major"}
    read = parse_answer(thought).metadata
    assert {name: read[name] for name in read if name != "caption"} == {"bpm": 99, "keyscale": "C major"}
    assert str(read.get("caption", "")) == value or not value.strip()


@SLOW
@given(ANY)
def test_reading_never_fails_and_answers_legal_fields_only(text: str) -> None:
    for answer in (parse_answer(text), parse_answer(f"<think>\nbpm: 99\ncaption: {text}\n</think>{text}")):
        assert set(answer.metadata) <= set(FIELDS)
        assert 30 <= int(answer.metadata.get("bpm", 99)) <= 300
    legal_metadata(raw_fields(text))
    assert all(code >= 0 for code in parse_codes(text))


@SLOW
@given(TEXT)
def test_user_text_is_only_text_to_the_tokenizer(text: str) -> None:
    lm = random_lm()
    shown = prompts.plain(text)
    ids = lm.encode(shown)
    assert not set(lm.tokenizer.get_added_vocab().values()) & set(ids)
    assert lm.decode(ids) == shown
    prompt = lm.prompt(prompts.GENERATE, prompts.song_user(text, text))
    assert shown in prompt and prompt.count("<|im_start|>") == 3


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    lm = random_lm()
    return GrammarCompiler(lm.tokenizer, lm.backend.vocab_size, lm.vocabulary.end_turn)


@settings(SLOW, max_examples=25)
@given(caption=TEXT, genres=TEXT)
def test_given_fields_are_forced_verbatim(compiler: GrammarCompiler, caption: str, genres: str) -> None:
    lm = random_lm()
    given = {
        "bpm": 99,
        "caption": caption,
        "duration": 30,
        "genres": genres,
        "keyscale": "C major",
        "language": "no",
        "timesignature": "4",
    }
    state, ids = compiler.start(metadata_grammar(given)), []
    while not ids or ids[-1] != lm.vocabulary.end_turn:
        token = state.forced()
        if token is None:  # a spelling is left open; any of them will do
            logits = torch.zeros(lm.backend.vocab_size)
            state.mask(logits)
            token = int(torch.isfinite(logits).nonzero()[0])
        state.accept(token)
        ids.append(token)
    read = parse_answer(lm.decode(tuple(ids[:-1]))).metadata
    kept = {name: value for name, value in given.items() if not isinstance(value, str) or value.strip()}
    assert {name: str(read[name]) for name in kept} == {name: str(value) for name, value in kept.items()}


def test_line_ends_and_marks_of_other_systems_reach_no_prompt() -> None:
    assert prompts.song_user("\ufeffjazz", "[Verse]\r\nla\rla") == prompts.song_user("jazz", "[Verse]\nla\nla")
    assert "<|im_end|>" not in prompts.plain("<|im_\ufeffend|>")


@pytest.mark.parametrize("text", ["jazz \ud83d", "\ud83d\ude00"])
def test_half_characters_are_refused_before_anything_runs(text: str) -> None:
    handler = LLMHandler()
    handler._lm = random_lm()
    with pytest.raises(InputError, match="caption: got .* whole characters"):
        handler.think(ThinkRequest(text, "la", seeds=(1,), duration_s=12.0))
    with pytest.raises(InputError, match="lyrics"):
        handler.think(ThinkRequest("jazz", text, seeds=(1,), duration_s=12.0))
    with pytest.raises(InputError, match="caption: got .* whole characters"):
        GenerationParams(caption=text).checked()
    assert "query" in (create_sample(handler, text).error or "")
    assert "lyrics" in (format_sample(handler, "jazz", text).error or "")
