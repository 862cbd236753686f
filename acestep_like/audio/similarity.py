"""How far one recording keeps the harmony and the rhythm of another of the same length."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from acestep_like.audio.features import CHROMA_RATE, ONSET_RATE, chromagram, onset_envelope

_CHROMA_WINDOW_S = 0.5
_ONSET_WIDTH_S = 0.03
_MAX_LAG_S = 0.03


@dataclass(frozen=True)
class Agreement:
    """1 is equal, 0 unrelated on average; unrelated music in one key still shares some chroma.

    Attributes:
        chroma: mean correlation of the two chroma vectors over half a second.
        onsets: correlation of the onset envelopes, at the best lag within 30 ms.
    """

    chroma: float
    onsets: float

    @property
    def similarity(self) -> float:
        """The mean of both."""
        return (self.chroma + self.onsets) / 2

    def to_dict(self) -> dict[str, float]:
        return {**asdict(self), "similarity": self.similarity}


def agreement(one: torch.Tensor, two: torch.Tensor, sample_rate: int) -> Agreement:
    """Compare two recordings [2, N] over their common length."""
    length = min(one.shape[-1], two.shape[-1])
    first, second = one[..., :length], two[..., :length]
    return Agreement(_chroma(first, second, sample_rate), _onsets(first, second, sample_rate))


def _chroma(one: Any, two: Any, sample_rate: int) -> float:
    width = max(1, round(_CHROMA_WINDOW_S * CHROMA_RATE))
    pair = [uniform_filter1d(chromagram(audio, sample_rate).full, width, axis=1) for audio in (one, two)]
    centred = [chroma - chroma.mean(axis=0, keepdims=True) for chroma in pair]
    norms = [np.sqrt((chroma**2).sum(axis=0)) for chroma in centred]
    detected = (norms[0] > 1e-6) & (norms[1] > 1e-6)
    if not detected.any():
        return 0.0
    product = (centred[0] * centred[1]).sum(axis=0)[detected] / (norms[0] * norms[1])[detected]
    return float(product.mean() * detected.mean())


def _onsets(one: Any, two: Any, sample_rate: int) -> float:
    pair = [gaussian_filter1d(onset_envelope(audio, sample_rate), _ONSET_WIDTH_S * ONSET_RATE) for audio in (one, two)]
    reach = round(_MAX_LAG_S * ONSET_RATE)
    best = 0.0
    for lag in range(-reach, reach + 1):
        a, b = pair[0][max(0, lag) :], pair[1][max(0, -lag) :]
        a, b = a[: len(b)] - a[: len(b)].mean(), b[: len(a)] - b[: len(a)].mean()
        norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
        best = max(best, float((a * b).sum()) / norm if norm > 1e-9 else 0.0)
    return best
