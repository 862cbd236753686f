"""Chord charts: text such as `(Am | F) x2 | C | G`, or `verse: Am | F; chorus: C | G`, as chords by bar, and back.

Charts come from people and from the tags of files, so everything is bounded before it is built: the bars of a repeat
are counted before they are written out, and a text is read in one pass.
"""

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

MAX_CHART_BARS = 10_000
"""Bars of a chart with its repeats written out; an hour of the fastest 2/4 has 9,000."""

MAX_CHORDS_IN_BAR = 16
"""One for each sixteenth note of 4/4."""

_MAX_REPEATS = 64
_TOKEN = re.compile(r"[()|\n]|[^\s()|,]+")
_TIMES = re.compile(r"\s*[x×*]\s*(\d{1,6})")
_LABEL = re.compile(r"[A-Za-z][A-Za-z -]*")

_Symbols = list[list[str]]
"""Chord symbols by bar; the last bar is still open."""


def parse_chart(text: str) -> dict[str, Bars]:
    """A chord chart by section name; a chart without labels stands under the empty name.

    `Am | F | C | G` serves the whole song; `verse: Am | F ; chorus: C | G` each kind of section its own.

    Raises:
        InputError: an unknown chord symbol or section, an empty chart, or one that is too long.
    """
    parts: list[tuple[str, list[str]]] = [("", [])]
    for line in re.split(r"[;\n]", text):
        label, colon, chords = line.partition(":")
        label = label.strip().removeprefix("[").removesuffix("]").strip()
        if colon and _LABEL.fullmatch(label):
            parts.append((label, [chords]))
        else:
            parts[-1][1].append(line)
    bodies = [(label, "\n".join(lines)) for label, lines in parts]
    if len(bodies) == 1:
        return {"": parse_chords(text)}
    if bodies[0][1].strip():
        raise InputError("chords", text, "a label before the first chord when sections are labelled")
    charts: dict[str, Bars] = {}
    for label, body in bodies[1:]:
        name = section_of(label)
        if name is None:
            raise InputError("chords", label, "a section: " + ", ".join(SECTION_NAMES))
        if name in charts:
            raise InputError("chords", label, f"one chart for each kind of section; there are two for {name}")
        charts[name] = parse_chords(body)
    return charts


def parse_chords(text: str) -> Bars:
    """Read a chord chart: bars between `|`, several chords in a bar separated by blanks, `%` repeats a bar.

    A group in parentheses followed by `xN` repeats: `(Am | F) x2 | C | G`. Answers one list of chords a bar, at most
    `MAX_CHART_BARS` with `MAX_CHORDS_IN_BAR` each.

    Raises:
        InputError: an unknown symbol, an empty chart, a repeat without a group, or a chart that is too long.
    """
    known: dict[str, Chord] = {}
    bars: Bars = []
    for symbols in _written_out(text):
        if symbols == ["%"]:
            if not bars:
                raise InputError("chords", text, "a chord before the first '%'")
            bars.append(bars[-1])
        elif symbols:
            known.update((symbol, parse_chord(symbol)) for symbol in symbols if symbol not in known)
            bars.append([known[symbol] for symbol in symbols])
    if not bars:
        raise InputError("chords", text, "a chart such as 'Am | F | C | G'")
    return bars


def _written_out(text: str) -> _Symbols:
    """Symbols by bar with every repeat written out. A group stands in its text: `(Am | F) x2 C` ends in the bar F C."""
    groups: list[_Symbols] = [[[]]]
    position = 0
    while token := _TOKEN.search(text, position):
        position = token.end()
        mark = token.group()
        if mark == "(":
            groups.append([[]])
        elif mark == ")":
            times = _TIMES.match(text, position)
            if times is None or len(groups) == 1:
                raise InputError("chords", text, "a group and how often it is played, such as '(Am | F) x2'")
            position = times.end()
            if not 1 <= int(times.group(1)) <= _MAX_REPEATS:
                raise InputError("chords", times.group().strip(), f"a repeat count from 1 to {_MAX_REPEATS}")
            group = groups.pop()
            _repeat(groups[-1], group if group[-1] else group[:-1], int(times.group(1)), text)
        elif mark in "|\n":
            if groups[-1][-1]:
                groups[-1].append([])
                _check_length(len(groups[-1]), text)
        else:
            groups[-1][-1].append(mark)
            _check_bar(groups[-1][-1], text)
    if len(groups) > 1:
        raise InputError("chords", text, "a ')' for every '(', as in '(Am | F) x2'")
    return groups[0]


def _repeat(bars: _Symbols, group: _Symbols, times: int, text: str) -> None:
    """Play a group `times` times from the open bar on; what follows goes into its last bar."""
    if not group:
        return
    _check_length(len(bars) + len(group) * times, text)
    bars[-1].extend(group[0])
    _check_bar(bars[-1], text)
    bars += [*group[1:], *(group * (times - 1))]
    bars[-1] = list(bars[-1])


def _check_length(bars: int, text: str) -> None:
    if bars > MAX_CHART_BARS:
        raise InputError("chords", text, f"at most {MAX_CHART_BARS:,} bars with all repeats")


def _check_bar(symbols: list[str], text: str) -> None:
    if len(symbols) > MAX_CHORDS_IN_BAR:
        raise InputError("chords", text, f"at most {MAX_CHORDS_IN_BAR} chords in a bar", "Set '|' between bars.")


def chart_text(plan: SongPlan) -> str:
    """The chords of a plan as a chart, one bar between `|`; "" when it has none. `parse_chords` reads it back."""
    if not plan.chords:
        return ""
    beats = plan.beats_per_bar
    bars: list[list[str]] = [[] for _ in range(round((plan.chords[-1].start_beat + plan.chords[-1].beats) / beats))]
    for span in plan.chords:
        first = int((span.start_beat + 1e-6) // beats)
        last = int((span.start_beat + span.beats - 1e-6) // beats)
        for bar in bars[first : last + 1]:
            bar.append(span.chord.name)
    return " | ".join(" ".join(bar) for bar in bars)


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
