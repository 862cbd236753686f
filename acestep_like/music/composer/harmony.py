"""Chord progressions: from degrees to chords, from charts to the spans of a song, and from chords back to a key.

A progression is text: one word a bar, chords within a bar joined by `,`; each chord is a scale degree 1..7, with `b`
or `#` before it when borrowed and `:quality` after it when the quality is not the mode's own (`2:7` is a secondary
dominant in major). Standard library only; what is random is seeded.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from acestep_like.music.chart import Bars
from acestep_like.music.song_plan import ChordSpan, Section
from acestep_like.music.styles import NEUTRAL, StyleHarmony
from acestep_like.music.theory import ACE_MODE, MODES, Chord, KeyScale

PROGRESSION_OF: Mapping[str, int] = {"verse": 0, "intro": 0, "outro": 0, "solo": 0, "chorus": 1, "bridge": 2}
"""Which of a song's progressions each kind of section plays."""

_TRIADS = {(4, 7): "", (3, 7): "m", (3, 6): "dim", (4, 8): "aug"}
_SEVENTHS = {
    (4, 7, 11): "maj7",
    (4, 7, 10): "7",
    (3, 7, 10): "m7",
    (3, 6, 10): "m7b5",
    (3, 6, 9): "dim7",
    (3, 7, 11): "m",
    (4, 8, 11): "aug",
}
_NINTHS = {"maj7": "maj9", "m7": "m9", "7": "9"}
_PLAIN = {"maj7": "", "m7": "m", "m7b5": "dim", "dim7": "dim", "maj9": "", "m9": "m", "9": ""}
"""The triad that stands for a written quality where a style plays triads; a dominant seventh keeps its seventh."""


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
        return _TRIADS.get((third, fifth), "")
    quality = _SEVENTHS.get((third, fifth, seventh), "")
    return _NINTHS.get(quality, quality) if colour == "ninth" and ninth == 2 else quality


def degree_chord(text: str, key: KeyScale, colour: str) -> Chord:
    """One chord of a progression, e.g. `6`, `b7`, `2:7`, in a key."""
    symbol, _, quality = text.partition(":")
    shift = symbol.count("#") - symbol.count("b")
    degree = int(symbol.strip("#b")) - 1
    root = (key.tonic + MODES[key.mode][degree] + shift) % 12
    if quality == "M":
        quality = ""
    elif not quality and not shift:
        quality = diatonic_quality(key.mode, degree, colour)
    elif not quality:  # a borrowed root has no quality in the mode: it is taken as major, as in rock and film music
        quality = "5" if colour == "power" else ""
    elif colour == "triad":
        quality = _PLAIN.get(quality, quality)
    return Chord(root, quality)


def progression_chords(text: str, key: KeyScale, colour: str) -> Bars:
    """A progression as chords by bar."""
    return [[degree_chord(symbol, key, colour) for symbol in bar.split(",")] for bar in text.split()]


def progressions_in(style: StyleHarmony, mode: str) -> tuple[str, ...]:
    """Progressions of a style for a mode; else those of its major or minor, else those that suit any style."""
    own = style.progressions.get(mode) or style.progressions.get(ACE_MODE[mode])
    return own or NEUTRAL.progressions[ACE_MODE[mode]]


def section_charts(rng: random.Random, style: StyleHarmony, key: KeyScale, colour: str) -> dict[str, Bars]:
    """One progression for each kind of section; verse, chorus and bridge differ where the style has three."""
    pool = list(progressions_in(style, key.mode))
    rng.shuffle(pool)
    options: list[Bars] = []
    for text in pool:
        bars = progression_chords(text, key, colour)
        if all(_looped(bars, 8) != _looped(other, 8) for other in options):  # `1 4` and `1 4 1 4` are the same music
            options.append(bars)
    return {name: options[index % len(options)] for name, index in PROGRESSION_OF.items()}


def chart_bar(charts: Mapping[str, Bars], section: Section, bar: int) -> list[Chord]:
    """The chords of a bar: an unlabelled chart runs on through the song, labelled ones begin with their section."""
    if "" in charts:
        chart = charts[""]
        return chart[bar % len(chart)]
    fallback = {"solo": "verse", "intro": "verse", "outro": "verse", "bridge": "chorus"}.get(section.name, "")
    chart = charts.get(section.name) or charts.get(fallback) or next(iter(charts.values()))
    return chart[(bar - section.start_bar) % len(chart)]


def song_bars(charts: Mapping[str, Bars], sections: Sequence[Section]) -> Bars:
    """The chords of every bar of a song, its charts played through its sections."""
    return [chart_bar(charts, section, section.start_bar + k) for section in sections for k in range(section.bars)]


def chord_spans(bars: Sequence[Sequence[Chord]], beats_per_bar: int) -> tuple[ChordSpan, ...]:
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


def tonic_bar(chart: Bars, key: KeyScale, colour: str) -> list[Chord]:
    """A bar of the tonic, with the quality that it has in the chart (a blues ends on its seventh chord)."""
    played = next((chord for bar in chart for chord in bar if chord.root == key.tonic), None)
    return [played or degree_chord("1", key, colour)]


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


def _looped(chart: Bars, count: int) -> Bars:
    return [chart[k % len(chart)] for k in range(count)]
