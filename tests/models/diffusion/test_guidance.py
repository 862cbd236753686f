"""Guidance: what each mode does to two velocities, where the interval applies it, and the fast attention's equality."""

from __future__ import annotations

import pytest
import tiny
import torch

from acestep_like.errors import InputError
from acestep_like.models.diffusion.attention import install_fast_paths, install_stock_paths, windowed_attention
from acestep_like.models.diffusion.denoiser import DiTDenoiser
from acestep_like.models.diffusion.guidance import GUIDANCE_MODES, GuidedDenoiser, interval_in_t, make_guidance


def tensors(seed=0):
    random = torch.Generator().manual_seed(seed)
    return (torch.randn(2, 7, 4, generator=random) for _ in range(3))


@pytest.mark.parametrize("mode", GUIDANCE_MODES)
def test_scale_one_is_the_conditional_velocity(mode):
    cond, uncond, x = tensors()
    guided = make_guidance(mode, 1.0)(cond, uncond, x, 0.5, corrector=False)
    assert torch.allclose(guided, cond, atol=3e-2 if "adg" in mode else 1e-6)


def test_an_unknown_guidance_is_refused_by_name():
    with pytest.raises(InputError, match="adg_of_tomorrow.*adg_w_norm"):
        make_guidance("adg_of_tomorrow", 2.0)


def test_the_norm_of_the_estimate_is_kept_and_the_angle_is_limited_only_where_the_variant_says():
    cond, uncond, x = tensors()
    estimates = {
        mode: x - 0.5 * make_guidance(mode, 9.0)(cond, uncond, x, 0.5, corrector=False) for mode in GUIDANCE_MODES
    }
    kept, wanted = (torch.linalg.vector_norm(each, dim=1) for each in (estimates["adg_w_norm"], x - 0.5 * cond))
    assert torch.allclose(kept, wanted, rtol=1e-4)
    assert not torch.allclose(estimates["adg"], estimates["adg_wo_clip"], atol=1e-2)


def test_momentum_moves_once_for_several_draws_of_a_step():
    cond, uncond, x = tensors()
    once, twice = make_guidance("apg", 4.0), make_guidance("apg", 4.0)
    single = once(cond, uncond, x, 0.5, corrector=False)
    assert all(torch.equal(each, single) for each in twice.of_draws([(x, cond, uncond)] * 2, 0.5))
    again = [each(cond, uncond, x, 0.4, corrector=False) for each in (once, twice)]
    assert torch.allclose(*again, atol=1e-6)


def test_plain_guidance_extrapolates():
    cond, uncond, x = tensors()
    guided = make_guidance("cfg", 3.0)(cond, uncond, x, 0.5, corrector=False)
    assert torch.allclose(guided, uncond + 3 * (cond - uncond), atol=1e-5)


def test_slow_guidance_leaves_the_beats_to_the_conditional_velocity():
    time = torch.arange(200)[None, :, None].float()
    uncond = torch.zeros(1, 200, 1)
    for period, left in ((12.5, 0.0), (200.0, 2.0)):  # half a second and eight seconds of latents
        cond = torch.sin(2 * torch.pi * time / period)
        added = make_guidance("slow", 3.0)(cond, uncond, cond, 0.5, corrector=False) - cond
        assert torch.allclose(added[:, 20:-20], left * cond[:, 20:-20], atol=0.1)


def test_slow_guidance_moves_what_is_constant_as_far_as_plain_guidance():
    cond, uncond = torch.ones(2, 30, 4), torch.zeros(2, 30, 4)
    assert torch.allclose(make_guidance("slow", 3.0)(cond, uncond, cond, 0.5, corrector=False), 3 * cond)


def test_apg_adds_nothing_along_the_conditional_velocity():
    cond, uncond, x = tensors()
    added = make_guidance("apg", 7.0)(cond, uncond, x, 0.5, corrector=False) - cond
    assert float((added * cond).sum(1).abs().max()) < 1e-4


def test_apg_carries_momentum_and_its_corrector_does_not():
    cond, uncond, x = tensors()
    guidance = make_guidance("apg", 7.0)
    first = guidance(cond, uncond, x, 0.5, corrector=False)
    plain = guidance(cond, uncond, x, 0.5, corrector=True)
    second = guidance(cond, uncond, x, 0.5, corrector=False)
    assert not torch.allclose(first, second)
    assert torch.allclose(plain, uncond + 7 * (cond - uncond), atol=1e-5)


def test_adg_limits_the_angle():
    cond, uncond, x = tensors()
    for scale in (20.0, 40.0):
        clean = x - 0.5 * make_guidance("adg", scale)(cond, uncond, x, 0.5, corrector=False)
        before = x - 0.5 * cond
        cosine = torch.nn.functional.cosine_similarity(clean, before, dim=-1)
        assert float(torch.acos(cosine).max()) <= 3.14 / 6 + 0.6
        assert bool(torch.isfinite(clean).all())


def test_adg_at_the_end_of_the_run_is_plain_guidance():
    cond, uncond, x = tensors()
    guided = make_guidance("adg", 3.0)(cond, uncond, x, 0.0, corrector=True)
    assert torch.allclose(guided, uncond + 3 * (cond - uncond), atol=1e-5)


class Pair:
    def __init__(self):
        self.pairs = 0

    def velocity(self, x, t, *, corrector=False):
        return torch.zeros_like(x)

    def velocities(self, x, t):
        self.pairs += 1
        return torch.ones_like(x), torch.zeros_like(x)


def test_the_public_interval_is_progress_and_the_sampler_s_is_t():
    low, high = interval_in_t(0.0, 0.3)
    pair = Pair()
    guided = GuidedDenoiser(pair, make_guidance("cfg", 2.0), low, high)
    x = torch.zeros(1, 2, 2)
    assert float(guided.velocity(x, 0.9).max()) == 2.0
    assert float(guided.velocity(x, 0.5).max()) == 0.0
    assert pair.pairs == 1, "outside the interval the unconditional half is not computed"
    assert float(guided.velocity(x, float(torch.tensor(0.7))).max()) == 2.0, "the bounds belong to the interval"


@pytest.fixture(scope="module")
def transformers():
    plain, fast = (tiny.modules()["transformer"].eval() for _ in range(2))
    install_fast_paths(fast)
    return plain, fast


@pytest.mark.parametrize("frames", [9, 32, 75])
def test_fast_attention_equals_the_stock_processors(transformers, frames):
    x, context = torch.randn(2, frames, tiny.CHANNELS), torch.randn(2, frames, 2 * tiny.CHANNELS)
    condition, null = torch.randn(2, 11, 32), torch.randn(1, 1, 32)
    results = []
    for transformer in transformers:
        denoiser = DiTDenoiser(transformer, condition, context, null_condition=null)
        runs = [*denoiser.velocities(x, 0.8), *denoiser.velocities(x, 0.4), denoiser.velocity(x, 0.4)]
        results.append(torch.stack(runs))
    assert float((results[0] - results[1]).abs().max()) < 2e-5


def rows_of_hidden_states(transformer):
    """Whether each layer is given hidden states whose frames lie in rows."""
    found = []
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, given: found.append(given["hidden_states"].is_contiguous()), with_kwargs=True
        )
        for layer in transformer.layers
    ]
    DiTDenoiser(transformer, torch.randn(2, 5, 32), torch.randn(2, 20, 2 * tiny.CHANNELS)).velocity(
        torch.randn(2, 20, tiny.CHANNELS), 0.5
    )
    for hook in hooks:
        hook.remove()
    return all(found), len(found)


def test_fast_paths_lay_frames_in_rows_and_stock_paths_take_that_back(transformers):
    plain = transformers[0]
    changed = tiny.modules()["transformer"].eval()
    layers = len(plain.layers)
    assert rows_of_hidden_states(plain) == (False, layers), "upstream's layout is what makes this worth doing"
    for _ in range(2):
        install_fast_paths(changed)
    assert len(changed.proj_in_conv._forward_hooks) == 1
    assert rows_of_hidden_states(changed) == (True, layers)
    install_stock_paths(changed)
    assert rows_of_hidden_states(changed) == (False, layers)
    x, context = torch.randn(2, 20, tiny.CHANNELS), torch.randn(2, 20, 2 * tiny.CHANNELS)
    condition = torch.randn(2, 5, 32)
    one, other = (DiTDenoiser(model, condition, context).velocity(x, 0.5) for model in (plain, changed))
    assert torch.equal(one, other)


def test_the_cache_of_one_condition_is_not_used_for_another(transformers):
    _, fast = transformers
    x, context = torch.randn(1, 20, tiny.CHANNELS), torch.randn(1, 20, 2 * tiny.CHANNELS)
    one, other = (DiTDenoiser(fast, torch.randn(1, 5, 32), context) for _ in range(2))
    first = one.velocity(x, 0.5)
    assert not torch.allclose(first, other.velocity(x, 0.5))
    assert torch.equal(first, one.velocity(x, 0.5))


def test_guidance_needs_a_null_condition(transformers):
    denoiser = DiTDenoiser(transformers[0], torch.randn(1, 5, 32), torch.randn(1, 20, 2 * tiny.CHANNELS))
    with pytest.raises(ValueError, match="null condition"):
        denoiser.velocities(torch.randn(1, 20, tiny.CHANNELS), 0.5)


@pytest.mark.parametrize(("length", "window"), [(17, 4), (16, 4), (5, 1)])
def test_windowed_attention_is_the_masked_matrix(length, window):
    query, key, value = (torch.randn(2, 3, length, 8) for _ in range(3))
    index = torch.arange(length)
    mask = (index[:, None] - index[None]).abs() <= window
    full = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3)
    assert torch.allclose(windowed_attention(query, key, value, window, 0.3), full, atol=1e-5)
