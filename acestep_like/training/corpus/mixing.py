"""Dry stems to a mix: EQ, compression, reverb and one level for the whole song.

Everything after the wet stems is linear, so the mix is exactly their sum. Runs on any torch device; deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from acestep_like.training.corpus.render import SAMPLE_RATE
from acestep_like.training.corpus.song import Song

TARGET_RMS_DB = -17.0
PEAK = 0.97
_IR_S = 1.8
_HOP = 240

# Gain in dB at frequencies in Hz, by class: room for one another.
_EQ: dict[str, tuple[tuple[float, float], ...]] = {
    "bass": ((20, -9), (35, 0), (90, 1.5), (250, -1.5), (900, 0), (5000, -3), (12000, -8)),
    "drums": ((20, -6), (45, 1), (100, 1), (350, -2), (3000, 1), (10000, 2.5)),
    "percussion": ((60, -6), (200, -1), (4000, 1), (12000, 1)),
    "keyboard": ((60, -8), (180, -1.5), (1200, 0), (5000, 1.5), (12000, 1)),
    "guitar": ((60, -9), (120, -2), (400, -1), (2500, 1.5), (8000, 0), (14000, -4)),
    "synth": ((50, -8), (150, -2), (1000, 0), (6000, 1), (14000, 0)),
    "strings": ((50, -8), (160, -1.5), (1500, 0), (7000, 1.5), (14000, 0)),
    "brass": ((60, -8), (200, -1), (1500, 1), (6000, 0), (14000, -2)),
    "woodwinds": ((80, -9), (250, -1), (2000, 1), (8000, 1), (14000, -1)),
    "vocals": ((80, -9), (200, -1.5), (800, 0), (3000, 2), (9000, 1.5)),
    "backing_vocals": ((100, -10), (300, -3), (2000, 0), (8000, 2)),
    "fx": ((40, -10), (200, -2), (2000, 0), (10000, 1)),
}
_THRESHOLD_DB = {"drums": 5.0, "bass": 3.0, "vocals": 3.0}
_CREST = {"drums": 4.5, "percussion": 5.0, "fx": 4.0}
_RATIO = {"drums": 2.5, "bass": 3.0, "vocals": 2.5}


@dataclass(frozen=True)
class MixedSong:
    """Wet stems [2, N] by track class, and their exact sum [2, N]."""

    stems: dict[str, torch.Tensor]
    mix: torch.Tensor


def _fast_length(samples: int) -> int:
    """The least length of at least `samples` with factors 2, 3 and 5 only, in steps of 1024, for a quick FFT."""
    length = -(-samples // 1024)
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length * 1024
        length += 1


@lru_cache(maxsize=32)
def _impulse_response(device: str) -> torch.Tensor:
    """Decorrelated stereo noise with early reflections, decaying faster at high frequencies; unit energy, [2, n]."""
    generator = torch.Generator().manual_seed(20)
    length = round(_IR_S * SAMPLE_RATE)
    noise = torch.randn(2, length, generator=generator)
    time_s = torch.arange(length) / SAMPLE_RATE
    freq = torch.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum = torch.fft.rfft(noise)
    wet = torch.zeros(2, length)
    for low, high, rt60 in ((150, 700, 1.7), (700, 2500, 1.4), (2500, 6000, 0.9), (6000, 12000, 0.5)):
        band = torch.fft.irfft(spectrum * ((freq >= low) & (freq < high)), n=length)
        wet += band * 10 ** (-3 * time_s / rt60)
    wet *= (time_s / 0.015).clamp(max=1)
    for _ in range(10):
        place = int(torch.randint(round(0.006 * SAMPLE_RATE), round(0.06 * SAMPLE_RATE), (1,), generator=generator))
        wet[int(torch.randint(0, 2, (1,), generator=generator)), place] += 2.5 * float(
            torch.rand(1, generator=generator)
        )
    wet /= wet.square().sum(1, keepdim=True).sqrt()
    return wet.to(device)


@lru_cache(maxsize=256)
def _eq_curve(track_class: str, size: int, device: str) -> torch.Tensor:
    """Zero-phase gain of a class on the FFT grid of length `size`, interpolated in log frequency."""
    points = torch.tensor(_EQ[track_class])
    freq = torch.fft.rfftfreq(size, 1 / SAMPLE_RATE).clamp(min=1).log()
    knots, gains = points[:, 0].log(), points[:, 1]
    index = torch.searchsorted(knots, freq).clamp(1, len(knots) - 1)
    share = ((freq - knots[index - 1]) / (knots[index] - knots[index - 1])).clamp(0, 1)
    gain_db = gains[index - 1] + share * (gains[index] - gains[index - 1])
    return (10 ** (gain_db / 20)).to(device)


def _active_rms(stem: torch.Tensor) -> torch.Tensor:
    """Scalar RMS over the 5 ms hops within 30 dB of the loudest."""
    power = F.avg_pool1d(stem.square().mean(0)[None, None], _HOP)[0, 0]
    used = power > power.max() * 1e-3
    return (power * used).sum().div(used.sum().clamp(min=1)).sqrt()


def _compress(stem: torch.Tensor, threshold_db: float, ratio: float) -> torch.Tensor:
    """Feed-forward compression on a smoothed envelope; the active RMS stays what it was."""
    before = _active_rms(stem)
    power = F.avg_pool1d(stem.square().mean(0)[None, None], _HOP, ceil_mode=True)
    window = torch.hann_window(9, periodic=False, device=stem.device)
    power = F.conv1d(F.pad(power, (4, 4), mode="replicate"), (window / window.sum())[None, None])
    level_db = 10 * (power + 1e-10).log10() - 20 * (before + 1e-9).log10()
    gain_db = -(level_db - threshold_db).clamp(min=0) * (1 - 1 / ratio)
    gain = F.interpolate(10 ** (gain_db / 20), size=stem.shape[1], mode="linear")[0]
    squeezed = stem * gain
    return squeezed * (before / _active_rms(squeezed).clamp(min=1e-9))


def _saturate(stem: torch.Tensor, crest: float) -> torch.Tensor:
    """Round off peaks above about `crest` times the active RMS, so that one hit does not hold the whole mix down."""
    ceiling = crest * _active_rms(stem).clamp(min=1e-6)
    return ceiling * torch.tanh(stem / ceiling)


def _sends(song: Song) -> dict[str, float]:
    """Reverb send by class: the largest of its tracks."""
    sends: dict[str, float] = {}
    for track in song.tracks:
        sends[track.track_class] = max(sends.get(track.track_class, 0.0), track.reverb_send)
    return sends


def mix(stems: dict[str, torch.Tensor], song: Song) -> MixedSong:
    """Mix dry stems [2, N] of a song; all stems on one device.

    The level is about `TARGET_RMS_DB` with peaks below `PEAK`, by one gain for the whole song.
    """
    names = list(stems)
    if not names:
        raise ValueError("a song without stems cannot be mixed")
    device = str(stems[names[0]].device)
    samples = stems[names[0]].shape[1]
    response = _impulse_response(device)
    size = _fast_length(samples + response.shape[1])
    room = torch.fft.rfft(response, n=size)
    sends = _sends(song)
    wet: dict[str, torch.Tensor] = {}
    for name in names:
        dry = stems[name].float()
        if name in _RATIO:
            dry = _compress(dry, _THRESHOLD_DB[name], _RATIO[name])
        dry = _saturate(dry, _CREST.get(name, 6.0))
        chain = _eq_curve(name, size, device) * (1 + sends.get(name, 0.0) * room)
        wet[name] = torch.fft.irfft(torch.fft.rfft(dry, n=size) * chain, n=size)[:, :samples]
    fade = torch.linspace(1, 0, min(round(0.35 * SAMPLE_RATE), samples), device=device)
    total = torch.stack(list(wet.values())).sum(0)
    total[:, -len(fade) :] *= fade
    rms = _active_rms(total).clamp(min=1e-9)
    gain = torch.minimum(10 ** (TARGET_RMS_DB / 20) / rms, PEAK / total.abs().max().clamp(min=1e-9))
    for name, stem in wet.items():
        stem[:, -len(fade) :] *= fade
        wet[name] = stem * gain
    return MixedSong(wet, sum_stems(wet))


def sum_stems(stems: dict[str, torch.Tensor]) -> torch.Tensor:
    """The sum of stems in the order of the dict: exactly what `mix` answers as the mix."""
    return torch.stack(list(stems.values())).sum(0)
