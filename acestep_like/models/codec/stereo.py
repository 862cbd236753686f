"""Parametric stereo: a mono spectrum plus, per mel band, level difference and coherence (Breebaart et al. 2005)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_like.models.codec import dsp

_COMB_HZ = 400.0  # period of the phase ripple that carries width: echoes 2.5 ms apart, short beside the window


class StereoBands(nn.Module):
    """Measures and restores the stereo image of spectra.

    pan: (left - right) / (left + right) of band energies, -1..1. coherence: normalised correlation of the channels in
    the band over a few frames, 1 = mono, 0 = unrelated.
    """

    bands: Tensor
    to_bins: Tensor
    ripple: Tensor
    coherence_table: Tensor
    spread_table: Tensor

    def __init__(self, sample_rate: int, n_fft: int, bands: int, smooth_frames: int = 5) -> None:
        super().__init__()
        self.smooth_frames = smooth_frames
        matrix = dsp.mel_matrix(n_fft, bands, sample_rate)
        self.register_buffer("bands", matrix, persistent=False)
        share = matrix / (matrix.sum(1, keepdim=True) + 1e-9)
        # Bins beyond the outermost bands follow the nearest one.
        inside = torch.nonzero(matrix.sum(1) > 0)[:, 0]
        share[: inside[0]], share[inside[-1] + 1 :] = share[inside[0]], share[inside[-1]]
        self.register_buffer("to_bins", share.T.contiguous(), persistent=False)
        hz = torch.arange(n_fft // 2 + 1, dtype=torch.float32) * sample_rate / n_fft
        self.register_buffer("ripple", torch.sin(2.0 * math.pi * hz / _COMB_HZ), persistent=False)
        # Spreading the phases of the channels by +-x * ripple leaves a coherence of J0(2x): tabulate its inverse.
        spread = torch.linspace(0.0, 1.2024, 512, dtype=torch.float32)
        self.register_buffer("coherence_table", torch.special.bessel_j0(2.0 * spread).flip(0), persistent=False)
        self.register_buffer("spread_table", spread.flip(0), persistent=False)

    @torch.no_grad()
    def measure(self, spectra: Tensor, power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spectra `[B, 2, J, F]` and their power to pan, coherence and energy, `[B, J, bands]` each."""
        matrix = self.bands.float()
        energy_left, energy_right = power[:, 0] @ matrix, power[:, 1] @ matrix
        left, right = torch.view_as_real(spectra[:, 0]), torch.view_as_real(spectra[:, 1])
        cross = (left[..., 0] * right[..., 0]).addcmul_(left[..., 1], right[..., 1]) @ matrix
        total = energy_left + energy_right
        pan = (energy_left - energy_right) / (total + 1e-3)
        smooth = [self._smooth(x) for x in (cross, energy_left, energy_right)]
        coherence = (smooth[0] + 1e-4) / (torch.sqrt(smooth[1] * smooth[2]) + 1e-4)
        return pan, coherence.clamp(-1.0, 1.0), total

    def _smooth(self, x: Tensor) -> Tensor:
        half = self.smooth_frames // 2
        return F.avg_pool1d(x.transpose(1, 2), self.smooth_frames, 1, half, count_include_pad=False).transpose(1, 2)

    @torch.no_grad()
    def spread(self, mono: Tensor, pan: Tensor, coherence: Tensor) -> Tensor:
        """Mono spectra `[J, F]` and bands `[J, bands]` to left and right `[2, J, F]`; energies are kept exactly."""
        to_bins = self.to_bins.float()
        level = (pan.clamp(-1.0, 1.0) @ to_bins).clamp(-1.0, 1.0)
        table = self.coherence_table.float()
        place = torch.searchsorted(table, coherence.clamp(0.0, 1.0).contiguous()).clamp(max=len(table) - 1)
        turn = (self.spread_table.float()[place] @ to_bins) * self.ripple.float()
        turned = torch.complex(torch.cos(turn), torch.sin(turn))
        out = mono.new_empty(2, *mono.shape)
        torch.mul(mono, turned, out=out[0]).mul_(torch.sqrt(1.0 + level))
        torch.mul(mono, turned.conj_physical_(), out=out[1]).mul_(torch.sqrt(1.0 - level))
        return out
