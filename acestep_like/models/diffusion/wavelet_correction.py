"""The wavelet correction of later ACE-Step ("DCW"): after a step, the sample moves away from the clean estimate in the
low band early in the run and in the high band late in it.

Source: behaviour of `dcw_*` in ACE-Step 1.5 of May 2026. Its transform is one level along time with zeros beyond the
ends, as `pywt.dwt(mode="zero")`; the taps of wavelets other than Haar's come from PyWavelets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acestep_like.errors import DependencyError, InputError

DCW_MODES = ("low", "high", "double", "pix")
_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class FilterBank:
    """Taps of a wavelet, each L long: analysis and synthesis, low and high."""

    analysis_low: tuple[float, ...]
    analysis_high: tuple[float, ...]
    synthesis_low: tuple[float, ...]
    synthesis_high: tuple[float, ...]


HAAR = FilterBank((_HALF, _HALF), (-_HALF, _HALF), (_HALF, _HALF), (_HALF, -_HALF))


def filter_bank(name: str) -> FilterBank:
    """The taps of a wavelet by PyWavelets' name.

    Raises:
        DependencyError: another wavelet than "haar" without PyWavelets.
        InputError: an unknown wavelet.
    """
    if name == "haar":
        return HAAR
    try:
        import pywt
    except ImportError as error:
        raise DependencyError("PyWavelets", "wavelets", f"dcw_wavelet={name!r}") from error
    if name not in pywt.wavelist(kind="discrete"):
        raise InputError("dcw_wavelet", name, "a discrete wavelet of PyWavelets such as 'haar', 'db4' or 'sym8'")
    return FilterBank(*(tuple(taps) for taps in pywt.Wavelet(name).filter_bank))


def analyse(x: Tensor, taps: tuple[float, ...]) -> Tensor:
    """One band of x [..., T] at half its rate, [..., floor((T + L - 1) / 2)]: sum over j of taps[j] * x[2k + 1 - j]."""
    length, count = len(taps), (x.shape[-1] + len(taps) - 1) // 2
    padded = F.pad(x, (length - 2, 2 * count - x.shape[-1]))
    return F.conv1d(padded.reshape(-1, 1, padded.shape[-1]), _kernel(taps, x).flip(-1), stride=2).view(
        *x.shape[:-1], count
    )


def synthesise(band: Tensor, taps: tuple[float, ...], length: int) -> Tensor:
    """What a band [..., n] adds to a signal of `length` samples."""
    whole = F.conv_transpose1d(band.reshape(-1, 1, band.shape[-1]), _kernel(taps, band), stride=2)
    start = len(taps) - 2
    return whole[..., start : start + length].reshape(*band.shape[:-1], length)


def _kernel(taps: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(taps, dtype=like.dtype, device=like.device)[None, None]


@dataclass(frozen=True)
class WaveletCorrection:
    """What is corrected, and how far.

    Attributes:
        mode: "low", "high" or both bands ("double"); "pix" moves the sample itself, whatever the time.
        scaler: of the low band; of the only band in the other modes.
        high_scaler: of the high band in the mode "double".
        bank: the wavelet.
    """

    mode: str = "double"
    scaler: float = 0.05
    high_scaler: float = 0.02
    bank: FilterBank = HAAR

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.scaler != 0 or (self.mode == "double" and self.high_scaler != 0)

    def __call__(self, x: Tensor, clean: Tensor, t: float) -> Tensor:
        """The sample x [B, T, C] after a step that began at time t and estimated `clean` [B, T, C]."""
        difference = (x.float() - clean.float()).transpose(1, 2)
        if self.mode == "pix":
            moved = self.scaler * difference
        else:
            # The transform gives back what it takes apart, so only the difference of the bands goes through it.
            moved = torch.zeros_like(difference)
            low = t * self.scaler if self.mode in ("low", "double") else 0.0
            high = (1 - t) * (self.high_scaler if self.mode == "double" else self.scaler) if self.mode != "low" else 0.0
            for weight, taps, back in (
                (low, self.bank.analysis_low, self.bank.synthesis_low),
                (high, self.bank.analysis_high, self.bank.synthesis_high),
            ):
                if weight != 0:
                    moved = moved + synthesise(weight * analyse(difference, taps), back, difference.shape[-1])
        return (x.float() + moved.transpose(1, 2)).to(x.dtype)
