"""Promises of `audio/level.py`: levels land where asked, silence stays silence."""

from __future__ import annotations

import math

import pytest
import torch

from acestep_like.audio.level import (
    fade,
    gate,
    loudest_rms,
    loudness_lufs,
    no_louder,
    peak_dbfs,
    peak_normalize,
    rms_dbfs,
    source_gain,
)

RATE = 48000


def sine(level: float = 0.5, seconds: float = 3.0) -> torch.Tensor:
    return (level * torch.sin(2 * torch.pi * 997 * torch.arange(round(seconds * RATE)) / RATE)).repeat(2, 1)


@pytest.mark.parametrize("target", [-1.0, -6.0, 0.0])
@pytest.mark.parametrize("level", [0.001, 0.5, 4.0])
def test_the_peak_lands_on_target(target: float, level: float) -> None:
    assert peak_dbfs(peak_normalize(sine(level), target)) == pytest.approx(target, abs=1e-3)


def test_silence_is_never_raised() -> None:
    silence = torch.full((2, RATE), 1e-7)
    assert torch.equal(peak_normalize(silence), silence)
    assert loudness_lufs(torch.zeros(2, RATE), RATE) == -math.inf == peak_dbfs(torch.zeros(2, 4))


def test_a_full_scale_stereo_sine_measures_minus_3_lufs_per_channel_sum() -> None:
    # BS.1770: a 997 Hz sine of 0 dBFS in one channel is -3.01 LUFS, in both channels 0 LUFS.
    assert loudness_lufs(sine(1.0), RATE) == pytest.approx(0.0, abs=0.1)
    assert rms_dbfs(sine(1.0)) == pytest.approx(-3.01, abs=0.01)
    assert loudness_lufs(sine(1.0, 0.2), RATE) == pytest.approx(0.0, abs=0.3)


def test_a_part_is_lowered_to_what_it_joins_and_never_raised() -> None:
    loud = no_louder(sine(0.8), sine(0.2), RATE)
    assert loudest_rms(loud, RATE) == pytest.approx(loudest_rms(sine(0.2), RATE), rel=1e-3)
    assert torch.equal(no_louder(sine(0.1), sine(0.2), RATE), sine(0.1))
    assert torch.equal(no_louder(sine(0.1), torch.zeros(2, RATE), RATE), sine(0.1))
    assert loudest_rms(torch.zeros(2, 0), RATE) == 0


def test_a_gate_keeps_windows_only() -> None:
    ones = torch.ones(2, RATE)
    kept = gate(ones, RATE, [(0.25, 0.5), (0.75, -1.0)])
    assert torch.equal(kept[:, RATE // 4 : RATE // 2], ones[:, RATE // 4 : RATE // 2])
    assert float(kept[:, : RATE // 5].abs().max()) == 0 and float(kept[0, -1]) == 1


def test_fades_are_linear_and_touch_nothing_else() -> None:
    ones = torch.ones(2, RATE)
    faded = fade(ones, RATE, 0.25, 0.5)
    assert float(faded[0, 0]) == 0 and float(faded[0, -1]) == 0
    assert float(faded[0, RATE // 8]) == pytest.approx(0.5, abs=1e-4)
    assert torch.equal(faded[:, RATE // 4 : RATE // 2], ones[:, RATE // 4 : RATE // 2])
    assert torch.equal(fade(ones, RATE), ones)
    assert fade(ones, RATE, 100.0, 100.0).shape == ones.shape


def test_a_source_is_brought_to_one_level_whatever_its_own_and_whatever_silence_is_around_it() -> None:
    music = torch.randn(2, RATE, generator=torch.Generator().manual_seed(1)) * 0.1
    for factor in (1.0, 0.01, 3.0):
        assert source_gain(music * factor, RATE) * factor == pytest.approx(source_gain(music, RATE), rel=1e-4)
    padded = torch.nn.functional.pad(music, (RATE, 2 * RATE))
    assert source_gain(padded, RATE) == pytest.approx(source_gain(music, RATE), rel=1e-4)
    assert rms_dbfs(music * source_gain(music, RATE)) == pytest.approx(-17, abs=0.1)
    spiky = music * 0.01
    spiky[0, 100] = 1.0
    assert peak_dbfs(spiky * source_gain(spiky, RATE)) == pytest.approx(peak_dbfs(torch.tensor(0.97)), abs=0.01)
    assert source_gain(torch.zeros(2, RATE), RATE) == 1 == source_gain(torch.zeros(2, 0), RATE)
