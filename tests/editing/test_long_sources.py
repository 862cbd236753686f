"""Promises of `long_sources.py`: sources beyond the checkpoint's length are worked on in parts, on the bar grid."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from fakes import RATE, FakeDiT, fake_checkpoint, tone

from acestep_like import editing
from acestep_like.editing.long_sources import OVERLAP_S, tile_spans
from acestep_like.music.chart import chart_text, rotated_chart


@pytest.fixture
def dit() -> FakeDiT:
    return FakeDiT(fake_checkpoint(guide_version=1, max_duration_s=12.0))


@pytest.mark.parametrize(
    ("length_s", "limit_s", "bar_s"),
    [(10, 20, 0), (20, 20, 2), (20.5, 20, 2), (61, 20, 2.86), (660, 120, 1.9), (45, 20, 0), (45, 20, 30)],
)
def test_tiles_cover_a_source_with_overlap_and_begin_on_bar_lines(length_s, limit_s, bar_s) -> None:
    spans = tile_spans(length_s, limit_s, bar_s)
    assert spans[0][0] == 0 and spans[-1][1] == length_s
    for (start, end), (following, _) in pairwise(spans):
        assert end - start <= limit_s + 1e-9 and following <= end - OVERLAP_S + 1e-6 and following > start
    if 0 < bar_s < 5:
        assert all(abs(start / bar_s - round(start / bar_s)) < 1e-6 for start, _ in spans)


@pytest.mark.parametrize("name", ["cover", "extract", "lego", "complete"])
def test_a_long_source_is_worked_on_in_tiles_and_joined_to_its_length(name: str, dit) -> None:
    source = (tone(30, 1) * 0.5, RATE)
    run = {
        "cover": lambda **more: editing.cover(dit, source, "jazz", **more),
        "extract": lambda **more: editing.extract(dit, source, "drums", **more),
        "lego": lambda **more: editing.lego(dit, source, "bass", "deep", **more),
        "complete": lambda **more: editing.complete(dit, source, "bass", "deep", **more),
    }[name]
    values: list[float] = []
    result = run(seed=1, progress=lambda value, desc="": values.append(value))
    assert result.success, result.error
    assert result.audios[0].tensor.shape[1] == 30 * RATE
    assert len(dit.requests) == len(result.extra_outputs["tiles"]) == 3
    assert {request.items[0].seed for request in dit.requests} == {1}
    assert float(result.audios[0].tensor.abs().max()) < 2
    assert values == sorted(values)


def test_tiles_carry_the_chords_of_their_own_bars(dit) -> None:
    source = (tone(30, 1) * 0.5, RATE)
    editing.complete(dit, source, "bass", "deep", bpm=120, timesignature="4", chords="Am | F | C | G")
    names = [chart_text(request.items[0].plan).split(" | ") for request in dit.requests]
    assert names[0][:4] == ["Am", "F", "C", "G"]
    assert names[1][:4] == ["F", "C", "G", "Am"]  # 10 s = 5 bars of 2 s later
    assert names[2][:3] == ["C", "G", "Am"]


def test_repaint_of_a_long_source_works_on_the_part_around_the_windows(dit) -> None:
    source = tone(40, 1) * 0.5
    result = editing.repaint(dit, (source, RATE), "piano", [(20.0, 22.0), (24.0, 25.0)])
    assert result.success, result.error
    (request,) = dit.requests
    assert request.source.shape[1] <= 12 * RATE
    audio, (report,) = result.audios[0].tensor, result.extra_outputs["seams"]
    assert audio.shape == source.shape and report["untouched_exact"]
    outside = torch.ones(source.shape[1], dtype=torch.bool)
    for start, end in report["changed"]:
        outside[start:end] = False
    assert torch.equal(audio[:, outside], source[:, outside]) and report["untouched_samples"] == int(outside.sum())
    assert [round(edge["time_s"], 3) for edge in report["edges"]] == [20, 22, 24, 25]
    inside = slice(round(20.5 * RATE), 21 * RATE)
    assert not torch.equal(audio[:, inside], source[:, inside])
    far = editing.repaint(dit, (source, RATE), "piano", [(1.0, 3.0), (35.0, 36.0)])
    assert not far.success and "several calls" in far.error


def test_extend_works_at_the_end_of_a_long_source(dit) -> None:
    source = tone(25, 1) * 0.5
    result = editing.extend(dit, (source, RATE), "more", right_s=5.0)
    assert result.success, result.error
    audio = result.audios[0].tensor
    assert audio.shape[1] == 30 * RATE and torch.equal(audio[:, : 24 * RATE], source[:, : 24 * RATE])
    assert result.extra_outputs["seams"][0]["edges"][0]["time_s"] == pytest.approx(25, abs=1e-3)


def test_charts_rotate_by_bars() -> None:
    assert rotated_chart("Am | F | C G", 1) == "F | C G | Am"
    assert rotated_chart("Am | F | C G", -1) == "C G | Am | F"
    assert rotated_chart("(Am | F) x2 | C", 2) == "Am | F | C | Am | F"
    assert rotated_chart("", 3) == "" and rotated_chart("verse: Am | F", 1) == "verse: Am | F"


def test_windows_of_a_long_source_lie_at_their_time_in_its_tiles(dit) -> None:
    source = tone(30, 1) * 0.5
    result = editing.lego(dit, (source, RATE), "bass", "deep", windows=[(8.0, 11.5), (22.0, 24.0)], seed=1)
    assert result.success, result.error
    track = result.audios[0].tensor
    for start, end, sounds in ((0, 7.9, False), (8.1, 11.4, True), (11.6, 21.9, False), (22.1, 23.9, True)):
        assert bool(track[:, round(start * RATE) : round(end * RATE)].any()) is sounds, (start, end)
    for request in dit.requests:
        assert all(0 <= start < end <= 12 for start, end in request.windows)
    beyond = editing.lego(dit, (source, RATE), "bass", "deep", windows=(40.0, 41.0))
    assert beyond.error and beyond.error.startswith("windows: got ")
