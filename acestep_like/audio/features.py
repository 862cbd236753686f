"""What can be measured in a recording: tempo, beats, meter, key, chords, sections. numpy, scipy and torch only.

All functions take audio as array or tensor, [N] mono or [2, N] stereo, and its sample rate in Hz; measures that
compare with a plan take a `SongPlan` whose bar 0 beat 0 lies at 0 s of the audio. Estimators are judges with errors
of their own: report the same measure on recordings of known truth beside any figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import resample_poly

from acestep_like.music.theory import MODES, KeyScale

ANALYSIS_RATE = 24000
"""Sample rate of all analyses in Hz."""
ONSET_HOP = 240
"""Hop of the onset envelope in samples at `ANALYSIS_RATE`: 100 frames per second."""
ONSET_RATE = ANALYSIS_RATE / ONSET_HOP
CHROMA_RATE = 20.0
"""Frames of a chromagram per second."""
MIN_BPM, MAX_BPM = 40.0, 220.0


@dataclass(frozen=True)
class Tempo:
    """A tempo in beats per minute and how much it stands out: 0 (no pulse) to 1 (a metronome)."""

    bpm: float
    confidence: float


def to_mono(audio: Any, sample_rate: int) -> np.ndarray:
    """Audio [N] or [C, N] as float32 [M] at `ANALYSIS_RATE`.

    Raises:
        ValueError: no sample, or more than two dimensions.
    """
    samples = audio.detach().cpu().numpy() if isinstance(audio, torch.Tensor) else np.asarray(audio)
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 2:
        samples = samples.mean(axis=0)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"audio must be [N] or [C, N] with N > 0, got shape {np.shape(audio)}")
    if sample_rate != ANALYSIS_RATE:
        divisor = np.gcd(sample_rate, ANALYSIS_RATE)
        samples = resample_poly(samples, ANALYSIS_RATE // divisor, sample_rate // divisor).astype(np.float32)
    return samples


# Spectra


@lru_cache(maxsize=8)
def mel_filters(n_fft: int, bands: int, sample_rate: int = ANALYSIS_RATE, low_hz: float = 30.0) -> torch.Tensor:
    """Triangular mel filters [bands, n_fft // 2 + 1] of unit sum (HTK mel scale)."""
    high_hz = min(sample_rate / 2, 16000.0)
    mels = np.linspace(2595 * np.log10(1 + low_hz / 700), 2595 * np.log10(1 + high_hz / 700), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequency = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    width = np.maximum(np.diff(edges), sample_rate / n_fft)  # never narrower than a bin
    rising = (frequency[None] - (edges[1:-1] - width[:-1])[:, None]) / width[:-1, None]
    falling = ((edges[1:-1] + width[1:])[:, None] - frequency[None]) / width[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    return torch.from_numpy((filters / filters.sum(axis=1, keepdims=True)).astype(np.float32))


def magnitude(samples: np.ndarray, n_fft: int, hop: int) -> torch.Tensor:
    """Magnitude of the short-time Fourier transform [n_fft // 2 + 1, T], frames centred on multiples of `hop`."""
    signal = torch.from_numpy(np.ascontiguousarray(samples))
    if signal.numel() <= n_fft:
        signal = torch.nn.functional.pad(signal, (0, n_fft + 1 - signal.numel()))
    window = torch.hann_window(n_fft, dtype=torch.float32)
    return torch.stft(signal, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True).abs()


def log_mel(audio: Any, sample_rate: int, *, bands: int = 80, n_fft: int = 2048, hop: int = ONSET_HOP) -> np.ndarray:
    """Log mel spectrogram float32 [bands, T] in natural log units, floor ln(1e-3) below a mix of usual level."""
    spectrum = magnitude(to_mono(audio, sample_rate), n_fft, hop)
    return torch.log(mel_filters(n_fft, bands) @ spectrum + 1e-3).numpy()


# Onsets, tempo, beats


def onset_envelope(audio: Any, sample_rate: int, low_band: int = 0, high_band: int = 80) -> np.ndarray:
    """Onset strength float32 [T] at `ONSET_RATE` frames per second: half-wave rectified log-mel flux.

    SuperFlux (Boeck and Widmer 2013) in outline: the difference is taken against the loudest of three neighbouring
    bands two frames earlier, which ignores vibrato, and the local mean is removed. `low_band` to `high_band` of the
    80 mel bands are detected.
    """
    samples = to_mono(audio, sample_rate)
    spectrum = magnitude(samples, 1024, ONSET_HOP)
    level = spectrum.mean() + 1e-9
    mel = torch.log1p(20 * (mel_filters(1024, 80) @ spectrum) / level)[low_band:high_band]
    earlier = torch.nn.functional.max_pool1d(mel.T[:, None], 3, 1, 1)[:, 0].T
    flux = torch.clamp(mel[:, 2:] - earlier[:, :-2], min=0).mean(dim=0)
    envelope = torch.cat([flux.new_zeros(2), flux]).numpy()
    if spectrum.max() <= 1e-6:
        return np.zeros_like(envelope)
    envelope = envelope - uniform_filter1d(envelope, int(0.8 * ONSET_RATE), mode="nearest")
    return np.maximum(envelope, 0).astype(np.float32)


def _autocorrelation(envelope: np.ndarray) -> np.ndarray:
    """Autocorrelation of a zero-mean envelope by lag, unbiased, with lag 0 = 1."""
    signal = envelope - envelope.mean()
    size = 1 << int(np.ceil(np.log2(2 * len(signal))))
    power = np.abs(np.fft.rfft(signal, size)) ** 2
    correlation = np.fft.irfft(power)[: len(signal)]
    correlation = correlation / np.arange(len(signal), 0, -1)
    return correlation / max(correlation[0], 1e-12)


def _tempo_grid() -> np.ndarray:
    return np.exp(np.arange(np.log(MIN_BPM), np.log(MAX_BPM), 0.005))


_COMB = ((0.5, 0.8), (1, 1.0), (2, 0.8), (3, 0.4), (4, 0.7), (8, 0.4))  # (beats, weight)


def tempo_scores(envelope: np.ndarray, bpms: np.ndarray) -> np.ndarray:
    """How well each tempo explains an onset envelope: a comb over the autocorrelation, float [len(bpms)].

    The autocorrelation at half a beat and at 1, 2, 3, 4 and 8 beats counts for a tempo. No prior is applied.
    """
    correlation = _autocorrelation(envelope)
    lags = np.arange(len(correlation))
    period = 60.0 / bpms * ONSET_RATE
    score = np.zeros(len(bpms))
    total = np.zeros(len(bpms))
    for multiple, weight in _COMB:
        inside = period * multiple < 0.75 * len(correlation)
        value = np.interp(period * multiple, lags, correlation)
        score += np.where(inside, weight * value, 0)
        total += np.where(inside, weight, 0)
    return score / np.maximum(total, 1e-9)


def estimate_tempo(audio: Any, sample_rate: int) -> Tempo:
    """The tempo of a recording, 40 to 220 bpm, with a preference for the octave around 120 bpm.

    Confidence is the comb score of the answer (see `tempo_scores`), 0 when there is no onset at all.
    """
    envelope = onset_envelope(audio, sample_rate)
    if not envelope.any():
        return Tempo(0.0, 0.0)
    return _pick_tempo(envelope)


def _pick_tempo(envelope: np.ndarray) -> Tempo:
    grid = _tempo_grid()
    smooth = np.convolve(envelope, np.hanning(7) / np.hanning(7).sum(), mode="same")
    scores = tempo_scores(smooth, grid)
    prior = np.exp(-0.5 * (np.log2(grid / 122.0) / 0.75) ** 2)
    best = int(np.argmax(np.maximum(scores, 0) * prior))
    fine = grid[best] * np.exp(np.linspace(-0.01, 0.01, 41))
    fine_scores = tempo_scores(smooth, fine)
    pick = int(np.argmax(fine_scores))
    return Tempo(float(fine[pick]), float(np.clip(fine_scores[pick], 0, 1)))


# Pitch


@dataclass(frozen=True)
class Chromagram:
    """Pitch-class energy at `CHROMA_RATE` frames per second: all registers, and the bass alone; both [12, T]."""

    full: np.ndarray
    bass: np.ndarray
    tuning: float
    """Deviation from A = 440 Hz in semitones, -0.5 to 0.5."""

    def between(self, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean full and bass chroma [12] of a span of time (at least one frame)."""
        first = min(round(start_s * CHROMA_RATE), self.full.shape[1] - 1)
        last = max(first + 1, round(end_s * CHROMA_RATE))
        return self.full[:, first:last].mean(axis=1), self.bass[:, first:last].mean(axis=1)


_PITCH_FFT = 8192


def chromagram(audio: Any, sample_rate: int) -> Chromagram:
    """Chroma of the harmonic part of a recording, tuned to its own pitch standard.

    Magnitudes (window 0.34 s) are cleared of drums by a median over time, compressed, whitened over frequency, and
    folded to pitch classes: MIDI notes 40 to 88 for `full`, 26 to 52 for `bass`.
    """
    samples = to_mono(audio, sample_rate)
    hop = int(ANALYSIS_RATE / CHROMA_RATE)
    spectrum = magnitude(samples, _PITCH_FFT, hop).numpy()
    high = int(2200 / ANALYSIS_RATE * _PITCH_FFT)
    spectrum = spectrum[:high]
    harmonic = np.minimum(spectrum, median_filter(spectrum, size=(1, 9), mode="nearest"))
    tuning = _estimate_tuning(harmonic)
    level = harmonic.mean() + 1e-9
    compressed = np.log1p(10 * harmonic / level)
    envelope = uniform_filter1d(compressed, 61, axis=0, mode="nearest")
    peaks = np.maximum(compressed - envelope, 0)
    notes = _note_filters(round(tuning, 1)) @ peaks
    full, bass = np.zeros((12, notes.shape[1])), np.zeros((12, notes.shape[1]))
    for note in range(26, 89):
        row = notes[note - 26]
        if note >= 40:
            full[note % 12] += row
        if note <= 52:
            bass[note % 12] += row
    return Chromagram(full.astype(np.float32), bass.astype(np.float32), tuning)


@lru_cache(maxsize=16)
def _note_filters(tuning: float) -> np.ndarray:
    """Gaussian filters [63, bins] of the MIDI notes 26 to 88 over the bins of the pitch spectrum."""
    bins = int(2200 / ANALYSIS_RATE * _PITCH_FFT)
    frequency = np.maximum(np.arange(bins) * ANALYSIS_RATE / _PITCH_FFT, 1.0)
    pitch = 69 + 12 * np.log2(frequency / 440.0) - tuning
    distance = pitch[None] - np.arange(26, 89)[:, None]
    filters = np.exp(-0.5 * (distance / 0.3) ** 2) * (np.abs(distance) < 1)
    return filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-9)


def _estimate_tuning(spectrum: np.ndarray) -> float:
    """Mean deviation of spectral peaks (200 to 2200 Hz) from the semitone grid, as an angle, in semitones."""
    low = int(200 / ANALYSIS_RATE * _PITCH_FFT)
    middle = spectrum[low:-1]
    peak = (middle > spectrum[low - 1 : -2]) & (middle >= spectrum[low + 1 :]) & (middle > 5 * spectrum.mean())
    rows, columns = np.nonzero(peak)
    if rows.size == 0:
        return 0.0
    rows = rows + low
    a, b, c = (np.log(spectrum[rows + step, columns] + 1e-9) for step in (-1, 0, 1))
    offset = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-6)
    frequency = (rows + np.clip(offset, -0.5, 0.5)) * ANALYSIS_RATE / _PITCH_FFT
    phase = np.exp(2j * np.pi * 12 * np.log2(frequency / 440.0))
    return float(np.angle((phase * np.exp(b)).sum()) / (2 * np.pi))


_SCALE_NOTE, _TONIC, _FIFTH = 1.0, 0.6, 0.3
_KEY_MODES = {"major": 0.02, "minor": 0.02, "dorian": 0.0, "mixolydian": 0.0, "lydian": -0.03, "phrygian": -0.03}
"""Modes that `estimate_key` considers, each with what is added to its correlation: rare modes need better reasons."""


def key_scores(chroma: Chromagram) -> dict[KeyScale, float]:
    """Correlation of a recording's mean chroma with each key's template: its scale, tonic and fifth weighted more."""
    full, bass = chroma.full.mean(axis=1), chroma.bass.mean(axis=1)
    scores = {}
    for mode, bonus in _KEY_MODES.items():
        template = np.zeros(12)
        template[list(MODES[mode])] = _SCALE_NOTE
        template[0] += _TONIC
        template[7] += _FIFTH
        for tonic in range(12):
            moved = np.roll(template, tonic)
            scores[KeyScale(tonic, mode)] = correlate(full, moved) + 0.15 * correlate(bass, moved) + bonus
    return scores


def estimate_key(audio: Any, sample_rate: int) -> KeyScale:
    """The most likely key of a recording: tonic and one of six modes. An answer is given even for noise."""
    scores = key_scores(chromagram(audio, sample_rate))
    return max(scores, key=lambda key: scores[key])


def correlate(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two vectors; 0 when one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 1e-9 else 0.0
