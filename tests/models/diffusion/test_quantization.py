"""int8 weights through torchao: stored in eight bits, close to the plain song."""

from __future__ import annotations

import sys

import pytest
import tiny
import torch

from acestep_like import AceStepHandler
from acestep_like.errors import DependencyError, InputError
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.types.tasks import DEFAULT_INSTRUCTION


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    tiny.save_diffusers(folder / "guided", guide=True)
    return folder


def load(root, **options):
    return AceStepHandler.from_pretrained("guided", root=root, device="cpu", **options)


def song(handler):
    item = ItemRequest("lo-fi piano", "[Instrumental]", "unknown", 90, "C major", "4", seed=1)
    request = DiffusionRequest("text2music", DEFAULT_INSTRUCTION, (item,), 1.0, inference_steps=2, guidance_scale=3.0)
    return handler.generate(request).latents


def test_weights_are_int8_and_the_song_is_close(root):
    pytest.importorskip("torchao", reason="the extra `int8` is not installed")
    plain, quantized = load(root), load(root, quantization="int8_weight_only")
    layer = quantized.networks.dit.transformer.layers[0].mlp.up_proj
    assert layer.weight.qdata.dtype == torch.int8
    ours, theirs = song(quantized), song(plain)
    assert not torch.equal(ours, theirs)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.05
    assert torch.equal(song(quantized), ours)


def test_without_torchao_the_extra_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(DependencyError, match=r"acestep-like\[int8\]"):
        load(root, quantization="int8_weight_only")
    with pytest.raises(InputError, match="int8_weight_only"):
        load(root, quantization="int2")
