"""The form of a song: which sections, how many bars each. Standard library only; what is random is seeded."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from acestep_like.music.sections import SECTION_NAMES
from acestep_like.music.song_plan import Section

Form = list[tuple[str, int]]
"""Sections in order as names of `SECTION_NAMES` and bars."""

BODIES: Mapping[int, tuple[str, ...]] = {
    1: ("v", "c"),
    2: ("vc",),
    3: ("vcb", "vcv", "vcs"),
    4: ("vcvc", "vcbc", "vcsc"),
    5: ("vcvbc", "vcvsc", "vcbsc"),
    6: ("vcvcbc", "vcvsbc"),
}
"""Sections between intro and outro, by their number: verse, chorus, bridge, solo."""

_LETTERS = {name[0]: name for name in SECTION_NAMES}


def section_bars(seconds_per_bar: float) -> int:
    """Bars of a usual section, so that one lasts about 7 to 12 seconds: 8, 4 or 2."""
    if seconds_per_bar <= 1.45:
        return 8
    return 4 if seconds_per_bar <= 3.4 else 2


def half_section_bars(seconds_per_bar: float) -> int:
    """Bars of a usual intro or outro."""
    return max(section_bars(seconds_per_bar) // 2, 1)


def whole_bars(duration_s: float, seconds_per_bar: float) -> int:
    """Bars that are composed for a duration: the nearest whole number that leaves the last chord time to sound."""
    bars = max(1, round(duration_s / seconds_per_bar))
    if bars > 1 and (bars - 1) * seconds_per_bar > duration_s - 0.75 * min(seconds_per_bar, 1.5):
        bars -= 1
    return bars


def choose_form(
    rng: random.Random, bars: int, seconds_per_bar: float, bodies: Mapping[int, tuple[str, ...]] = BODIES
) -> Form:
    """Sections that fill exactly `bars`; intro and outro, half a section each, only where there is room."""
    unit, half = section_bars(seconds_per_bar), half_section_bars(seconds_per_bar)
    roomy = bars >= 3 * unit
    intro = half if roomy and rng.random() < 0.82 else 0
    outro = half if roomy and rng.random() < 0.85 else 0
    body = bars - intro - outro
    count = max(1, round(body / unit))
    letters = rng.choice(bodies[min(count, max(bodies))])
    while len(letters) < count:  # long songs go round again
        letters += rng.choice(("vc", "bc", "sc"))
    lengths = [unit] * count
    for step in range(abs(body - unit * count)):  # what is left over lengthens or shortens sections from the end
        lengths[-1 - step % count] += 1 if body > unit * count else -1
    return [
        *([("intro", intro)] if intro else []),
        *((_LETTERS[letter], length) for letter, length in zip(letters[:count], lengths, strict=True) if length > 0),
        *([("outro", outro)] if outro else []),
    ]


def scaled_form(names: Sequence[str], bars: int, seconds_per_bar: float) -> Form:
    """The named sections scaled to `bars`; too many for the length are cut from the end, long ones are split."""
    unit, half = section_bars(seconds_per_bar), half_section_bars(seconds_per_bar)
    names = list(names[: max(1, bars // half)])
    lengths = _spread([0.5 if name in ("intro", "outro") else 1.0 for name in names], bars, half)
    form = []
    for name, length in zip(names, lengths, strict=True):
        parts = max(1, round(length / unit))
        form += [(name, part) for part in _spread([1.0] * parts, length, half) if part > 0]
    return form


def sections_for(
    rng: random.Random, duration_s: float, seconds_per_bar: float, names: Sequence[str] = ()
) -> tuple[Section, ...]:
    """The named sections, or a usual form, over a duration; the last is drawn out to the end."""
    bars = whole_bars(duration_s, seconds_per_bar)
    form = scaled_form(names, bars, seconds_per_bar) if names else choose_form(rng, bars, seconds_per_bar)
    rest = max(0, math.ceil(duration_s / seconds_per_bar - 1e-6) - bars)
    name, length = form[-1]
    return laid_out([*form[:-1], (name, length + rest)])


def laid_out(form: Form) -> tuple[Section, ...]:
    """A form as sections, one after another from bar 0."""
    sections, start = [], 0
    for name, length in form:
        sections.append(Section(name, start, length))
        start += length
    return tuple(sections)


def _spread(weights: Sequence[float], total: int, grid: int = 1) -> list[int]:
    """Whole numbers in proportion to `weights` that sum to `total`: multiples of `grid`, what is over at the end."""
    units = max(total // grid, len(weights) if total >= len(weights) * grid else 0)
    shares = [weight / sum(weights) * units for weight in weights]
    edges = [round(sum(shares[: k + 1])) for k in range(len(shares))]
    sizes = [grid * (edge - before) for edge, before in zip(edges, [0, *edges], strict=False)]
    while 0 in sizes and max(sizes) > grid:
        sizes[sizes.index(max(sizes))] -= grid
        sizes[sizes.index(0)] += grid
    sizes[-1] += total - sum(sizes)
    return sizes
