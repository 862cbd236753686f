"""The form of a song: which sections, how many bars each. Standard library only."""

from __future__ import annotations

import random

from acestep_like.music.song_plan import Section

_BODIES: dict[int, tuple[str, ...]] = {
    1: ("v", "c"),
    2: ("vc", "vs"),
    3: ("vcb", "vcv", "vvc", "vcs"),
    4: ("vcvc", "vcbc", "vcsc", "vvbc"),
    5: ("vcvbc", "vcvsc", "vvcbc", "vcbsc"),
    6: ("vcvcbc", "vcvsbc", "vvcvsc"),
}
"""Bodies between intro and outro, by number of sections: verse, chorus, bridge, solo."""

_NAMES = {"i": "intro", "v": "verse", "c": "chorus", "b": "bridge", "s": "solo", "o": "outro"}


def section_bars(seconds_per_bar: float) -> int:
    """Bars of a usual section, so that one lasts about 7 to 12 seconds."""
    if seconds_per_bar <= 1.45:
        return 8
    return 4 if seconds_per_bar <= 3.4 else 2


def total_bars(rng: random.Random, seconds_per_bar: float, shortest_s: float = 40.0, longest_s: float = 64.0) -> int:
    """A length in whole half-sections between two durations."""
    half = max(section_bars(seconds_per_bar) // 2, 1)
    target = rng.uniform(shortest_s, longest_s)
    bars = round(target / seconds_per_bar / half) * half
    while bars * seconds_per_bar > longest_s and bars > half:
        bars -= half
    while bars * seconds_per_bar < shortest_s:
        bars += 1
    return bars


def choose_form(rng: random.Random, bars: int, seconds_per_bar: float) -> tuple[Section, ...]:
    """Sections that fill exactly `bars` bars; intro and outro are half as long as the others."""
    unit = section_bars(seconds_per_bar)
    half = max(unit // 2, 1)
    intro = half if bars >= 3 * unit and rng.random() < 0.82 else 0
    outro = half if bars >= 3 * unit and rng.random() < 0.85 else 0
    body = bars - intro - outro
    count = max(1, round(body / unit))
    letters = rng.choice(_BODIES[min(count, 6)])
    while len(letters) < count:  # long songs go round again
        letters += rng.choice(("vc", "bc", "sc"))
    letters = letters[:count]
    lengths = [unit] * count
    for step in range(abs(body - unit * count)):  # what is left over lengthens or shortens sections from the end
        lengths[-1 - step % count] += 1 if body > unit * count else -1
    names = ["i"] * bool(intro) + list(letters) + ["o"] * bool(outro)
    sizes = [intro] * bool(intro) + lengths + [outro] * bool(outro)
    sections, start = [], 0
    for name, size in zip(names, sizes, strict=True):
        if size > 0:
            sections.append(Section(_NAMES[name], start, size))
            start += size
    return tuple(sections)
