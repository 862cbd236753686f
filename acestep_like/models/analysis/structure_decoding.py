"""From what the structure tagger detects frame by frame to a song plan: tempo, bar lines, meter, key and chords."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from acestep_like.models.analysis.structure_tagger import StructureFrames
from acestep_like.music.song_plan import ChordSpan, SongPlan
from acestep_like.music.theory import BEATS_PER_BAR, CHORD_QUALITIES, MODES, TIME_SIGNATURES, Chord, KeyScale

SLOWEST_BPM, FASTEST_BPM = 35.0, 230.0
_SHORTEST_S = 4.0
_LEAST_AGREEMENT = 0.7
"""Agreement of the detected phases in beat and bar with an even grid, 0 to 2, below which there is none. Of 100
held-out songs all but three have more; noise, and songs with their frames in disorder, nearly always less."""
_OFFSETS = 32
"""Places within a beat that are tried."""
_STRETCH_S = 8.0
_CLEAR, _ASTRAY_RAD = 0.4, math.pi / 3
_METER_WEIGHT, _METER_FLOOR = 0.05, 0.02
_FINENESS = 64
"""Tempi that are tried for each that differs by a turn over the whole recording."""
_BAR_CHANGE, _HALF_CHANGE, _BEAT_CHANGE = 1.0, 2.0, 4.0
"""What a new chord costs on the first beat of a bar, in its middle, and elsewhere, in nats."""
_EVIDENCE = 2.0
"""Weight of what is detected in a beat beside these: its frames are far from independent."""
_FLOOR = 1e-3
_ON_TIME_S = 0.05
"""A bar that is detected to begin this near to the start of the recording begins with it."""


def detect_structure(detected: StructureFrames, latent_rate: float) -> SongPlan | None:
    """The plan of a recording, or None where no even pulse is detected: tempo that wanders cannot be drawn as a guide,
    and in less than 4 s any tempo seems even.

    Args:
        detected: of all its frames, `latent_rate` a second.
    """
    frames = len(detected.beat)
    if frames < _SHORTEST_S * latent_rate:
        return None
    time_s = (np.arange(frames) + 0.5) / latent_rate
    grid = _grid(detected, latent_rate)
    if grid.agreement < _LEAST_AGREEMENT:
        return None
    per_bar = BEATS_PER_BAR[grid.meter]
    beat = grid.beat_hz * time_s + grid.offset
    stretches = max(1, round(frames / latent_rate / _STRETCH_S))
    if _strays(detected.beat, beat, stretches) or _strays(detected.bar, beat / per_bar, stretches):
        return None
    late = _ON_TIME_S * grid.beat_hz  # in beats
    first_beat = (grid.offset + late) % per_bar - late  # the recording begins so many beats into bar 0
    beat = np.maximum(beat - grid.offset + first_beat, 0)
    return SongPlan(
        duration_s=frames / latent_rate,
        bpm=60 * grid.beat_hz,
        timesignature=grid.meter,
        keyscale=detected_key(detected),
        chords=_chords(detected, beat, per_bar),
        first_bar_s=0.0 if abs(first_beat) < late else -first_beat / grid.beat_hz,
    )


def detected_key(detected: StructureFrames) -> KeyScale:
    """The key whose notes and tonic were detected most, over the whole recording."""
    scale = np.clip(detected.scale.mean(dim=0).numpy(), _FLOOR, 1 - _FLOOR)
    tonic = np.log(np.clip(detected.tonic.mean(dim=0).numpy(), _FLOOR, 1))

    def score(key: KeyScale) -> float:
        inside = np.zeros(12, bool)
        inside[list(key.pitch_classes)] = True
        return float(np.log(np.where(inside, scale, 1 - scale)).sum() + tonic[key.tonic])

    return max((KeyScale(tonic, mode) for mode in MODES for tonic in range(12)), key=score)


def _phasor(pairs: Tensor) -> np.ndarray:
    values: np.ndarray = pairs.double().numpy()
    return values[:, 0] + 1j * values[:, 1]


@dataclass(frozen=True)
class _Grid:
    """Beat number at t seconds: `beat_hz * t + offset`, where bars begin at multiples of the meter's beats."""

    beat_hz: float
    offset: float
    meter: str
    agreement: float


def _grid(detected: StructureFrames, rate: float) -> _Grid:
    """The even grid that agrees best with the detected phases in beat and bar together: the sum of both, 0 to 2, and a
    little for the meter that was detected. Either alone errs: beats by an octave, bars by a beat."""
    frames = len(detected.beat)
    size = 1 << math.ceil(math.log2(_FINENESS * frames))
    centre = np.exp(-1j * np.pi * np.arange(size) / size)  # frames are detected at their centres
    beats, bars = (np.fft.fft(_phasor(pairs), size) * centre / frames for pairs in (detected.beat, detected.bar))
    meters = detected.meter.mean(dim=0).numpy()
    best = _Grid(1.0, 0.0, "4", -math.inf)
    for meter, chance in zip(TIME_SIGNATURES, meters, strict=True):
        per_bar = BEATS_PER_BAR[meter]
        low, high = (round(bpm / 60 / per_bar / rate * size) for bpm in (SLOWEST_BPM, FASTEST_BPM))
        bins = np.arange(max(low, 1), min(high, size // (2 * per_bar)))
        offset = np.arange(0, per_bar, 1 / _OFFSETS)[:, None]
        score = (beats[bins * per_bar] * np.exp(-2j * np.pi * offset)).real
        score = score + (bars[bins] * np.exp(-2j * np.pi * offset / per_bar)).real
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        agreement = float(score[row, column]) + _METER_WEIGHT * math.log(max(float(chance), _METER_FLOOR))
        if agreement > best.agreement:
            beat_hz = float(bins[column] * per_bar * rate / size)
            best = _Grid(beat_hz, float(offset[row, 0]), meter, agreement)
    return best


def _strays(pairs: Tensor, turns: np.ndarray, stretches: int) -> bool:
    """Whether a stretch of the recording is clearly detected beside the grid: its tempo is not even."""
    against = _phasor(pairs) * np.exp(-2j * np.pi * turns)
    means = np.array([part.mean() for part in np.array_split(against, stretches)])
    return bool(((np.abs(means) > _CLEAR) & (np.abs(np.angle(means)) > _ASTRAY_RAD)).any())


def _chords(detected: StructureFrames, beat: np.ndarray, per_bar: int) -> tuple[ChordSpan, ...]:
    """The most likely chord of each beat (Viterbi), equal neighbours joined; they may change within a bar, rarely."""
    number = np.floor(beat).astype(int)
    count = int(number[-1]) + 1
    root = np.log(np.clip(detected.root.numpy(), _FLOOR, 1))
    tones = np.clip(detected.tones.numpy(), _FLOOR, 1 - _FLOOR)
    chords = [Chord(pitch, quality) for quality in CHORD_QUALITIES for pitch in range(12)]
    member = np.zeros((len(chords), 12))
    for row, chord in enumerate(chords):
        member[row, list(chord.pitch_classes)] = 1
    evidence = root[:, [chord.root for chord in chords]] + np.log(tones) @ member.T + np.log(1 - tones) @ (1 - member).T
    by_beat = np.zeros((count, len(chords)))
    for place in range(int(number[0]), count):
        by_beat[place] = _EVIDENCE * evidence[number == place].mean(axis=0)
    score, came_from = by_beat[0].copy(), np.zeros((count, len(chords)), int)
    for place in range(1, count):
        within = place % per_bar
        cost = _BAR_CHANGE if within == 0 else _HALF_CHANGE if 2 * within == per_bar else _BEAT_CHANGE
        best = int(score.argmax())
        came_from[place] = np.where(score >= score[best] - cost, np.arange(len(chords)), best)
        score = np.maximum(score, score[best] - cost) + by_beat[place]
    path = [int(score.argmax())]
    for place in range(count - 1, 0, -1):
        path.append(int(came_from[place, path[-1]]))
    path.reverse()
    spans: list[ChordSpan] = []
    for place, chosen in enumerate(path):
        if spans and spans[-1].chord == chords[chosen]:
            spans[-1] = ChordSpan(spans[-1].start_beat, spans[-1].beats + 1, chords[chosen])
        else:
            spans.append(ChordSpan(float(place), 1.0, chords[chosen]))
    return tuple(spans)
