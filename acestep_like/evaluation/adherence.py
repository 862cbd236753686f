"""Does a recording follow its plan: chords by scale degree, meter on the given beats, changes where sections begin.

Bar 0 beat 0 of the plan lies at 0 s of the audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from acestep_like.evaluation.features import (
    ONSET_RATE,
    Chromagram,
    correlate,
    log_mel,
    onset_envelope,
)
from acestep_like.music import degree_of
from acestep_like.songplan import SongPlan


@dataclass(frozen=True)
class BarChord:
    """The chord that rules one bar: its degree (0..6) in the key, and where it sounds."""

    degree: int
    start_s: float
    end_s: float


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
        start, end, chord = max(spans, key=lambda span: span[1] - span[0], default=(0.0, 0.0, None))
        degree = None if chord is None else degree_of(chord, plan.keyscale.pitch_classes)
        if degree is not None and end - start >= beats / 2:
            found.append(BarChord(degree, start * beat_s, end * beat_s))
    return found


def degree_templates(plan: SongPlan) -> np.ndarray:
    """Binary templates [7, 12] of the triads on the degrees of the plan's key."""
    assert plan.keyscale is not None
    scale = plan.keyscale.pitch_classes
    templates = np.zeros((7, 12))
    for degree in range(7):
        templates[degree, [scale[(degree + third) % 7] for third in (0, 2, 4)]] = 1
    return templates


def heard_degrees(chroma: Chromagram, plan: SongPlan, bars: list[BarChord]) -> list[int]:
    """The degree whose triad fits each bar best: correlation with the chroma, and a little of the bass's root."""
    templates = degree_templates(plan)
    roots = np.zeros((7, 12))
    assert plan.keyscale is not None
    roots[np.arange(7), list(plan.keyscale.pitch_classes)] = 1
    heard = []
    for bar in bars:
        # The window reaches 0.17 s to both sides: begin late and end early by a little.
        full, bass = chroma.between(bar.start_s + 0.05, bar.end_s - 0.05)
        fit = [correlate(full, t) + 0.15 * correlate(bass, r) for t, r in zip(templates, roots, strict=True)]
        heard.append(int(np.argmax(fit)))
    return heard


def degree_accuracy(chroma: Chromagram, plan: SongPlan, end_s: float) -> list[bool]:
    """Whether each bar with a diatonic chord is heard as the asked degree; chance is one in seven."""
    bars = bar_chords(plan, end_s)
    return [heard == bar.degree for heard, bar in zip(heard_degrees(chroma, plan, bars), bars, strict=True)]


# Sections


def bar_features(audio: Any, sample_rate: int, chroma: Chromagram, plan: SongPlan) -> np.ndarray:
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


def bar_novelty(features: np.ndarray, reach: int = 2) -> np.ndarray:
    """How much the music changes at each inner bar line: [bars - 1], line k between bar k and k + 1.

    The distance between the means of up to `reach` bars before and after, against their spread.
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


def section_hits(novelty: np.ndarray, lines: list[int]) -> list[float]:
    """For each tagged line: the share of untagged inner lines with less change (ties half); chance is 0.5."""
    others = np.delete(novelty[1:-1], [line - 1 for line in lines if 1 <= line < len(novelty) - 1])
    if not len(others):
        return []
    return [float((others < novelty[line]).mean() + 0.5 * (others == novelty[line]).mean()) for line in lines]


# Meter


def _grid(envelope: np.ndarray, bpm: float, per_beat: int) -> np.ndarray:
    """Onset strength [beats, per_beat] at equal parts of each beat, the best frame within 35 ms of each."""
    beats = int(len(envelope) / ONSET_RATE * bpm / 60)
    time_s = (np.arange(beats * per_beat) / per_beat) * 60 / bpm
    centre = np.round(time_s * ONSET_RATE).astype(int)
    offsets = np.arange(-3, 4)
    frames = np.clip(centre[:, None] + offsets, 0, len(envelope) - 1)
    return envelope[frames].max(axis=1).reshape(beats, per_beat)
