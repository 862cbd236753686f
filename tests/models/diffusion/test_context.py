"""Contexts: what each task shows the DiT, windows on the latent grid, codes as text and hints."""

from __future__ import annotations

import pytest
import tiny
import torch

from acestep_like.models.diffusion.context import CONTEXTS, ContextInputs, build_context, window_mask
from acestep_like.models.diffusion.hints import (
    fit_frames,
    hints_from_codes,
    hints_from_latents,
    silence_frames,
    tokenize,
)
from acestep_like.types.tasks import TASKS

FRAMES, C = 12, 4
SILENCE = torch.arange(20.0).view(1, 20, 1).expand(1, 20, C) / 100


def material(**changes):
    window = torch.zeros(2, FRAMES, dtype=torch.bool)
    window[:, 3:7] = True
    facts = {"source": torch.full((2, FRAMES, C), 5.0), "window": window} | changes
    return ContextInputs(SILENCE, FRAMES, 2, **facts)


def test_every_task_has_a_context():
    assert set(CONTEXTS) == set(TASKS)


def test_text2music_sees_silence_and_generates_everything():
    context = build_context("text2music", ContextInputs(SILENCE, FRAMES, 2))
    assert torch.equal(context.source, SILENCE[:, :FRAMES].expand(2, -1, -1))
    assert bool(context.mask.all()) and context.keep is None


def test_repaint_silences_its_window_and_keeps_the_rest():
    context = build_context("repaint", material())
    assert torch.equal(context.source[0, 3:7], SILENCE[0, 3:7])
    assert bool((context.source[0, :3] == 5).all())
    assert context.mask[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert torch.equal(context.keep, ~context.mask.squeeze(-1))


def test_lego_keeps_its_whole_source_inside_the_window():
    context = build_context("lego", material())
    assert bool((context.source == 5).all())
    assert int(context.mask.sum()) == 2 * 4


@pytest.mark.parametrize("task", ["extract", "complete"])
def test_extract_and_complete_see_the_source_and_generate_everything(task):
    context = build_context(task, material())
    assert bool((context.source == 5).all()) and bool(context.mask.all())


def test_codes_steer_all_but_the_window_tasks():
    hints = torch.full((2, FRAMES, C), 9.0)
    for task in ("text2music", "cover", "extract", "complete"):
        assert bool((build_context(task, material(hints=hints)).source == 9).all())
    for task in ("repaint", "lego"):
        assert not bool((build_context(task, material(hints=hints)).source == 9).any())


@pytest.mark.parametrize("task", ["repaint", "lego", "extract", "complete", "cover"])
def test_a_context_without_its_source_is_an_error(task):
    with pytest.raises(ValueError, match="needs"):
        build_context(task, ContextInputs(SILENCE, FRAMES, 2))


def test_channels_are_source_then_mask_then_guide():
    guide = torch.full((2, FRAMES, 7), 3.0)
    latents = build_context("repaint", material()).latents(guide)
    assert latents.shape == (2, FRAMES, 2 * C + 7)
    assert torch.equal(latents[0, :, C], latents[0, :, 2 * C - 1])
    assert bool((latents[..., 2 * C :] == 3).all())


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0.4, 0.8)], range(10, 20)),
        ([(0.0, -1)], range(25)),
        ([(0.9, 99)], range(22, 25)),
        ([(0.5, 0.5)], range(12, 13)),
        ([(0.0, 0.1), (0.8, 0.9)], [0, 1, 20, 21]),
    ],
)
def test_windows_lie_on_the_latent_grid(spans, expected):
    mask = window_mask(spans, 25, 48000, 1920)
    assert mask.nonzero().flatten().tolist() == list(expected)


def test_no_window_means_everything():
    assert window_mask([], 25, 48000, 1920) is None


def test_silence_continues_what_is_too_short():
    fitted = fit_frames(torch.ones(1, 5, C), 9, SILENCE)
    assert torch.equal(fitted[:, 5:], SILENCE[:, :4])
    assert fit_frames(torch.ones(1, 5, C), 3, SILENCE).shape[1] == 3
    assert torch.equal(silence_frames(SILENCE, 25)[:, 20:], SILENCE[:, :5])


@pytest.fixture(scope="module")
def quantizers():
    built = tiny.modules()
    silence = built["condition_encoder"].silence_latent
    return built["audio_tokenizer"].eval(), built["audio_token_detokenizer"].eval(), silence


def test_a_source_and_its_codes_give_the_same_hints(quantizers):
    tokenizer, detokenizer, silence = quantizers
    latents = torch.randn(1, 20, tiny.CHANNELS, generator=torch.Generator().manual_seed(1))
    _, indices = tokenize(tokenizer, latents, silence)
    hints = hints_from_latents(tokenizer, detokenizer, latents, silence)
    again = hints_from_codes(tokenizer, detokenizer, indices[0].tolist(), 20, silence)
    assert indices.shape == (1, 4)
    assert torch.allclose(hints, again, atol=1e-5)


def test_odd_lengths_are_continued_by_silence_and_cropped(quantizers):
    tokenizer, detokenizer, silence = quantizers
    latents = torch.randn(2, 18, tiny.CHANNELS)
    padded = torch.cat([latents, silence[:, :2].expand(2, -1, -1)], dim=1)
    _, indices = tokenize(tokenizer, latents, silence)
    assert torch.equal(indices, tokenize(tokenizer, padded, silence)[1])
    assert hints_from_latents(tokenizer, detokenizer, latents, silence).shape == latents.shape
