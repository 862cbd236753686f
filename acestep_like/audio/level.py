"""Levels: peak and loudness normalisation, fades, and how loud a waveform is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch

SILENT_PEAK = 1e-6
"""Below this peak (-120 dBFS) a waveform is silence, upstream's threshold: nothing to work from or worth raising."""
INAUDIBLE_PEAK = 1e-5
"""Up to this peak (-100 dBFS) a result is silence, below the last step of 16 bits: nothing to save."""


def peak(audio: torch.Tensor) -> float:
    """Largest magnitude, 0 without samples; nothing as large as the audio is made for it."""
    if audio.numel() == 0:
        return 0.0
    low, high = torch.aminmax(audio)
    return max(-float(low), float(high))


def is_silent(audio: torch.Tensor, below: float = SILENT_PEAK) -> bool:
    """Whether there are no samples, or none as large as `below`."""
    return audio.numel() == 0 or peak(audio) < below


def digest(samples: torch.Tensor) -> str:
    """What identifies samples in a recipe: the first 16 digits of their SHA-256."""
    return hashlib.sha256(samples.contiguous().numpy().data).hexdigest()[:16]


def to_db(ratio: float) -> float:
    """Amplitude ratio in dB; -inf for zero."""
    return 20 * math.log10(ratio) if ratio > 0 else -math.inf


def from_db(db: float) -> float:
    """Amplitude ratio of a level in dB."""
    return 10 ** (db / 20)


def peak_dbfs(audio: torch.Tensor) -> float:
    """Largest magnitude in dB relative to full scale; -inf for silence."""
    return to_db(peak(audio))


def rms_dbfs(audio: torch.Tensor) -> float:
    """Root mean square over all samples and channels in dB relative to full scale; -inf for silence."""
    return to_db(float(audio.square().mean(dtype=torch.float64).sqrt())) if audio.numel() else -math.inf


SOURCE_RMS_DBFS, SOURCE_PEAK = -17.0, 0.97
"""The one level that models hear sources at: that of the mixes that the embedded model was trained on."""
_HOP_S = 0.005


def active_rms(audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """RMS of one item [2, N] over its 5 ms hops within 30 dB of the loudest, a scalar; silence around it counts for
    nothing, and twice the samples have twice of it."""
    hop = max(1, min(round(_HOP_S * sample_rate), audio.shape[-1]))
    power = torch.nn.functional.avg_pool1d(audio.square().mean(0)[None, None], hop)[0, 0]
    used = power > power.max() * 1e-3
    return (power * used).sum().div(used.sum().clamp(min=1)).sqrt()


def source_gain(audio: torch.Tensor, sample_rate: int) -> float:
    """The factor that brings one item [2, N] to the level that models hear sources at: an `active_rms` of
    `SOURCE_RMS_DBFS`, or less where its peak would pass `SOURCE_PEAK`; 1 for silence.

    What a model makes of the scaled source is divided by it, and so lies at the source's own level.
    """
    loudest = peak(audio)
    if loudest < SILENT_PEAK:
        return 1.0
    return min(from_db(SOURCE_RMS_DBFS) / float(active_rms(audio, sample_rate)), SOURCE_PEAK / loudest)


def loudest_rms(audio: torch.Tensor, sample_rate: int) -> float:
    """RMS of the loudest 0.4 s of one item [2, N] (all of it when shorter); 0 for silence."""
    block = min(audio.shape[-1], round(0.4 * sample_rate))
    if block == 0:
        return 0.0
    return float(audio.unfold(-1, block, max(1, block // 2)).square().mean(dim=(0, 2)).max().sqrt())


def no_louder(audio: torch.Tensor, reference: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """One item [2, N], lowered where its loudest 0.4 s passes the reference's; a silent reference sets no limit."""
    limit, loud = loudest_rms(reference, sample_rate), loudest_rms(audio, sample_rate)
    return audio * (limit / loud) if 0 < limit < loud else audio


def peak_normalize(audio: torch.Tensor, target_dbfs: float = -1.0) -> torch.Tensor:
    """Scale one item [2, N] so that its peak is `target_dbfs`; a peak below 1e-6 is left as it is."""
    loudest = peak(audio)
    return audio if loudest < SILENT_PEAK else audio * (from_db(target_dbfs) / loudest)


def fade(audio: torch.Tensor, sample_rate: int, fade_in_s: float = 0.0, fade_out_s: float = 0.0) -> torch.Tensor:
    """Linear fades of one item [2, N]; a fade longer than the audio takes the whole of it."""
    length = audio.shape[-1]
    n_in = min(length, round(fade_in_s * sample_rate))
    n_out = min(length, round(fade_out_s * sample_rate))
    if n_in <= 0 and n_out <= 0:
        return audio
    gain = torch.ones(length, dtype=audio.dtype)
    if n_in > 0:
        gain[:n_in] *= torch.arange(n_in, dtype=audio.dtype) / n_in
    if n_out > 0:
        gain[length - n_out :] *= torch.arange(n_out - 1, -1, -1, dtype=audio.dtype) / n_out
    return audio * gain.to(audio.device)


def gate(
    audio: torch.Tensor, sample_rate: int, windows: Sequence[tuple[float, float]], fade_s: float = 0.01
) -> torch.Tensor:
    """One item [2, N] kept in windows (seconds, an end below 0 is the end) and silent elsewhere, with linear fades
    outside each window."""
    length = audio.shape[-1]
    index = torch.arange(length, dtype=torch.float64)
    gain = torch.zeros(length, dtype=torch.float64)
    ramp = max(1.0, fade_s * sample_rate)
    for start_s, end_s in windows:
        start, end = start_s * sample_rate, length if end_s < 0 else end_s * sample_rate
        outside = torch.maximum(start - index, index - (end - 1)).clamp(min=0)
        gain = torch.maximum(gain, (1 - outside / ramp).clamp(0, 1))
    return audio * gain.to(audio)


def loudness_lufs(audio: torch.Tensor, sample_rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4, through pyloudnorm) of one item [2, N]; -inf for silence.

    Audio shorter than the standard's 0.4 s gating block is measured in one block of its own length.
    """
    import pyloudnorm

    samples = audio.detach().cpu().double().numpy().T
    if samples.shape[0] == 0 or abs(samples).max() < SILENT_PEAK:
        return -math.inf
    block_s = min(0.4, samples.shape[0] / sample_rate)
    return float(pyloudnorm.Meter(sample_rate, block_size=block_s).integrated_loudness(samples))
