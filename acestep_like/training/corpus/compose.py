"""From a seed to a song of the corpus: a plan as the training wants them, its score, and words for the whole.

Every aspect draws from its own random stream (named by seed and aspect), so that asking for another tempo leaves the
form, the harmony and the instruments as they were. Standard library only; the same arguments give the same song.
"""

from __future__ import annotations

import random

from acestep_like.music.composer.compose import play_plan
from acestep_like.music.composer.ensembles import ENSEMBLES
from acestep_like.music.composer.form import choose_form, half_section_bars, laid_out
from acestep_like.music.composer.harmony import (
    PROGRESSION_OF,
    chord_spans,
    degree_chord,
    progression_chords,
    progressions_in,
    song_bars,
)
from acestep_like.music.song_plan import ChordSpan, Section, SongPlan
from acestep_like.music.streams import Stream, streams, weighted
from acestep_like.music.styles import METER_TEMPO, STYLE_HARMONY, STYLES, StyleHarmony
from acestep_like.music.theory import ACE_MODE, BEATS_PER_BAR, KeyScale, parse_keyscale, parse_timesignature
from acestep_like.training.corpus.lexicon import choose_words, tempo_class
from acestep_like.training.corpus.song import Song

BPM_RANGE = (50, 190)
_SHORTEST_S, _LONGEST_S = 40.0, 64.0
_SUNG = ("en", "en", "en", "en", "en", "es", "fr", "de", "it", "pt")

_BODIES: dict[int, tuple[str, ...]] = {
    1: ("v", "c"),
    2: ("vc", "vs"),
    3: ("vcb", "vcv", "vvc", "vcs"),
    4: ("vcvc", "vcbc", "vcsc", "vvbc"),
    5: ("vcvbc", "vcvsc", "vvcbc", "vcbsc"),
    6: ("vcvcbc", "vcvsbc", "vvcvsc"),
}
"""Bodies of forms as in `composer/form.py`, and some that are rare in songs but that a model should know."""


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
    stream = streams(seed)
    name = style or stream("style").choice(STYLES)
    if plan is not None:
        bpm, timesignature = plan.bpm or bpm, plan.timesignature or timesignature
        keyscale, duration_s = plan.keyscale or keyscale, plan.duration_s
    harmony = STYLE_HARMONY[name]
    meter = parse_timesignature(timesignature) if timesignature else weighted(stream("meter"), harmony.meters)
    tempo = bpm if bpm is not None else _tempo(stream("tempo"), harmony, meter)
    key = _key(stream("key"), harmony, keyscale)
    bar_s = 60.0 / tempo * BEATS_PER_BAR[meter]
    bars = total_bars(stream("length"), bar_s) if duration_s is None else _bars_within(duration_s, bar_s)
    sections = plan.sections if plan and plan.sections else laid_out(choose_form(stream("form"), bars, bar_s, _BODIES))
    chords = plan.chords if plan and plan.chords else _harmony(stream, harmony, key, sections, meter)
    length_s = bars * bar_s if duration_s is None else duration_s
    return _described(stream, seed, name, SongPlan(length_s, tempo, meter, key, chords, sections))


def _described(stream: Stream, seed: int, style: str, plan: SongPlan) -> Song:
    """The song that plays a whole plan, with words for it."""
    assert plan.bpm and plan.timesignature and plan.keyscale
    ensemble = ENSEMBLES[style]
    has_vocals = stream("vocals").random() < ensemble.vocals
    score = play_plan(plan, style, seed, has_vocals=has_vocals)
    speed = tempo_class(plan.bpm, plan.timesignature)
    words = choose_words(stream("words"), style, ACE_MODE[plan.keyscale.mode], speed, ensemble.reverb)
    return Song(
        seed=seed,
        style=style,
        plan=plan,
        tracks=score.tracks,
        mood=words["mood"],
        era=words["era"],
        production=words["production"],
        has_vocals=has_vocals,
        language=stream("language").choice(_SUNG) if has_vocals else "unknown",
        swing=score.swing,
    )


def total_bars(rng: random.Random, seconds_per_bar: float) -> int:
    """A length of 40 to 64 s in whole half-sections."""
    half = half_section_bars(seconds_per_bar)
    target = rng.uniform(_SHORTEST_S, _LONGEST_S)
    bars = round(target / seconds_per_bar / half) * half
    while bars * seconds_per_bar > _LONGEST_S and bars > half:
        bars -= half
    while bars * seconds_per_bar < _SHORTEST_S:
        bars += 1
    return bars


def _bars_within(duration_s: float, seconds_per_bar: float) -> int:
    """Bars that are composed for a duration; a cut bar counts where the last chord has time to sound in it."""
    bars = max(1, int(duration_s / seconds_per_bar + 1e-6))
    return bars + 1 if duration_s - bars * seconds_per_bar >= max(1.0, 0.4 * seconds_per_bar) else bars


def _tempo(rng: random.Random, harmony: StyleHarmony, meter: str) -> int:
    low, high = (value * METER_TEMPO[meter] for value in harmony.bpm)
    return min(max(round(rng.uniform(low, high)), BPM_RANGE[0]), BPM_RANGE[1])


def _key(rng: random.Random, harmony: StyleHarmony, asked: str | KeyScale | None) -> KeyScale:
    if asked is not None:
        return asked if isinstance(asked, KeyScale) else parse_keyscale(asked)
    tonic = rng.randrange(12)
    return KeyScale(tonic, weighted(rng, harmony.modes), tonic in (1, 3, 8, 10) and rng.random() < 0.6)


def _harmony(
    stream: Stream, harmony: StyleHarmony, key: KeyScale, sections: tuple[Section, ...], meter: str
) -> tuple[ChordSpan, ...]:
    """One progression by kind of section, played through it; a solo may take the chorus's, and the end is the tonic."""
    colour = weighted(stream("colour"), harmony.colours)
    rng = stream("harmony")
    pool = list(progressions_in(harmony, key.mode))
    rng.shuffle(pool)
    kinds = {**PROGRESSION_OF, "solo": 1} if rng.random() < 0.3 else PROGRESSION_OF
    charts = {kind: progression_chords(pool[index % len(pool)], key, colour) for kind, index in kinds.items()}
    bars = song_bars(charts, sections)
    if sections[-1].bars > 1:
        bars[-1] = [degree_chord("1", key, colour)]
    return chord_spans(bars, BEATS_PER_BAR[meter])
