"""Lines in time: LRC, SRT and JSON, lines that were not sung, and the windows to sing them again."""

from __future__ import annotations

import json

import pytest

from acestep_like.editing.common import read_windows
from acestep_like.errors import InputError, OutputError
from acestep_like.music.lyric_timing import TimedLine, lrc_of_lines, repaint_windows, save_lines, srt_of_lines

LINES = [
    TimedLine("Walking home", 1.0, 3.0, 0.9),
    TimedLine("never sung", 3.0, 4.5, 0.1),
    TimedLine("nor this", 4.6, 6.0, 0.2),
    TimedLine("Héllo", 3661.5, 3662.0, 1.0),
]


def test_each_format_has_its_times():
    assert lrc_of_lines(LINES).splitlines()[::3] == ["[00:01.00]Walking home", "[61:01.50]Héllo"]
    assert srt_of_lines(LINES).startswith("1\n00:00:01,000 --> 00:00:03,000\nWalking home\n\n2\n")
    assert "01:01:01,500 --> 01:01:02,000" in srt_of_lines(LINES)


def test_json_lists_lines_that_were_not_sung(tmp_path):
    data = json.loads(save_lines(LINES, tmp_path / "song.json").read_text(encoding="utf-8"))
    assert data["not_sung"] == ["never sung", "nor this"]
    assert data["lines"][0] == {"text": "Walking home", "start_s": 1.0, "end_s": 3.0, "confidence": 0.9, "sung": True}


def test_lines_not_sung_are_windows_that_repaint_takes():
    windows = repaint_windows(LINES, duration_s=6.1)
    assert windows == [(2.75, 6.1)]  # neighbours are one window, which ends with the audio
    assert list(read_windows(windows)) == windows
    assert repaint_windows(LINES[:1], 6.1) == []


def test_other_endings_and_places_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.lrc, \.srt, \.json"):
        save_lines(LINES, tmp_path / "song.txt")
    with pytest.raises(OutputError):
        save_lines(LINES, tmp_path / "nowhere" / "song.srt")
