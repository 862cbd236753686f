"""A tagger for tempo beside a small language model: beats per minute of a row of 5 Hz codes.

A language model of a few million weights, trained on a few hundred songs, remembers tempi instead of detecting them.
Here they are found by periodicity: each code stands for how likely drums and notes begin, and how loud bands are, in
each of its five latent frames (a table, averaged over the training songs); the autocorrelation of these curves goes
through a small network to a distribution over tempi. Made by `training/code_tempo.py`, kept as `tempo.safetensors`
beside the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from acestep_like.models.checkpoints.small_networks import read_whole, write_half

FILE = "tempo.safetensors"
FRAMES_A_CODE = 5
FRAMES_PER_S = 25
RANGE_BPM = (48.0, 196.0)
BINS = 140
"""Tempi, evenly spaced in log2 over the range."""
LONGEST_LAG = 160
"""Of the autocorrelation, in latent frames: 6.4 s."""
HALF_BEATS = 24
"""Lags that a meter is read from."""
_LAGS = torch.logspace(math.log10(4), math.log10(150), 120, dtype=torch.float32)
_FEWEST_CODES = 20
"""Four seconds; less is too short for a tempo."""


def tempi_bpm() -> torch.Tensor:
    """The tempo of every bin [BINS]."""
    return torch.logspace(math.log2(RANGE_BPM[0]), math.log2(RANGE_BPM[1]), BINS, base=2, dtype=torch.float32)


def autocorrelation(curves: torch.Tensor) -> torch.Tensor:
    """Of curves [T, C]: [LONGEST_LAG + 1, C], 1 at lag 0, tapering to 0 at lag T."""
    curves = curves - curves.mean(dim=0)
    curves = curves / (curves.std(dim=0, unbiased=False) + 1e-6)
    length = len(curves)
    power = torch.fft.rfft(curves, 2 * length, dim=0).abs().square()
    found = torch.fft.irfft(power, 2 * length, dim=0)[: min(length, LONGEST_LAG + 1)] / length
    return F.pad(found, (0, 0, 0, LONGEST_LAG + 1 - len(found)))


def at_lags(correlation: torch.Tensor, stretch: torch.Tensor) -> torch.Tensor:
    """Autocorrelations [B, LONGEST_LAG + 1, C] at the lags that the network reads: [B, lags, C].

    `stretch` [B] is how much faster the music is taken to be played; 1 leaves it as it is.
    """
    return _read(correlation, _LAGS * stretch[:, None])


def _read(correlation: torch.Tensor, lags: torch.Tensor) -> torch.Tensor:
    """Autocorrelations [B, LONGEST_LAG + 1, C] between their lags, at `lags` [B, n] in frames: [B, n, C]."""
    place = lags.clamp(max=LONGEST_LAG - 1.001)
    low = place.long()
    share = (place - low)[..., None]

    def pick(index: torch.Tensor) -> torch.Tensor:
        return correlation.gather(1, index[..., None].expand(-1, -1, correlation.shape[2]))

    return pick(low) * (1 - share) + pick(low + 1) * share


class TempoTagger(nn.Module):
    """The table of curves [codes, 5, C] and the network that reads their autocorrelation."""

    table: torch.Tensor

    def __init__(self, table: torch.Tensor, mixed: int = 24, width: int = 160) -> None:
        super().__init__()
        self.register_buffer("table", table.float())
        self.mix = nn.Linear(table.shape[2], mixed)
        self.hidden = nn.Linear(mixed * len(_LAGS), width)
        self.out = nn.Linear(width, BINS)

    def curves(self, codes: torch.Tensor) -> torch.Tensor:
        """What the codes [n] say frame by frame: [5 n, C]."""
        return self.table[codes].flatten(0, 1)

    def forward(self, correlation: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """Autocorrelation at the lags [B, lags, C] to logits over tempi [B, BINS]."""
        mixed = F.dropout(F.gelu(self.mix(correlation)).flatten(1), dropout, self.training)
        return self.out(F.dropout(F.gelu(self.hidden(mixed)), dropout, self.training))

    @torch.no_grad()
    def at_beats(self, codes: torch.Tensor, bpm: float) -> torch.Tensor:
        """The curves' autocorrelation at every half beat up to twelve beats, [24 C]: what a meter is read from."""
        lags = 60 / bpm * FRAMES_PER_S * torch.arange(1, HALF_BEATS + 1, dtype=torch.float32) / 2
        return _read(autocorrelation(self.curves(codes))[None], lags[None]).flatten()

    @torch.no_grad()
    def bpm(self, codes: Sequence[int]) -> int | None:
        """The most probable tempo of codes, or None where there are too few."""
        if len(codes) < _FEWEST_CODES:
            return None
        correlation = autocorrelation(self.curves(torch.tensor(codes)))[None]
        logits = self(at_lags(correlation, torch.ones(1, dtype=torch.float32)))
        return round(float(tempi_bpm()[int(logits.argmax())]))

    def save(self, folder: Path) -> None:
        """Write `tempo.safetensors` in float16, atomically."""
        write_half(self, folder / FILE)

    @classmethod
    def find(cls, folder: Path) -> TempoTagger | None:
        """The tagger that lies beside a model, on the CPU; None when there is none.

        Raises:
            CheckpointError: its file is damaged.
        """
        return read_whole(
            folder / FILE, lambda state, _: cls(state["table"], len(state["mix.bias"]), len(state["hidden.bias"]))
        )
