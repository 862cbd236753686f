"""From a seed to a song. Standard library only; the same arguments always give the same song.

Every aspect draws from its own random stream (named by seed and aspect), so that asking for another tempo leaves the
form, the harmony and the instruments as they were.
"""

from __future__ import annotations

import random
from dataclasses import replace

from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.theory import (
    ACE_MODE,
    BEATS_PER_BAR,
    MODES,
    Chord,
    KeyScale,
    parse_keyscale,
    parse_timesignature,
)
from acestep_like.training.corpus.arrange import Stream, arrange
from acestep_like.training.corpus.context import Context, SectionContext
from acestep_like.training.corpus.form import choose_form, total_bars
from acestep_like.training.corpus.lexicon import choose_words, tempo_class
from acestep_like.training.corpus.song import Note, Song, Track
from acestep_like.training.corpus.styles import STYLES, TABLE, Style
from acestep_like.training.corpus.theory import parse_progression

_BPM_FACTOR = {"2": 1.0, "3": 1.08, "4": 1.0, "6": 0.62}
BPM_RANGE = (50, 190)
_SUNG = ("en", "en", "en", "en", "en", "es", "fr", "de", "it", "pt")


def compose(
    seed: int,
    *,
    style: str | None = None,
    bpm: float | None = None,
    keyscale: str | KeyScale | None = None,
    timesignature: str | int | None = None,
    duration_s: float | None = None,
    plan: SongPlan | None = None,
) -> Song:
    """Compose a song.

    Args:
        seed: decides everything that is not given.
        style: one of `STYLES`.
        bpm, keyscale, timesignature: asked values.
        duration_s: length in seconds; whole bars of 40 to 64 s when absent.
        plan: what is known of the song; its tempo, meter, key, chords and sections are played as they are.

    Raises:
        KeyError: no such style.
        InputError: unreadable key or time signature.
    """

    def stream(aspect: str) -> random.Random:
        return random.Random(f"{seed}/{aspect}")

    if plan is not None:
        bpm, timesignature = plan.bpm or bpm, plan.timesignature or timesignature
        keyscale, duration_s = plan.keyscale or keyscale, plan.duration_s
    row = TABLE[style or stream("style").choice(STYLES)]
    meter = parse_timesignature(timesignature) if timesignature else _weighted(stream("meter"), row.meters)
    tempo = bpm if bpm is not None else _tempo(stream("tempo"), row, meter)
    key = _key(stream("key"), row, keyscale)
    bar_s = 60.0 / tempo * BEATS_PER_BAR[meter]

    if duration_s is None:
        bars = total_bars(stream("length"), bar_s)
        duration_s = bars * bar_s
    else:
        bars = max(1, int(duration_s / bar_s + 1e-6))
        if duration_s - bars * bar_s >= max(1.0, 0.4 * bar_s):
            bars += 1  # long enough for the last chord to sound in a cut bar
    sections = plan.sections if plan is not None and plan.sections else choose_form(stream("form"), bars, bar_s)
    colour = _weighted(stream("colour"), row.colours)
    chords = plan.chords if plan is not None and plan.chords else _harmony(stream, row, key, colour, sections, meter)
    song_plan = SongPlan(duration_s, tempo, meter, key, chords, sections)
    context = Context(row, tempo, meter, key, stream("swing").choice(row.swing) if meter != "6" else 0.0)
    has_vocals = stream("vocals").random() < row.vocals
    tracks = arrange(context, _contexts(context, song_plan), has_vocals, stream)
    words = choose_words(stream("words"), row.name, ACE_MODE[key.mode], tempo_class(tempo, meter), row.reverb)
    return Song(
        seed=seed,
        style=row.name,
        plan=song_plan,
        tracks=_finish(tracks, song_plan),
        mood=words["mood"],
        era=words["era"],
        production=words["production"],
        has_vocals=has_vocals,
        language=stream("language").choice(_SUNG) if has_vocals else "unknown",
        swing=context.swing,
    )


def _weighted(rng: random.Random, odds: dict[str, float]) -> str:
    return rng.choices(tuple(odds), tuple(odds.values()))[0]


def _tempo(rng: random.Random, row: Style, meter: str) -> int:
    low, high = (value * _BPM_FACTOR[meter] for value in row.bpm)
    return min(max(round(rng.uniform(low, high)), BPM_RANGE[0]), BPM_RANGE[1])


def _key(rng: random.Random, row: Style, asked: str | KeyScale | None) -> KeyScale:
    if asked is not None:
        return asked if isinstance(asked, KeyScale) else parse_keyscale(asked)
    tonic = rng.randrange(12)
    return KeyScale(tonic, _weighted(rng, row.modes), tonic in (1, 3, 8, 10) and rng.random() < 0.6)


def _progressions(row: Style, key: KeyScale) -> tuple[str, ...]:
    """Progressions of the style for a mode; else those of a mode with the same third."""
    if key.mode in row.progressions:
        return row.progressions[key.mode]
    for mode, pool in row.progressions.items():
        if mode in MODES and ACE_MODE[mode] == ACE_MODE[key.mode]:
            return pool
    return ("1 4 5 1", "1 6 4 5", "4 1 5 1")


def _harmony(
    stream: Stream, row: Style, key: KeyScale, colour: str, sections: tuple[Section, ...], meter: str
) -> tuple[ChordSpan, ...]:
    """One progression by kind of section, played through it; the song ends on the tonic."""
    rng = stream("harmony")
    pool = list(_progressions(row, key))
    rng.shuffle(pool)
    kinds = {"verse": 0, "intro": 0, "outro": 0, "solo": 0, "chorus": 1, "bridge": 2}
    if rng.random() < 0.3:
        kinds["solo"] = 1
    beats = BEATS_PER_BAR[meter]
    spans: list[ChordSpan] = []
    for position, section in enumerate(sections):
        bars = parse_progression(pool[kinds[section.name] % len(pool)], key, colour)
        for bar in range(section.bars):
            chords = bars[bar % len(bars)]
            if position == len(sections) - 1 and bar == section.bars - 1 and section.bars > 1:
                chords = [parse_progression("1", key, colour)[0][0]]
            _append(spans, chords, (section.start_bar + bar) * beats, beats)
    return tuple(spans)


def _append(spans: list[ChordSpan], chords: list[Chord], start: int, beats: int) -> None:
    """Add a bar of chords; a chord that goes on lengthens its span."""
    share = beats / len(chords)
    if beats == 3 and len(chords) == 2:
        edges = [0.0, 2.0, 3.0]
    else:
        edges = [share * k for k in range(len(chords))] + [float(beats)]
    for place, chord in enumerate(chords):
        begin, length = start + edges[place], edges[place + 1] - edges[place]
        spans.append(ChordSpan(float(begin), float(length), chord))


def _contexts(context: Context, plan: SongPlan) -> list[SectionContext]:
    """One context a section, with the chords that sound in it and how often its kind was detected before."""
    seen: dict[str, int] = {}
    found = []
    beats = context.beats_per_bar
    for position, section in enumerate(plan.sections):
        start, end = section.start_bar * beats, (section.start_bar + section.bars) * beats
        inside = tuple(
            span for span in plan.chords if span.start_beat < end - 1e-6 and span.start_beat + span.beats > start + 1e-6
        )
        variant = seen.get(section.name, 0)
        seen[section.name] = variant + 1
        last = position == len(plan.sections) - 1
        found.append(SectionContext(context, section.name, section.start_bar, section.bars, variant, inside, last))
    return found


def _finish(tracks: list[Track], plan: SongPlan) -> tuple[Track, ...]:
    """Tracks with their notes sorted and cut to the song; empty tracks are left out."""
    end = plan.duration_s * (plan.bpm or 100) / 60
    finished = []
    for track in tracks:
        notes = sorted(
            Note(note.start_beat, min(note.beats, end - note.start_beat), note.pitch, note.velocity)
            for note in track.notes
            if note.start_beat < end - 0.05
        )
        if notes:
            finished.append(replace(track, notes=tuple(notes)))
    return tuple(finished)
