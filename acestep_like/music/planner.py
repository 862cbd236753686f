"""From a few words to a song plan: tempo, meter, key, chord progression and form. Standard library only.

`plan_song` is pure and seeded: the same arguments give the same plan, and each aspect draws from its own random stream,
so that asking for another tempo leaves key and chords as they were.

Each value is decided by the first that knows it: the explicit argument; the caption's own words ("in D minor",
"90 bpm", "waltz"); for the key, the chord chart; the default of the style that the caption names; a seeded choice
within that style.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from acestep_like.errors import InputError
from acestep_like.music.caption import (
    METER_WORDS,
    MODE_WORDS,
    TEMPO_WORDS,
    caption_bpm,
    caption_key,
    detect_style,
    says,
)
from acestep_like.music.chart import Bars, parse_chart
from acestep_like.music.composer.form import sections_for, whole_bars
from acestep_like.music.composer.harmony import chord_spans, key_of_chords, section_charts, song_bars, tonic_bar
from acestep_like.music.sections import section_tags
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.streams import Stream, streams, weighted
from acestep_like.music.styles import BPM_LIMITS, METER_TEMPO, NEUTRAL, STYLE_HARMONY, StyleHarmony
from acestep_like.music.theory import ACE_MODE, BEATS_PER_BAR, KeyScale, parse_keyscale, parse_timesignature

MAX_DURATION_S = 3600.0

_SLOW, _FAST = 0.2, 0.8
_SLOW_BPM, _FAST_BPM = (62, 86), (127, 160)


def plan_song(
    *,
    duration_s: float,
    bpm: float | None = None,
    timesignature: str | int | None = "",
    keyscale: KeyScale | str | None = "",
    chords_text: Mapping[str, Bars] | str | None = "",
    lyrics: str = "",
    caption: str = "",
    seed: int = 0,
    choose: bool = True,
) -> SongPlan:
    """The plan of a song: what is given is kept, the rest is chosen (see the precedence above).

    Args:
        duration_s: seconds, up to 3600.
        bpm: 30 to 300; None or 0 chooses. `timesignature`, `keyscale`: "", None or "N/A" choose.
        chords_text: a chart, as text (`parse_chart`) or read already, that is rendered exactly, looped over the song;
            "" or None chooses progressions that suit key and style, differ between verse and chorus, and end on the
            tonic.
        lyrics: section tags in it shape the form; without them a usual form of 2, 4 or 8 bar sections is chosen.
        caption: read for style, tempo, meter and key words. seed: decides what is chosen.
        choose: False leaves unknown what is not given, as for a source whose tempo and harmony nobody facts: a wrong
            grid would fight it.

    Returns:
        A plan whose chords and sections lie without holes over at least the whole duration.

    Raises:
        InputError: a value that cannot be read.
    """
    number = isinstance(duration_s, (int, float)) and not isinstance(duration_s, bool)
    if not number or not 0 < duration_s <= MAX_DURATION_S:
        raise InputError("duration", duration_s, f"seconds above 0 and up to {MAX_DURATION_S:.0f}")

    given = _read_given(bpm, timesignature, keyscale, chords_text, section_tags(lyrics))
    if not choose:
        return _given_plan(float(duration_s), given)
    return _chosen_plan(float(duration_s), given, caption, streams(seed))


def caption_facts(caption: str) -> dict[str, str | float]:
    """What a caption's own words say of `bpm`, `keyscale` and `timesignature`; a key is absent where they are silent.

    A number or a name is taken as it stands. A style has its own meter and a range of tempi, in which `slow` and `fast`
    choose the part; the same caption means the same tempo each time.
    """
    facts: dict[str, str | float] = {}
    name = detect_style(caption)
    style = STYLE_HARMONY[name] if name else NEUTRAL
    meter = next((value for words, value in METER_WORDS if says(words, caption)), style.meter if name else None)
    if meter is not None:
        facts["timesignature"] = meter
    tempo: float | None = caption_bpm(caption)
    if tempo is None and (name or any(says(words, caption) for words, _ in TEMPO_WORDS)):
        tempo = _choose_bpm(random.Random(f"{caption}/tempo"), caption, style, meter or style.meter)
    if tempo is not None:
        facts["bpm"] = tempo
    key = caption_key(caption)
    if key is not None:
        facts["keyscale"] = key.name
    return facts


@dataclass(frozen=True)
class _Given:
    """What the caller gave, read; None or empty where nothing was given."""

    bpm: float | None
    meter: str | None
    key: KeyScale | None
    charts: dict[str, Bars] | None
    tags: list[str]


def _read_given(
    bpm: float | None,
    timesignature: str | int | None,
    keyscale: KeyScale | str | None,
    chords_text: Mapping[str, Bars] | str | None,
    tags: list[str],
) -> _Given:
    return _Given(
        _read_bpm(bpm),
        parse_timesignature(timesignature) if timesignature is not None and timesignature not in ("", "N/A") else None,
        _read_key(keyscale),
        _read_chart(chords_text),
        tags,
    )


def _read_key(given: KeyScale | str | None) -> KeyScale | None:
    if isinstance(given, KeyScale):
        return given
    return parse_keyscale(given) if given and given != "N/A" else None


def _read_chart(given: Mapping[str, Bars] | str | None) -> dict[str, Bars] | None:
    if isinstance(given, str):
        return parse_chart(given) if given.strip() else None
    return dict(given) if given else None


def _chosen_plan(duration_s: float, given: _Given, caption: str, stream: Stream) -> SongPlan:
    """A whole plan: what is given, else what the caption says, else what suits its style."""
    name = detect_style(caption)
    style = STYLE_HARMONY[name] if name else NEUTRAL
    meter = given.meter or next((value for words, value in METER_WORDS if says(words, caption)), style.meter)
    tempo = given.bpm or caption_bpm(caption) or _choose_bpm(stream("tempo"), caption, style, meter)
    key = given.key or _choose_key(stream("key"), caption, style, given.charts)
    beats = BEATS_PER_BAR[meter]
    bar_s = 60.0 / tempo * beats
    sections = sections_for(stream("form"), duration_s, bar_s, given.tags)
    colour = weighted(stream("colour"), style.colours)
    charts = given.charts or section_charts(stream("harmony"), style, key, colour)
    bars = song_bars(charts, sections)
    if given.charts is None:
        ending = min(whole_bars(duration_s, bar_s), len(bars)) - 1
        tonic = tonic_bar(charts["verse"], key, colour)
        for bar in range(ending if ending > 0 else len(bars), len(bars)):
            bars[bar] = tonic
    return SongPlan(duration_s, tempo, meter, key, chord_spans(bars, beats), sections)


def _given_plan(duration_s: float, given: _Given) -> SongPlan:
    """A plan of what is given alone; chords and sections need a tempo and a meter to lie on."""
    plan = SongPlan(duration_s, given.bpm, given.meter, given.key)
    if not given.bpm or not given.meter:
        return plan
    sections = sections_for(random.Random(0), duration_s, 60.0 / given.bpm * BEATS_PER_BAR[given.meter], given.tags)
    return replace(
        plan,
        chords=chord_spans(song_bars(given.charts, sections), BEATS_PER_BAR[given.meter]) if given.charts else (),
        sections=sections if given.tags else (),
    )


def _read_bpm(bpm: float | None) -> float | None:
    if bpm is None or (not isinstance(bpm, bool) and bpm == 0):
        return None
    if isinstance(bpm, bool) or not isinstance(bpm, (int, float)) or not BPM_LIMITS[0] <= bpm <= BPM_LIMITS[1]:
        raise InputError("bpm", bpm, f"a tempo from {BPM_LIMITS[0]} to {BPM_LIMITS[1]}")
    return bpm


def _choose_bpm(rng: random.Random, caption: str, style: StyleHarmony, meter: str) -> int:
    """A tempo of the style; `slow` and its like choose the part of the range, and mean at most 88 where it reaches."""
    low, high = style.bpm
    place = next((place for words, place in TEMPO_WORDS if says(words, caption)), None)
    if place is None:
        return round(rng.uniform(low, high) * METER_TEMPO[meter])
    if place <= _SLOW and low < _SLOW_BPM[1]:
        low, high = min(low, _SLOW_BPM[0]) if style is NEUTRAL else low, min(high, _SLOW_BPM[1])
    elif place >= _FAST and (high > _FAST_BPM[0] or style is NEUTRAL):
        low, high = max(low, _FAST_BPM[0]), max(high, _FAST_BPM[1]) if style is NEUTRAL else high
    part = min(max(place + rng.uniform(-0.1, 0.1), 0.0), 1.0)
    return round((low + part * (high - low)) * METER_TEMPO[meter])


def _choose_key(rng: random.Random, caption: str, style: StyleHarmony, charts: dict[str, Bars] | None) -> KeyScale:
    written = caption_key(caption)
    if written is not None:
        return written
    if charts:
        return key_of_chords([bar for chart in charts.values() for bar in chart])
    tonic = rng.randrange(12)
    mode = weighted(rng, style.modes)
    wanted = next((name for words, name in MODE_WORDS if says(words, caption)), None)
    if wanted is not None and wanted not in ("major", "minor"):
        mode = wanted
    elif wanted is not None and ACE_MODE[mode] != wanted:
        fitting = {name: odds for name, odds in style.modes.items() if ACE_MODE[name] == wanted}
        mode = weighted(rng, fitting) if fitting else wanted
    return KeyScale(tonic, mode, tonic in ((3, 10) if ACE_MODE[mode] == "minor" else (1, 3, 8, 10)))
