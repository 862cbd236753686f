"""Finished audio for others to use: loudness with a true peak below a ceiling, whole bars, and loops without a click.

Everything takes and answers one item [2, N], float32, and works by one gain or one crossfade: nothing is limited or
compressed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import resample_poly

from acestep_like.audio.level import from_db, loudness_lufs, to_db
from acestep_like.audio.splice import crossfade
from acestep_like.audio.splice_report import TrackChange
from acestep_like.errors import InputError

_OVERSAMPLING = 4
_PIECE = 1 << 20
_MARGIN = 64
"""Samples around a piece that its oversampling filter may reach into."""


def true_peak_dbtp(audio: torch.Tensor) -> float:
    """The largest magnitude between the samples too, in dB relative to full scale (ITU-R BS.1770-4, annex 2: four times
    oversampled); -inf for silence."""
    samples = audio.detach().cpu().numpy()
    peak = 0.0
    for start in range(0, samples.shape[1], _PIECE):
        piece = samples[:, max(0, start - _MARGIN) : start + _PIECE + _MARGIN]
        peak = max(peak, float(np.abs(resample_poly(piece, _OVERSAMPLING, 1, axis=1)).max()))
    return to_db(peak)


def at_loudness(
    audio: torch.Tensor, sample_rate: int, target_lufs: float = -14.0, ceiling_dbtp: float = -1.0
) -> torch.Tensor:
    """Audio at `target_lufs`, or lower where its true peak would pass `ceiling_dbtp`; silence is left alone."""
    loudness = loudness_lufs(audio, sample_rate)
    if not math.isfinite(loudness):
        return audio
    return audio * from_db(min(target_lufs - loudness, ceiling_dbtp - true_peak_dbtp(audio)))


def whole_bars(audio: torch.Tensor, sample_rate: int, bpm: float, beats_per_bar: int) -> torch.Tensor:
    """The beginning of audio that is a whole number of bars long.

    Raises:
        InputError: there is not one whole bar.
    """
    bar = beats_per_bar * 60 / bpm * sample_rate
    bars = math.floor(audio.shape[1] / bar + 1e-6)
    if bars < 1:
        raise InputError("audio", f"{audio.shape[1] / sample_rate:.2f} s", f"a bar of {bar / sample_rate:.2f} s")
    return audio[:, : round(bars * bar)].contiguous()


@dataclass(frozen=True)
class Loop:
    """Audio whose end leads into its beginning, and how much it changes there: as a multiple of the change from frame
    to frame that 99 of 100 of its own places stay below, so that up to 1 nobody hears where it begins."""

    samples: torch.Tensor
    change: float


def loop(audio: torch.Tensor, sample_rate: int, crossfade_s: float = 0.05) -> Loop:
    """Audio as a loop, `crossfade_s` shorter: its end fades into what stands before its new beginning.

    Raises:
        InputError: a crossfade that is not above 0 and at most half of the audio.
    """
    width = round(crossfade_s * sample_rate)
    if not 0 < width <= audio.shape[1] // 2:
        raise InputError("crossfade_s", crossfade_s, "seconds above 0 and at most half of the audio")
    turn = crossfade(audio[:, -width:], audio[:, :width], rising=True)
    looped = torch.cat([audio[:, width:-width], turn], dim=1)
    around = torch.cat([looped, looped], dim=1)
    _, _, change = TrackChange(looped, [], sample_rate).change(around, looped.shape[1])
    return Loop(looped, change)
