"""Rendering and mixing: exact, repeatable, balanced. Rendering needs a General MIDI soundfont."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from acestep_like.music.styles import STYLES
from acestep_like.training.corpus import compose
from acestep_like.training.corpus.mixing import PEAK, _active_rms, mix, sum_stems
from acestep_like.training.corpus.render import Synth, active_rms, find_soundfont


@pytest.fixture(scope="module")
def synth() -> Synth:
    pytest.importorskip("tinysoundfont", reason="the renderer (extra 'train') is not installed")
    soundfont = find_soundfont()
    if soundfont is None:
        pytest.skip(
            "no General MIDI soundfont: set ACESTEP_LIKE_SOUNDFONT or install musescore-general-soundfont-small"
        )
    return Synth(soundfont)


def _noise_stems(seconds: float = 4.0) -> tuple[dict[str, torch.Tensor], object]:
    """A song and synthetic stems for it, so that mixing is tested without a renderer."""
    song = compose(1, style="funk", duration_s=seconds)
    generator = torch.Generator().manual_seed(3)
    samples = round(seconds * 48000)
    beat = (torch.arange(samples) % 24000 < 6000).float() * 0.9 + 0.1
    return {name: 0.2 * beat * torch.randn(2, samples, generator=generator) for name in song.track_classes}, song


def test_mix_is_the_sum_of_the_wet_stems_and_does_not_clip() -> None:
    stems, song = _noise_stems()
    mixed = mix(stems, song)  # type: ignore[arg-type]
    assert list(mixed.stems) == list(stems)
    assert torch.equal(mixed.mix, sum_stems(mixed.stems))
    assert mixed.mix.abs().max() <= PEAK + 1e-4
    assert -24 < 20 * math.log10(float(_active_rms(mixed.mix))) < -15


def test_mixing_is_repeatable_and_leaves_its_input_alone() -> None:
    stems, song = _noise_stems()
    before = {name: stem.clone() for name, stem in stems.items()}
    first, second = mix(stems, song), mix(stems, song)  # type: ignore[arg-type]
    assert torch.equal(first.mix, second.mix)
    assert all(torch.equal(stems[name], before[name]) for name in stems)


def test_reverb_is_stereo_and_rings_on() -> None:
    song = compose(2, style="ambient", duration_s=4)
    stem = torch.zeros(2, 4 * 48000)
    stem[:, 24000:24400] = torch.randn(1, 400, generator=torch.Generator().manual_seed(0)) * 0.3
    wet = mix({"synth": stem}, song).stems["synth"]
    tail = wet[:, 60000:90000]
    assert tail.abs().max() > 1e-4
    assert abs(float(torch.corrcoef(tail)[0, 1])) < 0.3


def test_active_rms_ignores_rests() -> None:
    tone = np.zeros((2, 96000), np.float32)
    tone[:, :24000] = 0.1
    assert active_rms(tone) == pytest.approx(0.1, rel=1e-3)
    assert active_rms(np.zeros((2, 48000), np.float32)) == 0.0


def test_rendering_is_repeatable_and_no_stem_is_silent(synth: Synth) -> None:
    for index in (0, 5, 6):
        song = compose(40 + index, style=STYLES[index], duration_s=10)
        first = synth.render(song)
        synth.render(compose(99, duration_s=5))  # what was rendered in between must leave no trace
        second = synth.render(song)
        assert set(first) == {track.track_class for track in song.tracks}
        for name, stem in first.items():
            assert stem.shape == (2, 480000) and stem.dtype == np.float32
            assert np.array_equal(stem, second[name])
            assert np.isfinite(stem).all() and active_rms(stem) > 1e-3


def test_no_role_is_drowned(synth: Synth) -> None:
    for index in (2, 3, 10):
        song = compose(60 + index, style=STYLES[index], duration_s=16)
        mixed = mix({name: torch.from_numpy(stem) for name, stem in synth.render(song).items()}, song)
        whole = _active_rms(mixed.mix)
        for name, stem in mixed.stems.items():
            level_db = 20 * math.log10(float(_active_rms(stem) / whole))
            assert -20 < level_db < 2, (song.style, name, level_db)


def test_drums_fall_on_the_grid(synth: Synth) -> None:
    """The strongest periodicity of a house kick is the beat."""
    song = compose(7, style="house", bpm=120, duration_s=16)
    drums = synth.render(song)["drums"]
    envelope = np.abs(drums).mean(0)[: 16 * 48000].reshape(-1, 480).mean(1)
    onset = np.maximum(np.diff(envelope[400:]), 0)
    spectrum = [abs(np.dot(onset, np.exp(-2j * np.pi * np.arange(len(onset)) / period))) for period in (50, 43, 61)]
    assert spectrum[0] > 3 * max(spectrum[1:])


def test_a_missing_soundfont_is_told() -> None:
    pytest.importorskip("tinysoundfont")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Synth("nowhere.sf3")
