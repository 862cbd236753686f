"""Short texts from anyone cannot freeze a reader or fill the memory: what grows is bounded before it is built."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from acestep_like.errors import InputError
from acestep_like.music.caption import caption_bpm, caption_key, detect_style
from acestep_like.music.chart import MAX_CHART_BARS, MAX_CHORDS_IN_BAR, chart_text, parse_chart, rotated_chart
from acestep_like.music.instruments import named_tracks
from acestep_like.music.planner import caption_facts, plan_song
from acestep_like.music.sections import is_tag, section_of, section_tags
from acestep_like.music.theory import parse_chord, parse_keyscale, parse_timesignature

READERS: tuple[Callable[[str], object], ...] = (
    caption_bpm,
    caption_facts,
    caption_key,
    detect_style,
    is_tag,
    named_tracks,
    parse_chart,
    parse_chord,
    parse_keyscale,
    parse_timesignature,
    section_of,
    section_tags,
)
GENEROUS_S = 5.0
"""All of a reader's hostile texts together take half a second; one that grows faster than its text, hours."""
TEXTS = [
    head + unit * (700 // len(unit)) + tail
    for head, tail in (("", ""), ("C", "!"), ("no a", "!"), ("[", "!"), ("10", "!"), ("bpm", "!"), ("verse", "!"))
    for unit in (" ", "\t", "(", ")", "[", "]", "*", "a ", ", a b", "a-", "1", "-", "\n", "|", "%", ": ", "x2", "no ")
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_readers_take_time_in_proportion_to_the_text(reader: Callable[[str], object]) -> None:
    started = time.process_time()
    for text in TEXTS:
        with suppress(InputError):  # refused in time is as good as read
            reader(text)
        assert time.process_time() - started < GENEROUS_S, f"{reader.__name__}({text[:20]!r}...)"


@pytest.mark.parametrize(
    "chart",
    [
        "(((((Am) x64) x64) x64) x64) x64",
        "verse: Am; chorus: (((Am | F) x64) x64) x64",
        " | ".join(["C"] * (MAX_CHART_BARS + 1)),
        f"({' | '.join(['C'] * 200)}) x64",
    ],
)
def test_a_chart_of_too_many_bars_is_refused_before_it_is_built(chart: str) -> None:
    with pytest.raises(InputError, match="at most 10,000 bars"):
        parse_chart(chart)


@pytest.mark.parametrize("chart", [" ".join(["C"] * 1000), "(C G) x2 " + "Am " * MAX_CHORDS_IN_BAR, "C (Am " * 20])
def test_a_bar_has_room_for_sixteen_chords(chart: str) -> None:
    with pytest.raises(InputError, match="at most 16 chords in a bar|a '\\)' for every"):
        parse_chart(chart)
    assert len(parse_chart("C " * MAX_CHORDS_IN_BAR)[""][0]) == MAX_CHORDS_IN_BAR


def test_long_charts_within_the_limits_are_read() -> None:
    assert len(parse_chart("((Am | F) x64) x64")[""]) == 8192
    plan = plan_song(duration_s=3600, bpm=300, timesignature="2", chords_text="Am | F C")
    assert parse_chart(chart_text(plan))[""][:2] == parse_chart("Am | F C")[""]
    assert rotated_chart(chart_text(plan), 1).startswith("F C | Am | F C")


@pytest.mark.parametrize(
    ("chart", "sentence"),
    [
        ("(Am | F) | C", "how often it is played"),
        ("Am | F) x2", "how often it is played"),
        ("(Am | F", "for every '\\('"),
        ("(Am) x65", "a repeat count from 1 to 64"),
        ("(Am) x" + "9" * 5000, "a repeat count from 1 to 64"),
        ("verse: Am; Verse: F", "two for verse"),
    ],
)
def test_unreadable_groups_are_named(chart: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_chart(chart)


@pytest.mark.parametrize("value", [10**400, 4.5, True, None, [4], "4" * 5000], ids=lambda value: str(type(value)))
def test_what_is_no_time_signature_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        parse_timesignature(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("caption", "tracks"),
    [
        ("no drums, bass or vocals, soft strings", ("strings",)),
        ("no drums, soft strings", ("strings",)),
        ("piano without any strings, or drums", ("keyboard",)),
        ("drum-free guitar", ("guitar",)),
        ("neither a piano nor the bass but flutes", ("woodwinds",)),
    ],
)
def test_denied_instruments_are_not_asked_for(caption: str, tracks: tuple[str, ...]) -> None:
    assert named_tracks(caption) == tracks
