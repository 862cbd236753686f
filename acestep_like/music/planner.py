"""From a few words to a song plan: tempo, meter, key, chord progression and form. Standard library only.

`plan_song` is pure and seeded: the same arguments give the same plan, and each aspect draws from its own random stream,
so that asking for another tempo leaves key and chords as they were.

Each value is settled by the first that knows it: the explicit argument; the caption's own words ("in D minor",
"90 bpm", "waltz"); for the key, the chord chart; the default of the style that the caption names; a seeded choice
within that style.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

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
from acestep_like.music.sections import SECTION_NAMES, section_tags
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.styles import BPM_LIMITS, NEUTRAL, STYLE_HARMONY, StyleHarmony
from acestep_like.music.theory import (
    ACE_MODE,
    BEATS_PER_BAR,
    MODES,
    Chord,
    KeyScale,
    parse_keyscale,
    parse_timesignature,
)

MAX_DURATION_S = 3600.0


# Eighths of 6/8 run faster than those of 4/4 at the same felt tempo: its dotted quarters are counted slower.
_BPM_FACTOR = {"2": 1.0, "3": 1.08, "4": 1.0, "6": 0.62}


_SLOW, _FAST = 0.2, 0.8


_SLOW_BPM, _FAST_BPM = (62, 86), (127, 160)


def diatonic_quality(mode: str, degree: int, colour: str) -> str:
    """Quality of the chord on a degree (0..6) of a mode of `MODES`.

    Args:
        colour: `triad`, `seventh`, `ninth` (where the ninth is a whole tone) or `power`.
    """
    if colour == "power":
        return "5"
    steps = MODES[mode]
    third, fifth, seventh, ninth = ((steps[(degree + k) % 7] - steps[degree]) % 12 for k in (2, 4, 6, 1))
    if colour == "triad":
        return {(4, 7): "", (3, 7): "m", (3, 6): "dim", (4, 8): "aug"}.get((third, fifth), "")
    quality = {
        (4, 7, 11): "maj7",
        (4, 7, 10): "7",
        (3, 7, 10): "m7",
        (3, 6, 10): "m7b5",
        (3, 6, 9): "dim7",
        (3, 7, 11): "m",
        (4, 8, 11): "aug",
    }.get((third, fifth, seventh), "")
    if colour == "ninth" and ninth == 2:
        return {"maj7": "maj9", "m7": "m9", "7": "9"}.get(quality, quality)
    return quality


_PLAIN = {"maj7": "", "7": "", "m7": "m", "m7b5": "dim", "dim7": "dim"}


def _degree_chord(text: str, key: KeyScale, colour: str) -> Chord:
    symbol, _, quality = text.partition(":")
    shift = -symbol.count("b")
    degree = int(symbol.strip("b")) - 1
    root = (key.tonic + MODES[key.mode][degree] + shift) % 12
    if not quality:
        # A borrowed root has no quality in the mode: it is taken as major, as in rock and film music.
        borrowed = "5" if colour == "power" else ""
        return Chord(root, borrowed if shift else diatonic_quality(key.mode, degree, colour))
    if quality == "M":
        return Chord(root, "")
    return Chord(root, _PLAIN.get(quality, quality) if colour == "triad" and quality != "7" else quality)


def progression_chords(text: str, key: KeyScale, colour: str) -> Bars:
    """A progression in degrees as chords by bar."""
    return [[_degree_chord(symbol, key, colour) for symbol in bar.split(",")] for bar in text.split()]


def key_of_chords(bars: Bars) -> KeyScale:
    """The major or minor key that fits a chart best: notes in the scale, then a tonic first and last.

    Each chord tone inside the scale counts 1; a chord on the tonic with the mode's third counts more, most at the
    chart's ends.
    """
    chords = [chord for bar in bars for chord in bar]

    def score(key: KeyScale) -> float:
        scale = set(key.pitch_classes)
        third = (key.tonic + MODES[key.mode][2]) % 12
        total = 0.0
        for chord in chords:
            total += sum(1 if note in scale else -2 for note in chord.pitch_classes) / len(chord.pitch_classes)
        for place, weight in ((0, 0.6), (-1, 0.5)):
            tones = chords[place].pitch_classes
            if chords[place].root == key.tonic and (third in tones or len(tones) == 2):
                total += weight
        return total

    keys = [KeyScale(tonic, mode) for mode in ("major", "minor") for tonic in range(12)]
    return max(keys, key=score)


_FORMS: dict[int, tuple[str, ...]] = {
    1: ("v", "c"),
    2: ("vc",),
    3: ("vcb", "vcv", "vcs"),
    4: ("vcvc", "vcbc", "vcsc"),
    5: ("vcvbc", "vcvsc", "vcbsc"),
    6: ("vcvcbc", "vcvsbc"),
}
"""Forms between intro and outro by number of sections."""


_LETTERS = {name[0]: name for name in SECTION_NAMES}


_PROGRESSION_OF = {"verse": 0, "intro": 0, "outro": 0, "solo": 0, "chorus": 1, "bridge": 2}


def section_bars(seconds_per_bar: float) -> int:
    """Bars of a usual section, so that one lasts about 7 to 12 seconds: 8, 4 or 2."""
    if seconds_per_bar <= 1.45:
        return 8
    return 4 if seconds_per_bar <= 3.4 else 2


def _default_form(rng: random.Random, bars: int, unit: int) -> list[tuple[str, int]]:
    """Names and lengths that fill `bars`; intro and outro, half a section each, only where there is room."""
    half = max(unit // 2, 1)
    roomy = bars >= 3 * unit
    intro = half if roomy and rng.random() < 0.82 else 0
    outro = half if roomy and rng.random() < 0.85 else 0
    body = bars - intro - outro
    count = max(1, round(body / unit))
    letters = rng.choice(_FORMS[min(count, max(_FORMS))])
    while len(letters) < count:
        letters += rng.choice(("vc", "bc", "sc"))
    lengths = [unit] * count
    for step in range(abs(body - unit * count)):  # what is left over lengthens or shortens sections from the end
        lengths[-1 - step % count] += 1 if body > unit * count else -1
    return [
        *([("intro", intro)] if intro else []),
        *((_LETTERS[letter], length) for letter, length in zip(letters[:count], lengths, strict=True)),
        *([("outro", outro)] if outro else []),
    ]


def _tagged_form(names: Sequence[str], bars: int, unit: int) -> list[tuple[str, int]]:
    """The tagged sections scaled to `bars`; too many for the length are cut from the end, long ones are split."""
    half = max(unit // 2, 1)
    names = list(names[: max(1, bars // half)])
    lengths = _spread([0.5 if name in ("intro", "outro") else 1.0 for name in names], bars, half)
    form = []
    for name, length in zip(names, lengths, strict=True):
        parts = max(1, round(length / unit))
        form += [(name, part) for part in _spread([1.0] * parts, length, half) if part]
    return form


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


def _sections(form: Sequence[tuple[str, int]]) -> tuple[Section, ...]:
    sections, start = [], 0
    for name, length in form:
        if length > 0:
            sections.append(Section(name, start, length))
            start += length
    return tuple(sections)


def _chart_bar(charts: dict[str, Bars], section: Section, bar: int) -> list[Chord]:
    """The chords of a bar: an unlabelled chart runs on through the song, labelled ones begin with their section."""
    if "" in charts:
        chart = charts[""]
        return chart[bar % len(chart)]
    fallback = {"solo": "verse", "intro": "verse", "outro": "verse", "bridge": "chorus"}.get(section.name, "")
    chart = charts.get(section.name) or charts.get(fallback) or next(iter(charts.values()))
    return chart[(bar - section.start_bar) % len(chart)]


def _looped(chart: Bars, count: int) -> Bars:
    return [chart[k % len(chart)] for k in range(count)]


def _chosen_charts(rng: random.Random, style: StyleHarmony, key: KeyScale, colour: str) -> dict[str, Bars]:
    """One progression for each kind of section; verse, chorus and bridge differ."""
    mode = key.mode if key.mode in style.progressions else ACE_MODE[key.mode]
    pool = list(style.progressions.get(mode) or NEUTRAL.progressions[mode])
    rng.shuffle(pool)
    options: list[Bars] = []
    for text in pool:
        bars = progression_chords(text, key, colour)
        if all(_looped(bars, 8) != _looped(other, 8) for other in options):  # `1 4` and `1 4 1 4` are the same music
            options.append(bars)
    return {name: options[index % len(options)] for name, index in _PROGRESSION_OF.items()}


def _spans(bars: Sequence[Sequence[Chord]], beats_per_bar: int) -> tuple[ChordSpan, ...]:
    """Chords by bar as spans: chords share a bar equally, two in three beats as 2 + 1."""
    spans = []
    for number, chords in enumerate(bars):
        share = beats_per_bar / len(chords)
        edges = [0.0, 2.0, 3.0] if beats_per_bar == 3 and len(chords) == 2 else [share * k for k in range(len(chords))]
        edges = [*edges[: len(chords)], float(beats_per_bar)]
        for place, chord in enumerate(chords):
            start = number * beats_per_bar + edges[place]
            spans.append(ChordSpan(float(start), float(edges[place + 1] - edges[place]), chord))
    return tuple(spans)


def _tonic_bar(chart: Bars, key: KeyScale, colour: str) -> list[Chord]:
    """A bar of the tonic, with the quality it has in the chart (a blues ends on its seventh chord)."""
    detected = next((chord for bar in chart for chord in bar if chord.root == key.tonic), None)
    return [detected or progression_chords("1", key, colour)[0][0]]


def _weighted(rng: random.Random, odds: dict[str, float]) -> str:
    return rng.choices(tuple(odds), tuple(odds.values()))[0]


def _choose_bpm(rng: random.Random, caption: str, style: StyleHarmony, meter: str) -> int:
    """A tempo of the style; `slow` and its like choose the part of the range, and mean at most 88 where it reaches."""
    low, high = style.bpm
    place = next((place for words, place in TEMPO_WORDS if says(words, caption)), None)
    if place is None:
        return round(rng.uniform(low, high) * _BPM_FACTOR[meter])
    if place <= _SLOW and low < _SLOW_BPM[1]:
        low, high = min(low, _SLOW_BPM[0]) if style is NEUTRAL else low, min(high, _SLOW_BPM[1])
    elif place >= _FAST and (high > _FAST_BPM[0] or style is NEUTRAL):
        low, high = max(low, _FAST_BPM[0]), max(high, _FAST_BPM[1]) if style is NEUTRAL else high
    part = min(max(place + rng.uniform(-0.1, 0.1), 0.0), 1.0)
    return round((low + part * (high - low)) * _BPM_FACTOR[meter])


def _choose_key(rng: random.Random, caption: str, style: StyleHarmony, charts: dict[str, Bars] | None) -> KeyScale:
    written = caption_key(caption)
    if written is not None:
        return written
    if charts:
        return key_of_chords([bar for chart in charts.values() for bar in chart])
    tonic = rng.randrange(12)
    mode = _weighted(rng, style.modes)
    wanted = next((name for words, name in MODE_WORDS if says(words, caption)), None)
    if wanted is not None and wanted not in ("major", "minor"):
        mode = wanted
    elif wanted is not None and ACE_MODE[mode] != wanted:
        fitting = {name: odds for name, odds in style.modes.items() if ACE_MODE[name] == wanted}
        mode = _weighted(rng, fitting) if fitting else wanted
    return KeyScale(tonic, mode, tonic in ((3, 10) if ACE_MODE[mode] == "minor" else (1, 3, 8, 10)))


def _resolved_bpm(bpm: float | None) -> float | None:
    if bpm is None or (not isinstance(bpm, bool) and bpm == 0):
        return None
    if isinstance(bpm, bool) or not isinstance(bpm, (int, float)) or not BPM_LIMITS[0] <= bpm <= BPM_LIMITS[1]:
        raise InputError("bpm", bpm, f"a tempo from {BPM_LIMITS[0]} to {BPM_LIMITS[1]}")
    return bpm


def whole_bars(duration_s: float, seconds_per_bar: float) -> int:
    """Bars that are composed for a duration: the nearest whole number that leaves the last chord time to sound."""
    bars = max(1, round(duration_s / seconds_per_bar))
    if bars > 1 and (bars - 1) * seconds_per_bar > duration_s - 0.75 * min(seconds_per_bar, 1.5):
        bars -= 1
    return bars


def caption_facts(caption: str) -> dict[str, str | float]:
    """What a caption's own words say of `bpm`, `keyscale` and `timesignature`; a key is absent where they are silent.

    A number or a name is taken as it stands. A style has its own meter and a range of tempi, in which `slow` and `fast`
    choose the part; the same caption means the same tempo each time.
    """
    told: dict[str, str | float] = {}
    name = detect_style(caption)
    style = STYLE_HARMONY[name] if name else NEUTRAL
    meter = next((value for words, value in METER_WORDS if says(words, caption)), style.meter if name else None)
    if meter is not None:
        told["timesignature"] = meter
    tempo: float | None = caption_bpm(caption)
    if tempo is None and (name or any(says(words, caption) for words, _ in TEMPO_WORDS)):
        tempo = _choose_bpm(random.Random(f"{caption}/tempo"), caption, style, meter or style.meter)
    if tempo is not None:
        told["bpm"] = tempo
    key = caption_key(caption)
    if key is not None:
        told["keyscale"] = key.name
    return told


def plan_song(
    *,
    duration_s: float,
    bpm: float | None = None,
    timesignature: str | int | None = "",
    keyscale: str | None = "",
    chords_text: str = "",
    lyrics: str = "",
    caption: str = "",
    seed: int = 0,
    choose: bool = True,
) -> SongPlan:
    """The plan of a song: what is given is kept, the rest is chosen (see the precedence above).

    Args:
        duration_s: seconds, up to 3600.
        bpm: 30 to 300; None or 0 chooses. `timesignature`, `keyscale`: "", None or "N/A" choose.
        chords_text: a chart (`parse_chart`) that is rendered exactly, looped over the song; "" chooses progressions
            that suit key and style, differ between verse and chorus, and end on the tonic.
        lyrics: section tags in it shape the form; without them a usual form of 2, 4 or 8 bar sections is chosen.
        caption: read for style, tempo, meter and key words. seed: decides what is chosen.
        choose: False leaves unknown what is not given, as for a source whose tempo and harmony nobody told: a wrong
            grid would fight it.

    Returns:
        A plan whose chords and sections lie without holes over at least the whole duration.

    Raises:
        InputError: a value that cannot be read.
    """
    number = isinstance(duration_s, (int, float)) and not isinstance(duration_s, bool)
    if not number or not 0 < duration_s <= MAX_DURATION_S:
        raise InputError("duration", duration_s, f"seconds above 0 and up to {MAX_DURATION_S:.0f}")

    if not choose:
        return _given_plan(duration_s, bpm, timesignature, keyscale, chords_text, lyrics)

    def stream(aspect: str) -> random.Random:
        return random.Random(f"{seed}/{aspect}")

    name = detect_style(caption)
    style = STYLE_HARMONY[name] if name else NEUTRAL
    known_meter = timesignature not in (None, "", "N/A")
    meter = (
        parse_timesignature(timesignature)  # type: ignore[arg-type]
        if known_meter
        else next((value for words, value in METER_WORDS if says(words, caption)), style.meter)
    )
    tempo = _resolved_bpm(bpm) or caption_bpm(caption)
    tempo = tempo or _choose_bpm(stream("tempo"), caption, style, meter)
    charts = parse_chart(chords_text) if chords_text.strip() else None
    key = (
        parse_keyscale(keyscale)
        if keyscale and keyscale != "N/A"
        else _choose_key(stream("key"), caption, style, charts)
    )
    beats = BEATS_PER_BAR[meter]
    bar_s = 60.0 / tempo * beats
    sections = _form(stream("form"), duration_s, bar_s, section_tags(lyrics))
    colour = _weighted(stream("colour"), style.colours)
    total = sections[-1].start_bar + sections[-1].bars
    by_section = charts or _chosen_charts(stream("harmony"), style, key, colour)
    bars = [_chart_bar(by_section, section, section.start_bar + k) for section in sections for k in range(section.bars)]
    if charts is None:
        ending = min(whole_bars(duration_s, bar_s), total) - 1
        tonic = _tonic_bar(by_section["verse"], key, colour)
        for bar in range(ending if ending > 0 else total, total):
            bars[bar] = tonic
    return SongPlan(float(duration_s), tempo, meter, key, _spans(bars, beats), sections)


def _form(rng: random.Random, duration_s: float, bar_s: float, tags: Sequence[str]) -> tuple[Section, ...]:
    """Sections over the composed bars; the last one is drawn out to the end of the duration."""
    bars = whole_bars(duration_s, bar_s)
    unit = section_bars(bar_s)
    form = _tagged_form(tags, bars, unit) if tags else _default_form(rng, bars, unit)
    form = [entry for entry in form if entry[1] > 0]
    rest = max(0, math.ceil(duration_s / bar_s - 1e-6) - bars)
    name, length = form[-1]
    return _sections([*form[:-1], (name, length + rest)])


def _given_plan(
    duration_s: float,
    bpm: float | None,
    timesignature: str | int | None,
    keyscale: str | None,
    chords_text: str,
    lyrics: str,
) -> SongPlan:
    """A plan of what is given alone; chords and sections need a tempo and a meter to lie on."""
    tempo = _resolved_bpm(bpm)
    meter = parse_timesignature(timesignature) if timesignature not in (None, "", "N/A") else None  # type: ignore[arg-type]
    key = parse_keyscale(keyscale) if keyscale and keyscale != "N/A" else None
    charts = parse_chart(chords_text) if chords_text.strip() else None
    chords: tuple[ChordSpan, ...] = ()
    sections: tuple[Section, ...] = ()
    if tempo and meter:
        bar_s = 60.0 / tempo * BEATS_PER_BAR[meter]
        tags = section_tags(lyrics)
        form = _form(random.Random(0), duration_s, bar_s, tags)
        sections = form if tags else ()
        if charts:
            chords = _spans(
                [_chart_bar(charts, part, part.start_bar + k) for part in form for k in range(part.bars)],
                BEATS_PER_BAR[meter],
            )
    return SongPlan(float(duration_s), tempo, meter, key, chords, sections)
