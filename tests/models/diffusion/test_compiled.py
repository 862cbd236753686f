"""A compiled DiT: padding to buckets changes no song, and a second duration in a bucket compiles nothing."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch._dynamo.testing import CompileCounter

from acestep_like import AceStepHandler
from acestep_like.models.diffusion.request import DiffusionRequest, ItemRequest
from acestep_like.models.diffusion.static_shapes import bucket
from acestep_like.types.tasks import DEFAULT_INSTRUCTION


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    tiny.save_diffusers(folder / "guided", guide=True)
    return folder


def song(handler, seconds, lyrics="[Instrumental]", **changes):
    item = ItemRequest("lo-fi piano", lyrics, "unknown", 90, "C major", "4", seed=1)
    facts = {"inference_steps": 2, "guidance_scale": 3.0, **changes}
    return handler.generate(DiffusionRequest("text2music", DEFAULT_INSTRUCTION, (item,), seconds, **facts)).latents


def test_a_bucket_is_at_most_a_quarter_longer():
    for length in range(1, 5000):
        assert length <= bucket(length) <= max(64, 1.25 * length)
        assert bucket(bucket(length)) == bucket(length)
    assert len({bucket(length) for length in range(64, 7500)}) < 40


def test_a_compiled_handler_gives_the_plain_songs_and_compiles_once_a_bucket(root, monkeypatch):
    programs = CompileCounter()  # compiles to the same operations: what is counted is how often
    genuine = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward, **options: genuine(forward, backend=programs, **options))
    plain = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
    compiled = AceStepHandler.from_pretrained("guided", root=root, device="cpu", compile_model=True)
    torch._dynamo.reset()
    assert torch.allclose(song(compiled, 6.0), song(plain, 6.0), atol=1e-4)
    first = programs.frame_count
    assert first > 0
    for seconds, lyrics in ((6.2, "[Instrumental]"), (5.9, "[Verse] la")):
        assert bucket(round(seconds * 25) // 2) == bucket(75)
        assert torch.allclose(song(compiled, seconds, lyrics), song(plain, seconds, lyrics), atol=1e-4)
    assert programs.frame_count == first, "the same bucket of frames and words"
    assert torch.allclose(song(compiled, 20.0), song(plain, 20.0), atol=1e-4)
    assert programs.frame_count > first, "another bucket"


def test_padding_reaches_no_real_frame(root):
    from acestep_like.models.diffusion.denoiser import DiTDenoiser
    from acestep_like.models.diffusion.static_shapes import install_masks

    handler = AceStepHandler.from_pretrained("guided", root=root, device="cpu")
    transformer = handler.networks.dit.transformer
    generator = torch.Generator().manual_seed(0)
    config = transformer.config
    for frames, tokens in ((33, 5), (150, 70), (301, 64)):
        x = torch.randn(2, frames, tiny.CHANNELS, generator=generator)
        context = torch.randn(2, frames, config.in_channels - tiny.CHANNELS, generator=generator)
        condition = torch.randn(2, tokens, config.hidden_size, generator=generator)
        install_masks(transformer)
        padded = DiTDenoiser(transformer, condition, context, static_shapes=True).velocity(x, 0.7)
        plain = DiTDenoiser(transformer, condition, context).velocity(x, 0.7)
        assert padded.shape == plain.shape
        assert torch.allclose(padded, plain, atol=1e-5), (frames, tokens)
