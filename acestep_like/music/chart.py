"""Chart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from acestep_like.errors import InputError
from acestep_like.music.sections import SECTION_NAMES, section_of
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import BEATS_PER_BAR, Chord, parse_chord, parse_timesignature

Bars = list[list[Chord]]
"""Chords by bar."""


_CHART_LABEL = re.compile(r"(?:^|[;\n])[ \t]*\[?([A-Za-z][A-Za-z \-]*?)\]?[ \t]*:[ \t]*", re.MULTILINE)


def parse_chart(text: str) -> dict[str, Bars]:
    """A chord chart by section name; a chart without labels stands under the empty name.

    `Am | F | C | G` serves the whole song; `verse: Am | F ; chorus: C | G` each kind of section its own.

    Raises:
        InputError: an unknown chord symbol or section, or an empty chart.
    """
    labels = list(_CHART_LABEL.finditer(text))
    if not labels:
        return {"": parse_chords(text)}
    if text[: labels[0].start()].strip(" ;\n"):
        raise InputError("chords", text, "a label before the first chord when sections are labelled")
    charts: dict[str, Bars] = {}
    for label, following in zip(labels, [*labels[1:], None], strict=True):
        name = section_of(label.group(1))
        if name is None:
            raise InputError("chords", label.group(1), "a section: " + ", ".join(SECTION_NAMES))
        body = text[label.end() : following.start() if following else len(text)].strip(" ;\n")
        charts[name] = parse_chords(body)
    return charts


def chart_text(plan: SongPlan) -> str:
    """The chords of a plan as a chart, one bar between `|`; "" when it has none. `parse_chords` reads it back."""
    beats = plan.beats_per_bar
    if not plan.chords:
        return ""
    end = plan.chords[-1].start_beat + plan.chords[-1].beats
    bars: list[list[str]] = []
    for bar in range(round(end / beats)):
        low, high = bar * beats, (bar + 1) * beats
        bars.append(
            [
                span.chord.name
                for span in plan.chords
                if span.start_beat < high - 1e-6 and span.start_beat + span.beats > low + 1e-6
            ]
        )
    return " | ".join(" ".join(bar) for bar in bars)


_REPEAT = re.compile(r"^x\s*(\d+)$|^(\d+)\s*x$")


def parse_chords(text: str) -> list[list[Chord]]:
    """Read a chord chart: bars between `|`, several chords in a bar separated by blanks, `%` repeats a bar.

    A group in parentheses followed by `xN` repeats: `(Am | F) x2 | C | G`. Answers one list of chords a bar.

    Raises:
        InputError: an unknown symbol, an empty chart, or a repeat without a group.
    """
    text = text.strip()
    while True:
        group = re.search(r"\(([^()]*)\)\s*[x×*]\s*(\d+)", text)
        if not group:
            break
        count = int(group.group(2))
        if not 1 <= count <= 64:
            raise InputError("chords", group.group(0), "a repeat count from 1 to 64")
        text = text[: group.start()] + " | ".join([group.group(1).strip(" |")] * count) + text[group.end() :]
    bars: list[list[Chord]] = []
    for bar_text in text.strip(" |\n").replace("\n", "|").split("|"):
        symbols = bar_text.replace(",", " ").split()
        if not symbols:
            continue
        if symbols == ["%"]:
            if not bars:
                raise InputError("chords", text, "a chord before the first '%'")
            bars.append(bars[-1])
            continue
        bars.append([parse_chord(symbol) for symbol in symbols])
    if not bars:
        raise InputError("chords", text, "a chart such as 'Am | F | C | G'")
    return bars


def bar_seconds(fields: Mapping[str, Any]) -> float:
    """Seconds in a bar, 0 when tempo or meter are not known."""
    if not fields.get("bpm") or not fields.get("timesignature"):
        return 0.0
    return 60.0 / float(fields["bpm"]) * BEATS_PER_BAR[parse_timesignature(fields["timesignature"])]


def rotated_chart(chart: str, bars: int) -> str:
    """A looped chart as it runs from `bars` bars later (earlier when negative); one with section labels stays."""
    charts = parse_chart(chart) if chart.strip() else {}
    if "" not in charts:
        return chart
    names = [" ".join(chord.name for chord in bar) for bar in charts[""]]
    return " | ".join(names[(k + bars) % len(names)] for k in range(len(names)))
