"""Latents moved a little, so that what is decoded from them sounds more like the recording (analysis by synthesis).

Principal components keep what differs most in squares of log magnitude, not what is detected best. A few short steps
down a loss of what is detected, through the decoder's linear read-out with its residual held as it is, give that back:
every latent on its own, without any weights to learn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_like.models.codec import dsp

_STEP = 0.06
"""Length of the first step, as the root of its mean square over the channels; the others are shorter, evenly."""
_SOFT = 0.1
"""A band that is off by less than this, in natural log units, pulls less."""
_FLOOR = 1e-2
_LOG_FLOOR = float(torch.tensor(dsp.MAGNITUDE_FLOOR, dtype=torch.float32).log())
BANK_WEIGHTS = (4.0, 1.0)
"""Of mel bands and of those for harmony. Mel bands count more because they come out worse."""
_STEREO_WEIGHT = 0.3
MEL_BANDS = (40, 160)


class DetectedBands(nn.Module):
    """The bands in which a picture is compared: mel in two widths, and 24 to an octave for harmony."""

    mel: Tensor
    steps: Tensor

    def __init__(self, sampling_rate: int, n_fft: int) -> None:
        super().__init__()
        mel = torch.cat([dsp.mel_matrix(n_fft, bands, sampling_rate) for bands in MEL_BANDS], dim=1)
        self.register_buffer("mel", mel, persistent=False)
        steps = dsp.log_band_matrix(n_fft, 24, 7, sampling_rate, low_hz=55.0)
        self.register_buffer("steps", steps, persistent=False)

    def _banks(self, magnitude: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Every bank `[bins, bands]` in the precision of a magnitude `[..., bins]`, and the bands of that."""
        banks = (matrix.to(magnitude) for matrix in (self.mel, self.steps))
        return [(matrix, magnitude @ matrix + _FLOOR) for matrix in banks]

    def levels(self, log_magnitude: Tensor) -> list[Tensor]:
        """Log level of every band, `[..., bands]` each, of log magnitude `[..., bins]`."""
        return [band.log() for _, band in self._banks(log_magnitude.exp())]

    def pull(self, log_magnitude: Tensor, wanted: list[Tensor]) -> Tensor:
        """Gradient with respect to log magnitude of how far the levels are from those that are wanted: the mean of each
        bank, weighted."""
        magnitude = log_magnitude.exp()
        gradient = torch.zeros_like(magnitude)
        for (matrix, band), level, weight in zip(self._banks(magnitude), wanted, BANK_WEIGHTS, strict=True):
            gradient += (weight / matrix.shape[1] * torch.tanh((band.log() - level) / _SOFT) / band) @ matrix.T
        return gradient * magnitude


@torch.no_grad()
def refine(
    latents: Tensor, residual: Tensor, picture: tuple[Tensor, ...], readout: nn.Linear, bands: DetectedBands, steps: int
) -> Tensor:
    """Latents `[B, T, C]` after `steps` steps towards a picture (`SpectralAutoencoder.picture`).

    Digital silence stays what it is, and what is hardly above it moves less. No gradient reaches the audio.

    Args:
        residual: what the decoder adds to the linear read-out of these latents, `[B, T, outputs]`.
        readout: the linear part of the decoder; its outputs are log magnitude, pan and coherence of several frames.
    """
    log_magnitude, pan, coherence, energy = picture
    stereo = torch.cat([pan, coherence], dim=-1)
    wanted = bands.levels(log_magnitude)
    share = (energy / (energy.mean(-1, keepdim=True) + 1e-6)).clamp(max=4.0)
    weight = _STEREO_WEIGHT * 2 * torch.cat([share, share], dim=-1) / pan.shape[-1]
    above_floor = (log_magnitude - _LOG_FLOOR).reshape(*latents.shape[:2], -1)
    sounding = above_floor.mean(-1, keepdim=True).clamp(0.0, 1.0)
    bins = log_magnitude.shape[-1]
    matrix, bias = readout.weight.float(), readout.bias.float()
    for step in range(steps):
        decoded = (F.linear(latents, matrix, bias) + residual).reshape(*log_magnitude.shape[:2], -1)
        detected = decoded[..., :bins].clamp(max=8.0)
        pull = torch.cat([bands.pull(detected, wanted), weight * (decoded[..., bins:] - stereo)], dim=-1)
        gradient = pull.reshape(*latents.shape[:2], -1) @ matrix
        length = gradient.square().mean(-1, keepdim=True).sqrt() + 1e-3
        latents = latents - _STEP * (1 - step / steps) * sounding * gradient / length
    return latents
