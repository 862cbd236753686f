"""What the model writes is read field by field; what is not legal is left out and said."""

from __future__ import annotations

import pytest

from acestep_like.models.lm.parse import parse_answer, raw_fields
from acestep_like.types.audio_codes import format_codes, parse_codes

WHOLE = (
    "<think>\nbpm: 84\ncaption: A warm track\n  with piano: soft and low\nduration: 30\ngenres: lo-fi\n"
    "keyscale: F# minor\nlanguage: en\ntimesignature: 4\n</think>\n\n# Lyric\n[Verse]\nhello\n<|im_end|>"
)


def test_whole_answer() -> None:
    answer = parse_answer(WHOLE)
    assert answer.metadata == {
        "bpm": 84,
        "caption": "A warm track with piano: soft and low",
        "duration": 30,
        "genres": "lo-fi",
        "keyscale": "F# minor",
        "language": "en",
        "timesignature": "4",
    }
    assert answer.lyrics == "[Verse]\nhello"
    assert answer.notes == ()


def test_codes_round_trip() -> None:
    codes = [0, 5, 1023, 63999]
    text = format_codes(codes)
    assert text == "<|audio_code_0|><|audio_code_5|><|audio_code_1023|><|audio_code_63999|>"
    assert parse_codes(f"noise {text} <|audio_code_x|> more") == codes


def test_missing_tags_end_the_thought_at_the_first_code() -> None:
    assert parse_answer("bpm: 90\nkeyscale: C major\n<|audio_code_3|>").metadata == {"bpm": 90, "keyscale": "C major"}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("bpm: 29", "bpm"),
        ("bpm: 301", "bpm"),
        ("bpm: fast", "bpm"),
        ("bpm: -90", "bpm"),
        ("duration: 9", "duration"),
        ("duration: 601", "duration"),
        ("keyscale: H major", "keyscale"),
        ("keyscale: C Major", "keyscale"),
        ("language: english", "language"),
        ("timesignature: 5", "timesignature"),
        ("caption: ", "caption"),
    ],
)
def test_illegal_values_are_left_out_with_a_note(line: str, field: str) -> None:
    answer = parse_answer(f"<think>\n{line}\nbpm : 3\n</think>")
    assert field not in answer.metadata
    assert len(answer.notes) == 1 and field in answer.notes[0]


def test_unknown_fields_and_prose_are_ignored() -> None:
    assert parse_answer("<think>\nHm, let me see.\nmood: sad\nBPM: 100\n</think>").metadata == {"bpm": 100}


def test_quoted_values_lose_their_quotes() -> None:
    assert raw_fields("language: 'no'\ncaption: \"a\\x3C/think>: b\"") == {"language": "no", "caption": "a</think>: b"}


def test_broken_quotes_stay_as_written() -> None:
    assert raw_fields("caption: 'tis a song") == {"caption": "'tis a song"}


@pytest.mark.parametrize("header", ["# Lyric\n", "# Lyrics\n", "#Lyric\n", "# lyric \n", ""])
def test_lyrics_header_is_dropped(header: str) -> None:
    assert parse_answer(f"<think>\n\n</think>\n\n{header}[Verse]\nla").lyrics == "[Verse]\nla"


def test_empty_answer() -> None:
    answer = parse_answer("")
    assert answer.metadata == {} and answer.lyrics == ""


def test_what_the_caller_gave_is_not_judged_as_the_models_answer() -> None:
    text = "<think>\nbpm: 90\nduration: 5\n</think>"
    assert parse_answer(text, given={"duration"}).notes == ()
    assert parse_answer(text, given={"duration"}).metadata == {"bpm": 90}
    assert "duration '5'" in parse_answer(text).notes[0]
