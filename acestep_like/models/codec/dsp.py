"""Short-time Fourier frames and the band matrices of the spectral codec, in plain torch.

All spectra are laid out `[..., frames, bins]`. Frame j is centred on sample `hop * j + hop / 2`, so `hop * J` samples
give exactly J frames and a signal reversed in time has its frames reversed. What lies outside a signal is silence.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAGNITUDE_FLOOR = 1e-2
"""Added to magnitudes before their logarithm: -100 dB below a full-scale sinusoid at these window lengths."""


def stft(samples: Tensor, window: Tensor, hop: int) -> Tensor:
    """Spectra of a signal.

    Args:
        samples: `[..., N]`, N a multiple of `hop`.
        window: `[n_fft]`, `n_fft - hop` even.

    Returns:
        complex `[..., N / hop, n_fft / 2 + 1]`; phase is relative to the first sample of each frame.
    """
    margin = (window.shape[0] - hop) // 2
    return torch.fft.rfft(F.pad(samples, (margin, margin)).unfold(-1, window.shape[0], hop) * window)


def power(spectra: Tensor) -> Tensor:
    """Squared magnitude of complex spectra; several times quicker than `abs() ** 2`, which guards against overflow."""
    parts = torch.view_as_real(spectra)
    return parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1])


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Sum frames `[..., J, n]` that start `hop` samples apart into `[..., hop * (J - 1) + n]`; `hop` divides n."""
    *lead, count, length = frames.shape
    parts = length // hop
    out = frames.new_zeros(*lead, count + parts - 1, hop)
    pieces = frames.reshape(*lead, count, parts, hop)
    for part in range(parts):
        out[..., part : part + count, :] += pieces[..., part, :]
    return out.flatten(-2)


def overlapped_window(window: Tensor, count: int, hop: int) -> Tensor:
    """`overlap_add` of a window `[n]` that comes `count` times, without a copy for each: its middle repeats."""
    parts = window.shape[0] // hop
    if count <= parts:
        return overlap_add(window.expand(count, -1), hop)
    blocks = overlap_add(window.expand(parts, -1), hop).unflatten(0, (-1, hop))
    return torch.cat([blocks[:parts], blocks[parts - 1].expand(count - parts, -1), blocks[parts:]]).flatten()


def hann(n_fft: int) -> Tensor:
    """Periodic Hann window `[n_fft]`."""
    return torch.hann_window(n_fft, dtype=torch.float32)


def _slaney_mel_to_hz(mel: Tensor) -> Tensor:
    # Slaney's Auditory Toolbox scale: linear below 1 kHz (15 mel), 27 steps per factor 6.4 above.
    return torch.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * torch.exp((mel - 15.0) * math.log(6.4) / 27.0))


def _slaney_hz_to_mel(hz: float) -> float:
    return hz * 3.0 / 200.0 if hz < 1000.0 else 15.0 + math.log(hz / 1000.0) * 27.0 / math.log(6.4)


def mel_matrix(n_fft: int, bands: int, sample_rate: int, low_hz: float = 20.0, high_hz: float = 22000.0) -> Tensor:
    """Triangles of height 1, equally wide on Slaney's mel scale: `[bins, bands]`."""
    edges_mel = torch.linspace(_slaney_hz_to_mel(low_hz), _slaney_hz_to_mel(high_hz), bands + 2, dtype=torch.float64)
    edges = _slaney_mel_to_hz(edges_mel)
    hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None] * sample_rate / n_fft
    rise = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp(min=0.0).float()


def log_band_matrix(
    n_fft: int, per_octave: int, octaves: int, sample_rate: int, low_hz: float = 32.703, min_bins: float = 1.0
) -> Tensor:
    """Triangles of height 1 at `per_octave` equal-tempered steps from `low_hz`: `[bins, per_octave * octaves]`.

    Half-width: one step, and at least `min_bins` bins, so that no band falls between two bins.
    """
    steps = torch.arange(per_octave * octaves, dtype=torch.float64)
    centre = low_hz * 2.0 ** (steps / per_octave)
    half_width = (centre * (2.0 ** (1.0 / per_octave) - 1.0)).clamp(min=min_bins * sample_rate / n_fft)
    hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None] * sample_rate / n_fft
    return (1.0 - (hz - centre).abs() / half_width).clamp(min=0.0).float()
