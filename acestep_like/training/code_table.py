"""What each code of the tokenizer stands for: the mean over training songs of what goes on in its five frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from acestep_like.models.analysis.code_tempo import FRAMES_A_CODE
from acestep_like.training.data import SongRow

_PRIOR = 20.0
"""As many occurrences of the mean of all codes are added to each, for those that hardly occur."""


def code_table(
    curves_of: Callable[[SongRow], torch.Tensor],
    rows: Sequence[SongRow],
    codes: Sequence[np.ndarray],
    songs: Sequence[int],
    count: int,
) -> torch.Tensor:
    """Mean curves of each code [count, 5, C].

    Args:
        curves_of: the curves [frames, C] of a song.
        codes: of every song, int [5, n], one row a frame offset.
        songs: which of them to learn from.
        count: the size of the codebook.
    """
    channels = curves_of(rows[songs[0]]).shape[1]
    sums, seen = torch.zeros(count, FRAMES_A_CODE, channels), torch.zeros(count, 1, 1)
    for index in songs:
        curves = curves_of(rows[index])
        for offset, shifted in enumerate(codes[index]):
            n = min(len(shifted), (len(curves) - offset) // FRAMES_A_CODE)
            ids = torch.from_numpy(shifted[:n].astype(np.int64))
            cut = curves[offset : offset + n * FRAMES_A_CODE].reshape(n, FRAMES_A_CODE, channels)
            sums.index_add_(0, ids, cut)
            seen.index_add_(0, ids, torch.ones(n, 1, 1))
    mean = sums.sum(dim=0, keepdim=True) / seen.sum()
    return (sums + _PRIOR * mean) / (seen + _PRIOR)
