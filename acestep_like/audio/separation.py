"""Stems out of a mix with the help of estimates: soft masks over the mix's own spectrum, and parts that sum exactly.

A generated stem has the right spectrum but a phase of its own, so it cannot be subtracted from the mix. A mask made
from its spectrum keeps the mix's phase (Wiener filtering; e.g. Nugraha, Liutkus, Vincent 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_N_FFT, _HOP = 4096, 1024
_EXACT_BITS = (15, 22)
"""Grids on which sums are exact: that of 16-bit files, else 2**-22, on which float32 is exact below 4."""


def _spectrum(audio: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(_N_FFT, device=audio.device)
    return torch.stft(audio, _N_FFT, _HOP, window=window, center=True, pad_mode="constant", return_complex=True)


def mask_stems(mix: torch.Tensor, estimates: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The parts of a mix [2, N] that look like each estimate [2, n] (n is brought to N), each [2, N].

    Every time-frequency cell of the mix is shared in proportion to the power of the estimates and of the rest, whose
    magnitude is what the estimates together leave of the mix's.
    """
    length = mix.shape[-1]
    fitted = [torch.nn.functional.pad(e, (0, max(0, length - e.shape[-1])))[..., :length].float() for e in estimates]
    mixed = _spectrum(mix)
    powers = [_spectrum(estimate).abs().square() for estimate in fitted]
    together = torch.stack(powers).sum(0)
    rest = (mixed.abs() - together.sqrt()).clamp(min=0).square()
    window = torch.hann_window(_N_FFT, device=mix.device)
    return [
        torch.istft(mixed * (power / (together + rest + 1e-10)), _N_FFT, _HOP, window=window, length=length)
        for power in powers
    ]


def added_part(whole: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """What a newly made whole [2, n] has beyond the source [2, N] that it was made from, [2, N].

    Each cell keeps the magnitude by which the whole exceeds the source, with the whole's phase.
    """
    length = source.shape[-1]
    fitted = torch.nn.functional.pad(whole, (0, max(0, length - whole.shape[-1])))[..., :length].float()
    made = _spectrum(fitted)
    magnitude = made.abs()
    beyond = (magnitude - _spectrum(source).abs()).clamp(min=0)
    window = torch.hann_window(_N_FFT, device=source.device)
    return torch.istft(made * (beyond / (magnitude + 1e-8)), _N_FFT, _HOP, window=window, length=length)


def exact_residual(
    mix: torch.Tensor, stems: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Stems and a residual whose sum, in any order, is the mix bit for bit.

    All samples are put on the 16-bit grid when the mix lies on it (so that 16-bit files sum exactly too), else on
    multiples of 2**-22 (-132 dB), on which float32 sums below 4 are exact. Stems beyond full scale are clipped.

    Returns:
        The mix on the grid (at most 2**-23 from the one given), the stems, and the residual, each [2, N].
    """
    bits = next((bits for bits in _EXACT_BITS if torch.equal(_on_grid(mix, bits), mix)), _EXACT_BITS[-1])
    whole = _on_grid(mix, bits)
    parts = [_on_grid(stem.float().clamp(-1, 1), bits) for stem in stems]
    residual = whole.double() - sum((part.double() for part in parts), torch.zeros_like(whole, dtype=torch.float64))
    return whole, parts, residual.float()


def _on_grid(audio: torch.Tensor, bits: int) -> torch.Tensor:
    return (audio.double() * 2**bits).round().div(2**bits).float()
