"""Does a recording follow its plan: chords by scale degree, meter on the given beats, changes where sections begin.

Bar 0 beat 0 of the plan lies at 0 s of the audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from acestep_like.audio.features import (
    ANALYSIS_RATE,
    ONSET_RATE,
    Chromagram,
    correlate,
    log_mel,
    onset_envelope,
    to_mono,
)
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import degree_of


@dataclass(frozen=True)
class BarChord:
    """The chord that rules one bar: its degree (0..6) in the key, where it sounds, and how many notes it has."""

    degree: int
    start_s: float
    end_s: float
    notes: int = 3


def bar_chords(plan: SongPlan, end_s: float) -> list[BarChord]:
    """The bars before `end_s` in which one diatonic chord lasts at least half of the bar."""
    if plan.bpm is None or plan.keyscale is None:
        return []
    beat_s, beats = 60.0 / plan.bpm, plan.beats_per_bar
    found = []
    for bar in range(int(end_s / (beat_s * beats) + 1e-6)):
        spans = [
            (max(span.start_beat, bar * beats), min(span.start_beat + span.beats, (bar + 1) * beats), span.chord)
            for span in plan.chords
        ]
        if not spans:
            break
        start, end, chord = max(spans, key=lambda span: span[1] - span[0])
        degree = degree_of(chord, plan.keyscale.pitch_classes)
        if degree is not None and end - start >= beats / 2:
            found.append(BarChord(degree, start * beat_s, end * beat_s, len(chord.pitch_classes)))
    return found


def degree_templates(plan: SongPlan, notes: int) -> np.ndarray:
    """Binary templates [7, 12] of the chords on the degrees of the plan's key: triads, or sevenths from four notes."""
    assert plan.keyscale is not None
    scale = plan.keyscale.pitch_classes
    templates = np.zeros((7, 12))
    for degree in range(7):
        templates[degree, [scale[(degree + third) % 7] for third in (0, 2, 4, 6)[: max(3, notes)]]] = 1
    return templates


def detected_degrees(chroma: Chromagram, plan: SongPlan, bars: list[BarChord]) -> list[int]:
    """The degree whose chord fits each bar best.

    The correlation of its notes with the chroma of the bar, plus 0.3 times that of its root with the bass on the
    first beat. All seven candidates have as many notes as the asked chord.
    """
    assert plan.keyscale is not None and plan.bpm is not None
    roots = np.eye(12)[list(plan.keyscale.pitch_classes)]
    beat_s = 60.0 / plan.bpm
    detected = []
    for bar in bars:
        # The window reaches 0.17 s to both sides: begin late and end early by a little.
        full, _ = chroma.between(bar.start_s + 0.05, bar.end_s - 0.05)
        _, bass = chroma.between(bar.start_s, min(bar.start_s + beat_s, bar.end_s))
        templates = degree_templates(plan, bar.notes)
        fit = [correlate(full, t) + 0.3 * correlate(bass, r) for t, r in zip(templates, roots, strict=True)]
        detected.append(int(np.argmax(fit)))
    return detected


def degree_accuracy(chroma: Chromagram, plan: SongPlan, end_s: float) -> list[bool]:
    """Whether each bar with a diatonic chord is detected as the asked degree; chance is one in seven."""
    bars = bar_chords(plan, end_s)
    return [detected == bar.degree for detected, bar in zip(detected_degrees(chroma, plan, bars), bars, strict=True)]


# Sections


def bar_features(audio: Any, sample_rate: int, plan: SongPlan) -> np.ndarray:
    """Texture of each whole bar, [bars, 41]: mel level in 40 bands (ln) and onset density."""
    bar_s = plan.seconds_per_bar()
    mel = log_mel(audio, sample_rate, bands=40)
    onset = onset_envelope(audio, sample_rate)
    rows = []
    for bar in range(int(mel.shape[1] / ONSET_RATE / bar_s + 1e-3)):
        first = round(bar * bar_s * ONSET_RATE)
        last = max(first + 1, round((bar + 1) * bar_s * ONSET_RATE))
        rows.append(np.append(mel[:, first:last].mean(axis=1), 8 * onset[first:last].mean()))
    return np.array(rows)


def bar_novelty(features: np.ndarray, reach: int = 1) -> np.ndarray:
    """How much the music changes at each inner bar line: [bars - 1], line k between bar k and k + 1.

    The mean absolute distance between the means of up to `reach` bars before and after.
    """
    bars = len(features)
    novelty = np.zeros(max(bars - 1, 0))
    for line in range(1, bars):
        before, after = features[max(0, line - reach) : line], features[line : line + reach]
        novelty[line - 1] = np.abs(before.mean(axis=0) - after.mean(axis=0)).mean()
    return novelty


def section_lines(plan: SongPlan, bars: int) -> list[int]:
    """Inner bar lines (indices of `bar_novelty`) at which a section of another name begins, the first bar left out."""
    lines = []
    for earlier, later in zip(plan.sections, plan.sections[1:], strict=False):
        if earlier.name != later.name and 2 <= later.start_bar <= bars - 2:
            lines.append(later.start_bar - 1)
    return lines


def section_chance(novelty: np.ndarray) -> float | None:
    """The chance that an inner line taken at random is the one of the greatest change; None without inner lines."""
    return 1 / (len(novelty) - 2) if len(novelty) > 2 else None


def section_hits(novelty: np.ndarray, lines: list[int]) -> list[float]:
    """For each tagged line: the share of the untagged inner lines where less changes (ties count half).

    Lines next to the first or last bar are left out on both sides. 1.0 means that nothing else changes as much; the
    mean over lines of a recording that ignores its tags is 0.5.
    """
    inner = range(1, len(novelty) - 1)
    others = np.array([novelty[line] for line in inner if line not in lines])
    if not len(others):
        return []
    tagged = [novelty[line] for line in lines if line in inner]
    return [float((others < value).mean() + 0.5 * (others == value).mean()) for value in tagged]


# Meter


@dataclass(frozen=True)
class MeterEvidence:
    """What speaks for the meters on a given beat grid; each is positive where its case is the better one.

    triple: repetition every three beats rather than every two or four. compound: attacks on the thirds of the beat
    rather than on its quarters and half. quadruple: a bar of four beats rather than of two.
    """

    triple: float
    compound: float
    quadruple: float

    @property
    def timesignature(self) -> str:
        """The most likely of `2`, `3`, `4` and `6`."""
        if self.triple > 0:
            return "3"
        if self.compound > 2 or (self.compound > 0.5 and self.quadruple < 0.1):  # swing attacks thirds as well
            return "6"
        return "4" if self.quadruple > 0 else "2"


_PER_BEAT = 12
_BANDS = ((0, 80), (0, 12), (45, 80))  # mel bands: all, bass drum and bass, cymbals


def meter_evidence(audio: Any, sample_rate: int, chroma: Chromagram, bpm: float) -> MeterEvidence:
    """Beat-synchronous autocorrelation of onsets (three ranges) and chroma, on a grid that starts at 0 s.

    In 6/8 `bpm` counts dotted quarters.
    """
    samples = to_mono(audio, sample_rate)
    grids = [_beat_grid(onset_envelope(samples, ANALYSIS_RATE, low, high), bpm) for low, high in _BANDS]
    beats = len(grids[0])
    if beats < 10:
        return MeterEvidence(0.0, 0.0, 0.0)
    beat_s = 60.0 / bpm
    spans = [chroma.between(beat * beat_s, (beat + 1) * beat_s) for beat in range(beats)]
    full, bass = np.array([span[0] for span in spans]), np.array([span[1] for span in spans])
    onset = {lag: float(np.mean([_lagged(grid, lag) for grid in grids])) for lag in (2, 3, 4, 6)}
    change = np.abs(np.diff(full, axis=0, prepend=full[:1])).sum(axis=1)
    usual = change[1:].mean() + 1e-9
    every = {period: float(change[period::period].mean() / usual) for period in (2, 3, 4)}
    third = (onset[3] + onset[6]) / 2 - (onset[2] + onset[4]) / 2 + 0.5 * (every[3] - max(every[2], every[4]))
    four = every[4] - every[2]
    harmony = _lagged(full, 2) + _lagged(bass, 2)
    profile = grids[0].mean(axis=0)
    profile = profile / (profile.mean() + 1e-9) + 0.15
    compound = float(np.log(min(profile[4], profile[8]) / max(profile[3], profile[6])))
    return MeterEvidence(third, compound, 0.75 * four + harmony + 0.5 * (onset[4] - onset[2]))


def _beat_grid(envelope: np.ndarray, bpm: float) -> np.ndarray:
    """Onset strength [beats, 12] at the twelfths of each beat: the strongest frame within 35 ms of each."""
    beats = int(len(envelope) / ONSET_RATE * bpm / 60)
    time_s = np.arange(beats * _PER_BEAT) / _PER_BEAT * 60 / bpm
    frames = np.round(time_s * ONSET_RATE).astype(int)[:, None] + np.arange(-3, 4)
    return envelope[np.clip(frames, 0, len(envelope) - 1)].max(axis=1).reshape(beats, _PER_BEAT)


def _lagged(rows: np.ndarray, lag: int) -> float:
    """Autocorrelation of the rows of a matrix at a lag, each column's mean removed; 1 where all rows repeat."""
    centred = rows - rows.mean(axis=0)
    power = (centred * centred).mean()
    return float((centred[lag:] * centred[:-lag]).mean() / power) if power > 1e-12 else 0.0
