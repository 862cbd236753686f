"""Whatever the model wants to say, a constrained answer is legal metadata with the user's fields in it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import hypothesis
import pytest
import torch
import xgrammar
import yaml
from hypothesis import settings
from hypothesis import strategies as st
from lm_models import random_lm

from acestep_like.models.lm.base import Grammar
from acestep_like.models.lm.constraint import GrammarCompiler
from acestep_like.models.lm.grammar import Lyrics, _duration_rule, metadata_grammar
from acestep_like.models.lm.parse import FIELDS, parse_answer
from acestep_like.models.lm.requests import Metadata
from acestep_like.music.theory import LANGUAGES, TIME_SIGNATURES

AWKWARD = (
    'Upbeat: "rock" #1',
    "it's 'quoted'",
    "# heading",
    "- list\n- of\nthings",
    "a\n\nb: c",
    "emoji 😀 ♭♯ 音楽",
    "</think>",
    "<|audio_code_1|><|im_end|>",
    "key: value: other",
    "true",
    "no",
    "12",
    "\ttab",
    "{x}",
    "[Verse]",
    "`tick`",
    "back\\slash \\n",
    "* &anchor !tag | > % @",
    "…  ends ",
    "null",
    "~",
    "x" * 300,
)


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    lm = random_lm()
    return GrammarCompiler(lm.tokenizer, lm.backend.vocab_size, lm.vocabulary.end_turn)


def scribble(
    compiler: GrammarCompiler, grammar: Grammar, rng: random.Random, limit: int = 800
) -> tuple[str, bool, int]:
    """The text of a model whose logits are noise, with random leanings, whether it ended by itself, and how many of
    its tokens were drawn from logits."""
    lm = random_lm()
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    leaning = torch.randn(lm.backend.vocab_size, generator=generator) * rng.choice((0.0, 1.0, 4.0))
    for token in ("Ċ", "ĠĠ", "Ġ", "ĊĊ"):
        id_ = lm.tokenizer.convert_tokens_to_ids(token)
        if isinstance(id_, int) and rng.random() < 0.5:
            leaning[id_] += rng.choice((0.0, 3.0, 8.0))
    state, ids, drawn = compiler.start(grammar), [], 0
    while len(ids) < limit:
        token = state.forced()
        if token is None:
            drawn += 1
            logits = torch.randn(lm.backend.vocab_size, generator=generator) * rng.choice((0.3, 3.0)) + leaning
            state.mask(logits)
            token = int(logits.argmax())
        state.accept(token)
        if token == lm.vocabulary.end_turn:
            return lm.decode(tuple(ids)), True, drawn
        ids.append(token)
    return lm.decode(tuple(ids)), False, drawn


def random_fields(rng: random.Random) -> tuple[Metadata, set[str]]:
    values: Metadata = {
        "bpm": rng.randint(30, 300),
        "caption": rng.choice(AWKWARD),
        "duration": rng.randint(10, 600),
        "genres": rng.choice(AWKWARD),
        "keyscale": rng.choice(("Bb minor", "F♯ major", "C major")),
        "language": rng.choice(LANGUAGES),
        "timesignature": rng.choice(TIME_SIGNATURES),
    }
    given = {name: value for name, value in values.items() if rng.random() < 0.35}
    return given, {name for name in ("caption", "genres", "language") if name not in given and rng.random() < 0.4}


def test_noise_always_parses_back_to_legal_metadata(compiler: GrammarCompiler) -> None:
    rng = random.Random(5)
    decisions = 0
    for _ in range(150):
        given, skip = random_fields(rng)
        grammar = metadata_grammar(given, skip=skip, longest_s=rng.choice((60, 240, 600)))
        text, ended, drawn = scribble(compiler, grammar, rng)
        assert ended, text
        decisions += drawn
        answer = parse_answer(text)
        assert answer.notes == (), text
        assert list(answer.metadata) == [name for name in FIELDS if name not in skip]
        for name, value in given.items():
            assert answer.metadata[name] == value, text
        assert "<|audio_code_" not in text and text.count("</think>") == 1
    assert decisions > 5000


def test_lyrics_after_the_thought_hold_no_control_tokens(compiler: GrammarCompiler) -> None:
    rng = random.Random(6)
    for _ in range(15):
        text, _, _ = scribble(compiler, metadata_grammar({}, lyrics=Lyrics.FREE), rng, limit=1200)
        tail = text.split("</think>", 1)
        assert len(tail) == 2 and "<" not in tail[1]


@pytest.mark.parametrize("longest", [10, 19, 30, 60, 99, 100, 101, 109, 120, 199, 200, 240, 255, 599, 600, 601])
def test_duration_rule_holds_exactly_the_range(longest: int) -> None:
    pattern = re.sub(r'"(\d+)"', r"\1", _duration_rule(longest)).replace(" ", "")
    matches = [n for n in range(0, 1000) if re.fullmatch(pattern, str(n))]
    assert matches == list(range(10, longest + 1))


def test_forced_text_is_spelt_as_the_tokenizer_spells_it(compiler: GrammarCompiler) -> None:
    """A model that would split every literal into bytes still gets the tokens it was trained on."""
    lm = random_lm()
    given: Metadata = {
        "bpm": 120,
        "caption": "A slow jazz piece",
        "duration": 30,
        "keyscale": "C# minor",
        "language": "unknown",
        "timesignature": "4",
    }
    state, ids = compiler.start(metadata_grammar(given, skip={"genres"})), []
    while True:
        token = state.forced()
        if token is None:
            break
        state.accept(token)
        ids.append(token)
    text = (
        "<think>\nbpm: 120\ncaption: A slow jazz piece\nduration: 30\nkeyscale: C# minor\nlanguage: unknown\n"
        "timesignature: 4\n</think>"
    )
    assert tuple(ids) == lm.encode(text)


def test_debug_logs_the_masks(compiler: GrammarCompiler, caplog: pytest.LogCaptureFixture) -> None:
    state = compiler.start(metadata_grammar({}), debug=True)
    with caplog.at_level("INFO", logger="acestep_like.models.lm.constraint"):
        state.mask(torch.zeros(random_lm().backend.vocab_size))
    assert "tokens allowed" in caplog.text


def test_states_do_not_share_anything(compiler: GrammarCompiler) -> None:
    grammar = metadata_grammar({"bpm": 99})
    first, second = compiler.start(grammar), compiler.start(grammar)
    for _ in range(4):
        token = first.forced()
        assert token is not None
        first.accept(token)
    fresh = compiler.start(grammar)
    assert second.forced() == fresh.forced()


PIECES = (
    "a the piano, 808 bass: soft; don't rock'n'roll \"epic\" (live) 90s #1 - – 音楽的なサウンドがとても長く続く文章。"
    " café R&B: A/B ½ x:y http://a.b/c :) <3 50% @home & * ! ? [Verse] {x} ~ = | > `tick` \\ back\\slash 😀"
    " very-long-hyphenated-compound-word-that-never-ends-and-goes-on-and-on-far-beyond-eighty-columns"
).split(" ")
PROSE = st.lists(st.sampled_from(PIECES) | st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def unconstrained_fields(compiler: GrammarCompiler) -> Callable[[str], bool]:
    """Says whether the grammar of an answer without any given field accepts a text."""
    compiled = compiler._compiler.compile_grammar(metadata_grammar({}).ebnf)
    return lambda text: bool(xgrammar.GrammarMatcher(compiled).accept_string(text))


@settings(deadline=None, max_examples=300)
@hypothesis.given(words=PROSE, glue=st.sampled_from((" ", " ", "  ", "\n", ", ")))
def test_every_caption_as_pyyaml_dumps_it_is_accepted(
    words: list[str], glue: str, unconstrained_fields: Callable[[str], bool]
) -> None:
    """The published models were trained on `yaml.dump(metadata, allow_unicode=True, sort_keys=True)`."""
    caption = glue.join(words).replace("\x85", " ").replace("\u2028", " ").replace("\u2029", " ")
    hypothesis.assume(caption.strip() and "<" not in caption.replace("<3", ""))
    fields = {"bpm": 120, "duration": 30, "genres": "rock & roll", "keyscale": "C major", "language": "en"}
    dumped = yaml.dump({**fields, "caption": caption, "timesignature": 4}, allow_unicode=True, sort_keys=True)
    text = f"<think>\n{dumped.strip()}\n</think>"
    assert unconstrained_fields(text), dumped
    assert yaml.safe_load(dumped)["caption"] == caption
    assert str(parse_answer(text).metadata["caption"]).split() == caption.split()


def test_a_caption_has_512_tokens_and_not_so_many_characters(compiler: GrammarCompiler) -> None:
    lm = random_lm()
    state = compiler.start(metadata_grammar({}, skip={"genres"}))
    for token in lm.encode("<think>\nbpm: 120\ncaption: a"):
        state.accept(token)
    written = []
    for _ in range(560):  # a model that would go on for ever
        token = state.forced()
        written.append(lm.encode("a")[0] if token is None else token)
        state.accept(written[-1])
        if lm.decode(tuple(written)).endswith("\nduration:"):
            break
    text = lm.decode(tuple(written))
    assert text.endswith("a\nduration:") and 500 < text.count("a") <= 516
