"""The wavelet correction: the transform is PyWavelets', and what each mode moves is what its formula says."""

from __future__ import annotations

import math

import pytest
import torch

from acestep_like.errors import InputError
from acestep_like.models.diffusion.wavelet_correction import (
    HAAR,
    WaveletCorrection,
    analyse,
    filter_bank,
    synthesise,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym8", "bior2.2"])
@pytest.mark.parametrize("length", [2, 7, 40])
def test_bands_are_those_of_pywavelets_and_give_the_signal_back(wavelet, length):
    pywt = pytest.importorskip("pywt", reason="the extra `wavelets` is not installed")
    x, bank = noise(2, 3, length), filter_bank(wavelet)
    low, high = analyse(x, bank.analysis_low), analyse(x, bank.analysis_high)
    for ours, theirs in zip((low, high), pywt.dwt(x.numpy(), wavelet, mode="zero"), strict=True):
        assert torch.allclose(ours, torch.from_numpy(theirs), atol=1e-5)
    back = synthesise(low, bank.synthesis_low, length) + synthesise(high, bank.synthesis_high, length)
    assert torch.allclose(back, x, atol=1e-5)


def test_haar_of_an_odd_length_continues_with_a_zero():
    low = analyse(torch.tensor([[1.0, 2.0, 3.0]]), HAAR.analysis_low)
    assert torch.allclose(low * math.sqrt(2), torch.tensor([[3.0, 3.0]]))


def test_every_mode_moves_its_bands():
    x, clean, t = noise(2, 10, 3), noise(2, 10, 3, seed=1), 0.75
    pairs = (x - clean).transpose(1, 2).reshape(2, 3, 5, 2)
    low = pairs.mean(-1, keepdim=True).expand_as(pairs).reshape(2, 3, 10).transpose(1, 2)
    high = (x - clean) - low
    expected = {
        "low": t * 0.1 * low,
        "high": (1 - t) * 0.1 * high,
        "double": t * 0.1 * low + (1 - t) * 0.3 * high,
        "pix": 0.1 * (x - clean),
    }
    for mode, moved in expected.items():
        assert torch.allclose(WaveletCorrection(mode, 0.1, 0.3)(x, clean, t), x + moved, atol=1e-6), mode


def test_nothing_moves_where_the_sample_is_its_estimate_or_the_scalers_are_zero():
    x = noise(1, 9, 2)
    assert torch.equal(WaveletCorrection("double", 0.5, 0.5)(x, x, 0.4), x)
    assert not WaveletCorrection("low", 0.0, 1.0).active and WaveletCorrection("double", 0.0, 1.0).active


def test_an_unknown_wavelet_is_named():
    pytest.importorskip("pywt", reason="the extra `wavelets` is not installed")
    with pytest.raises(InputError, match="ripple.*sym8"):
        filter_bank("ripple")
