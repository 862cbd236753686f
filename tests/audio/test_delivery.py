"""Promises of `audio/delivery.py`: loudness and true peak land where asked, loops turn without a click."""

from __future__ import annotations

import math

import pytest
import torch

from acestep_like.audio.delivery import at_loudness, loop, true_peak_dbtp, whole_bars
from acestep_like.audio.level import loudness_lufs, peak_dbfs
from acestep_like.errors import InputError

RATE = 48000


def sine(level: float = 0.5, seconds: float = 3.0, hz: float = 997.0, phase: float = 0.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (level * torch.sin(2 * torch.pi * hz * time + phase)).float().repeat(2, 1)


def test_a_peak_between_the_samples_counts() -> None:
    # A quarter of the sample rate at 45 degrees: every sample lies 3 dB below the wave's peak.
    hidden = sine(0.5, hz=RATE / 4, phase=math.pi / 4)
    assert peak_dbfs(hidden) == pytest.approx(-9.03, abs=0.05)
    assert true_peak_dbtp(hidden[:, 2000:-2000]) == pytest.approx(-6.02, abs=0.5)
    assert true_peak_dbtp(torch.zeros(2, RATE)) == -math.inf


def test_loudness_is_met_unless_the_true_peak_forbids_it() -> None:
    assert loudness_lufs(at_loudness(sine(0.01), RATE, -14), RATE) == pytest.approx(-14, abs=0.1)
    spiky = sine(0.01)
    spiky[:, 1000] = 1.0
    assert true_peak_dbtp(at_loudness(spiky, RATE, -14, ceiling_dbtp=-1)) == pytest.approx(-1, abs=0.01)
    silence = torch.full((2, RATE), 1e-7)
    assert torch.equal(at_loudness(silence, RATE), silence)


def test_audio_is_cut_to_whole_bars() -> None:
    assert whole_bars(sine(seconds=9), RATE, 120, 4).shape[1] == 8 * RATE
    assert whole_bars(sine(seconds=8), RATE, 120, 4).shape[1] == 8 * RATE
    with pytest.raises(InputError, match="a bar of 2.00 s"):
        whole_bars(sine(seconds=1), RATE, 120, 4)


def test_a_loop_turns_without_a_click() -> None:
    generator = torch.Generator().manual_seed(3)
    audio = torch.randn(2, 4 * RATE, generator=generator) * 0.1
    audio *= torch.linspace(1.0, 0.2, audio.shape[1])
    made = loop(audio, RATE, 0.5)
    assert made.samples.shape[1] == audio.shape[1] - RATE // 2
    assert torch.equal(made.samples[:, : 3 * RATE], audio[:, RATE // 2 : RATE // 2 + 3 * RATE])
    tone = sine(seconds=2.0, hz=440.3)
    step = (loop(tone, RATE).samples[0, 0] - loop(tone, RATE).samples[0, -1]).abs()
    assert float(step) <= float(tone[0].diff().abs().max()) * 1.01
    assert made.change < 1.5
    with pytest.raises(InputError, match="at most half"):
        loop(audio, RATE, 3.0)
