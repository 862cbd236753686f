"""Promises of the embedded model's codec, on its real weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from acestep_like.models.codec.base import DiffusersCodec
from acestep_like.models.codec.load import load_codec

FOLDER = Path(__file__).resolve().parents[3] / "checkpoints" / "acestep-mini" / "vae"

pytestmark = pytest.mark.skipif(not (FOLDER / "config.json").is_file(), reason="the embedded weights are not there")


@pytest.fixture(scope="module")
def codec() -> DiffusersCodec:
    return load_codec(str(FOLDER))


def chord(seconds: float = 4.0) -> torch.Tensor:
    """A minor chord of plucked notes, repeated every second: [1, 2, N]."""
    time = torch.arange(int(seconds * 48000)) / 48000
    notes = sum(torch.sin(2 * math.pi * hz * k * time) / k**1.5 for hz in (220.0, 261.6, 329.6) for k in range(1, 7))
    return (0.08 * notes * torch.exp(-3.0 * (time % 1.0))).expand(1, 2, -1)


def test_it_is_small_enough_to_embed() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 10_500_000
    assert json.loads((FOLDER / "config.json").read_text())["_class_name"] == "SpectralAutoencoder"


def test_silence_stays_silent(codec: DiffusersCodec) -> None:
    audio = codec.decode(codec.encode(torch.zeros(1, 2, 48000)))
    assert 20 * math.log10(float(audio.abs().max()) + 1e-12) < -60


def test_the_pitches_of_a_chord_survive(codec: DiffusersCodec) -> None:
    audio = chord()
    rebuilt = codec.decode(codec.encode(audio))
    spectrum = torch.fft.rfft(rebuilt[0].mean(0) * torch.hann_window(rebuilt.shape[-1])).abs()
    hz = torch.fft.rfftfreq(rebuilt.shape[-1], 1 / 48000)
    near = [float(spectrum[(hz / note).log2().abs() < 0.5 / 12].max()) for note in (220.0, 261.6, 329.6)]
    wrong = [float(spectrum[(hz / note).log2().abs() < 0.3 / 12].max()) for note in (239.9, 293.7)]
    assert min(near) > 2 * max(wrong)


def test_level_survives(codec: DiffusersCodec) -> None:
    audio = chord()
    change = 10 * math.log10(float(codec.decode(codec.encode(audio)).square().mean() / audio.square().mean()))
    assert abs(change) < 3


def test_blocks_join_without_a_seam(codec: DiffusersCodec) -> None:
    """Steady noise has no events: neither level nor spectrum may change more at borders of blocks than elsewhere."""
    noise = 0.05 * torch.randn(1, 2, 24 * 48000, generator=torch.Generator().manual_seed(0))
    rebuilt = codec.decode(codec.encode(noise))[0].mean(0)
    frames = rebuilt.unfold(0, 1920, 480) * torch.hann_window(1920)
    spectra = torch.log(torch.fft.rfft(frames).abs() + 1e-2)
    change = (spectra[4:] - spectra[:-4]).abs().mean(1)[200:-200]
    index = torch.arange(len(change)) + 200
    at_border = (index % 256 >= 250) | (index % 256 <= 4)
    assert float(change[at_border].mean()) < 1.05 * float(change[~at_border].mean())
