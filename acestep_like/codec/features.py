"""What the spectral codec's encoder sees of a waveform."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acestep_like.codec import dsp

MID_BANDS, SIDE_BANDS, PAN_BANDS = 128, 64, 16
STEPS_PER_OCTAVE, OCTAVES = 24, 7

FEATURE_GROUPS: dict[str, slice] = {
    "mid": slice(0, 128),
    "side": slice(128, 192),
    "steps": slice(192, 360),
    "pan": slice(360, 376),
}
"""Columns of the features: log-mel of mid and side, log bands of mid at 24 an octave, level difference per band."""


class SpectralFeatures(nn.Module):
    """Audio `[B, 2, hop * J]` to features `[B, J, width]`, one row per spectral frame."""

    def __init__(self, sample_rate: int, hop: int, n_fft: int = 2048, n_fft_fine: int = 8192) -> None:
        super().__init__()
        self.hop = hop
        self.width = MID_BANDS + SIDE_BANDS + STEPS_PER_OCTAVE * OCTAVES + PAN_BANDS
        self.reach = n_fft_fine // 2  # samples to either side of a frame's hop that it looks at
        matrices = {
            "window": dsp.hann(n_fft),
            "window_fine": dsp.hann(n_fft_fine),
            "mid": dsp.mel_matrix(n_fft, MID_BANDS, sample_rate),
            "side": dsp.mel_matrix(n_fft, SIDE_BANDS, sample_rate),
            "pan": dsp.mel_matrix(n_fft, PAN_BANDS, sample_rate),
            "steps": dsp.log_band_matrix(n_fft_fine, STEPS_PER_OCTAVE, OCTAVES, sample_rate),
        }
        for name, matrix in matrices.items():
            self.register_buffer(name, matrix, persistent=False)

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        audio = audio.float()
        left_right = dsp.stft(audio, self.window.float(), self.hop)
        mid = 0.5 * (left_right[:, 0] + left_right[:, 1])
        side = 0.5 * (left_right[:, 0] - left_right[:, 1])
        energy = (left_right.abs() ** 2) @ self.pan.float()
        fine = dsp.stft(audio.mean(1), self.window_fine.float(), self.hop).abs()
        return torch.cat(
            [
                0.25 * torch.log((mid.abs() ** 2) @ self.mid.float() + 1e-4),
                0.25 * torch.log((side.abs() ** 2) @ self.side.float() + 1e-4),
                0.4 * torch.log(fine @ self.steps.float() + 1e-2),
                (energy[:, 0] - energy[:, 1]) / (energy.sum(1) + 0.05),
            ],
            dim=-1,
        )
