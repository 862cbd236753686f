"""`create_sample` and `format_sample` keep what people wrote: style, instruments, denials, words, language."""

from __future__ import annotations

import pytest
from requests_of_people import REQUESTS

from acestep_like.inference.api import create_sample, format_sample, understand_music
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.lm.voice import is_instrumental, is_written_in
from acestep_like.music.caption import detect_style
from acestep_like.music.instruments import caption_tracks, named_tracks
from acestep_like.music.sections import sung_lines


@pytest.fixture(scope="module")
def lm() -> LLMHandler:
    return LLMHandler.from_pretrained("mini", device="cpu")


@pytest.mark.parametrize(("query", "style", "voice"), REQUESTS[::3], ids=str)
def test_a_request_gets_its_style_and_its_voice(query: str, style: str, voice: str, lm: LLMHandler) -> None:
    sample = create_sample(lm, query, seed=5)
    assert sample.success, sample.error
    if style:
        assert detect_style(sample.caption) == style and detect_style(sample.genres) == style, sample.caption
    assert not set(caption_tracks(query).denied) & set(named_tracks(sample.caption)), sample.caption
    assert set(named_tracks(query)) <= set(named_tracks(sample.caption)), sample.caption
    assert is_instrumental(sample.lyrics) == sample.instrumental == (voice == "none"), "instrumental where asked only"
    if voice not in ("", "none"):
        assert sung_lines(sample.lyrics) or "give lyrics of your own" in sample.status_message
    if voice not in ("", "none", "any"):
        assert sample.language == voice
        assert not sample.lyrics or is_written_in(sample.lyrics, voice), sample.lyrics


@pytest.mark.parametrize("language", ["en", "de", "pt"])
def test_a_language_that_the_model_knows_is_sung(language: str, lm: LLMHandler) -> None:
    sample = create_sample(lm, "a rock song", vocal_language=language, seed=3)
    assert sample.language == language and len(sung_lines(sample.lyrics)) >= 4
    assert is_written_in(sample.lyrics, language), sample.lyrics


def test_a_language_that_it_does_not_know_is_said_to_be_missing(lm: LLMHandler) -> None:
    sample = create_sample(lm, "a rock song", vocal_language="ja", seed=3)
    assert sample.success and (sample.lyrics, sample.language) == ("", "ja")
    assert "no lyrics in Japanese" in sample.status_message


LYRICS = {
    "upstream's example": "[Verse]\nIn the darkness I find my way...",
    "no tags": "Walking down the street today\nThinking of the words you used to say",
    "headings": "Verse 1:\nBailando en la noche\n\nChorus:\nOtra vez, otra vez",
    "another script": "[Verse]\n夏の空を見上げて\n君を思う",
    "long": "\n\n".join(
        f"[Verse {k}]\n" + "\n".join(f"line {j} of verse {k}, never to be lost" for j in range(6)) for k in range(12)
    ),
}


@pytest.mark.parametrize("name", LYRICS)
def test_given_lyrics_are_kept_word_for_word(name: str, lm: LLMHandler) -> None:
    formatted = format_sample(lm, "rock ballad", LYRICS[name], seed=2)
    assert formatted.success and sung_lines(formatted.lyrics) == sung_lines(LYRICS[name])


@pytest.mark.parametrize(
    "caption",
    [
        "rock ballad",
        "Latin pop, reggaeton, no drums",
        "jazz trio with piano, upright bass and brush drums, without sax",
    ],
)
def test_a_given_caption_keeps_its_words(caption: str, lm: LLMHandler) -> None:
    for seed in range(3):
        formatted = format_sample(lm, caption, "[Verse]\nla", seed=seed)
        assert formatted.caption.startswith(caption)
        assert detect_style(formatted.caption) == detect_style(caption), formatted.caption
        assert not set(caption_tracks(caption).denied) & set(named_tracks(formatted.caption)), formatted.caption


def test_long_captions_are_taken(lm: LLMHandler) -> None:
    caption = "warm jazz with piano, " * 33 + "and brushes"
    formatted = format_sample(lm, caption, "", seed=1)
    assert formatted.success and formatted.caption == caption
    assert create_sample(lm, caption, seed=1).success


def test_a_description_agrees_with_itself(lm: LLMHandler) -> None:
    for k in range(4):
        codes = "".join(f"<|audio_code_{(97 * k + 13 * j) % 2000 % lm.code_count}|>" for j in range(100))
        read = understand_music(lm, codes, seed=k)
        assert read.success and set(named_tracks(read.caption)) <= set(read.tracks), read.caption
        assert detect_style(read.caption) in (detect_style(read.genres), None), read.caption


@pytest.mark.parametrize(("words", "mode"), [("a sad piano song", "minor"), ("happy ukulele tune", "major")])
def test_a_mood_tells_the_mode(words: str, mode: str, lm: LLMHandler) -> None:
    for seed in range(3):
        assert create_sample(lm, words, seed=seed).keyscale.endswith(mode)
