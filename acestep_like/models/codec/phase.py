"""Phase for magnitudes: a stream that rebuilds complex spectra block by block, each continuing from the one before.

Phases start from Single Pass Spectrogram Inversion (Beauregard, Harish, Wyse 2015): every bin follows the sinusoid of
its nearest peak. Fast Griffin-Lim iterations (Perraudin, Balazs, Sondergaard 2013) then make neighbouring frames agree.
As in iterative inversion with look-ahead (Zhu, Beauregard, Wyse 2007), frames already given out stay fixed and a few
frames to come are looked at, so blocks join without a seam and early output does not depend on how long the signal is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acestep_like.models.codec.dsp import overlap_add


def _nearest_peak(magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the peak nearest to each bin, and every bin's interpolated offset if it is a peak: `[J, F]` each."""
    bins = magnitude.shape[-1]
    log = torch.log(magnitude + 1e-9)
    left, mid, right = log[:, :-2], log[:, 1:-1], log[:, 2:]
    peak = torch.zeros_like(magnitude, dtype=torch.bool)
    peak[:, 1:-1] = (mid > left) & (mid >= right)
    offset = torch.zeros_like(magnitude)
    offset[:, 1:-1] = (0.5 * (left - right) / (left - 2.0 * mid + right - 1e-9)).clamp(-0.5, 0.5)
    index = torch.arange(bins, device=magnitude.device, dtype=torch.int32).expand_as(magnitude)
    below = torch.where(peak, index, -bins).cummax(dim=1).values
    above = torch.where(peak, index, 2 * bins).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(index - below <= above - index, below, above)
    return torch.where((nearest >= 0) & (nearest < bins), nearest, index).long(), offset


def propagate(magnitude: Tensor, start: Tensor, n_fft: int, hop: int) -> Tensor:
    """Phases by Single Pass Spectrogram Inversion.

    Args:
        magnitude: `[J, F]`.
        start: `[F]` phases of the frame before the first, radians, relative to the frame's centre.

    Returns:
        `[J, F]` phases relative to each frame's centre.
    """
    nearest, offset = _nearest_peak(magnitude)
    index = torch.arange(magnitude.shape[1], device=magnitude.device)
    advance = (2.0 * math.pi * hop / n_fft) * torch.gather(index + offset, 1, nearest)
    phases = torch.empty_like(magnitude)
    current = start
    for frame in range(magnitude.shape[0]):
        current = torch.remainder(current[nearest[frame]] + advance[frame], 2.0 * math.pi)
        phases[frame] = current
    return phases


class PhaseSequence:
    """Turns blocks of magnitudes into blocks of complex spectra. One signal per stream; state is the last frames.

    Args:
        window: `[n_fft]` analysis and synthesis window.
        hop: samples between frames; divides `n_fft`.
        iterations: Griffin-Lim iterations per block.
        momentum: of fast Griffin-Lim, 0 = plain.
    """

    def __init__(self, window: Tensor, hop: int, iterations: int, momentum: float = 0.99) -> None:
        self.window, self.hop = window, hop
        self.n_fft = window.shape[0]
        self.iterations, self.momentum = iterations, momentum
        self.context = self.n_fft // hop - 1  # earlier frames that overlap the first frame of a block
        self.bins = self.n_fft // 2 + 1
        self.past = torch.zeros(0, self.bins, dtype=torch.complex64, device=window.device)
        # Centre-relative phase of bin k is its frame-relative phase plus pi * k.
        self.sign = 1.0 - 2.0 * (torch.arange(self.bins, device=window.device, dtype=window.dtype) % 2)

    def push(self, magnitude: Tensor, lookahead: int) -> Tensor:
        """Spectra of a block.

        Args:
            magnitude: `[J + lookahead, F]`; the last `lookahead` frames come again at the start of the next block.

        Returns:
            complex `[J, F]`.
        """
        if len(self.past):
            start = torch.angle(self.past[-1] * self.sign)
        else:
            start = magnitude.new_zeros(self.bins)
        phases = propagate(magnitude, start, self.n_fft, self.hop)
        spectra = torch.polar(magnitude, phases) * self.sign
        spectra = self._griffin_lim(spectra, magnitude)
        given = spectra[: len(spectra) - lookahead]
        self.past = torch.cat([self.past, given])[-self.context :].clone()
        return given

    def _griffin_lim(self, spectra: Tensor, magnitude: Tensor) -> Tensor:
        fixed = len(self.past)
        whole = torch.cat([self.past, spectra])
        envelope = overlap_add((self.window**2).expand(len(whole), -1), self.hop).clamp(min=1e-3)
        first = fixed * self.hop
        trust = self.momentum / (1.0 + self.momentum)
        new = whole[fixed:]
        before: Tensor | None = None
        for _ in range(self.iterations):
            frames = torch.fft.irfft(whole, n=self.n_fft).mul_(self.window)
            signal = overlap_add(frames, self.hop).div_(envelope)[first:]
            found = torch.fft.rfft(signal.unfold(-1, self.n_fft, self.hop) * self.window)
            aim = found if before is None else torch.sub(found, before, alpha=trust)
            before = found
            re, im = torch.view_as_real(aim).unbind(-1)
            scale = (re * re).addcmul_(im, im).add_(1e-18).rsqrt_().mul_(magnitude)
            torch.mul(aim, scale, out=new)
        return whole[fixed:]
