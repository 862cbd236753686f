"""Samplers on flows with a known answer; holding a source; velocity limits."""

from __future__ import annotations

import math

import pytest
import torch

from acestep_like.models.diffusion.inpainting import Inpainting, repaint_settings, soft_window
from acestep_like.models.diffusion.noise import FreshNoise, generator, initial_noise, retake
from acestep_like.models.diffusion.sampler import SamplerOptions, sample, sampler_method
from acestep_like.models.diffusion.schedule import flow_schedule


class Towards:
    """The velocity field of a single clean signal: every sampler must arrive at it."""

    def __init__(self, clean):
        self.clean, self.calls = clean, []

    def velocity(self, x, t, *, corrector=False):
        self.calls.append((round(t, 6), corrector))
        return (x - self.clean) / max(t, 1e-3)


class Growing:
    """v = a * x, whose exact result is x * exp(-a)."""

    def velocity(self, x, t, *, corrector=False):
        return 1.3 * x


def last(states):
    return list(states)[-1]


@pytest.mark.parametrize("method", ["euler", "sde"])
def test_every_method_arrives_at_the_only_clean_signal(method):
    clean, noise = torch.randn(2, 6, 3), torch.randn(2, 6, 3)
    fresh = FreshNoise([generator(1), generator(2)], 6, 3, torch.device("cpu"))
    state = last(sample(Towards(clean), noise, flow_schedule(7, 3.0), SamplerOptions(method), noise=fresh))
    assert torch.allclose(state.x, clean, atol=1e-5)
    assert state.step == state.total == 7


def errors(method, counts):
    x = torch.ones(1, 1, 1)
    exact = math.exp(-1.3)
    return [
        abs(float(last(sample(Growing(), x, flow_schedule(n, 1.0), SamplerOptions(method))).x) - exact) for n in counts
    ]


def test_heun_is_of_second_order_and_euler_of_first():
    euler, heun = errors("euler", [16, 32]), errors("heun", [16, 32])
    assert 1.7 < euler[0] / euler[1] < 2.3
    assert 3.4 < heun[0] / heun[1] < 4.6


@pytest.mark.parametrize(("correct_last", "correctors"), [(True, 4), (False, 3)])
def test_heun_corrects_the_last_step_only_where_the_checkpoint_does(correct_last, correctors):
    field = Towards(torch.zeros(1, 2, 2))
    options = SamplerOptions("heun", correct_last=correct_last)
    last(sample(field, torch.ones(1, 2, 2), flow_schedule(4, 1.0), options))
    assert sum(corrector for _, corrector in field.calls) == correctors


def test_sde_uses_the_real_schedule_and_its_own_noise_every_step():
    clean = torch.zeros(1, 4, 2)
    noises = torch.randn(3, 1, 4, 2)
    schedule = flow_schedule(3, 3.0)
    states = list(
        sample(Towards(clean), torch.randn(1, 4, 2), schedule, SamplerOptions("sde"), noise=iter(noises).__next__)
    )
    assert torch.allclose(states[0].x, float(schedule[1]) * noises[0], atol=1e-5)
    assert torch.allclose(states[1].x, float(schedule[2]) * noises[1], atol=1e-5)


def test_sde_makes_heun_first_order():
    assert sampler_method("sde", "heun") == "sde"
    assert sampler_method("ode", "heun") == "heun"


def test_the_switch_changes_the_denoiser_from_its_step_on():
    first, second = Towards(torch.zeros(1, 1, 1)), Towards(torch.ones(1, 1, 1))
    last(sample(first, torch.randn(1, 1, 1), flow_schedule(10, 1.0), switch=(6, second)))
    assert (len(first.calls), len(second.calls)) == (6, 4)


def test_a_velocity_beyond_the_threshold_is_scaled_to_it():
    class Loud:
        def velocity(self, x, t, *, corrector=False):
            return 100 * x

    x = torch.randn(2, 5, 3)
    options = SamplerOptions(velocity_norm_threshold=2.0)
    state = next(iter(sample(Loud(), x, torch.tensor([1.0, 0.5, 0.0]), options)))
    assert torch.allclose(state.x, x - 2.0 * x * 0.5, atol=1e-4)


def test_the_velocity_average_mixes_the_previous_step_in():
    class Steps:
        def __init__(self):
            self.count = 0

        def velocity(self, x, t, *, corrector=False):
            self.count += 1
            return torch.full_like(x, float(self.count))

    x = torch.zeros(1, 1, 1)
    state = last(sample(Steps(), x, torch.tensor([1.0, 0.5, 0.0]), SamplerOptions(velocity_ema_factor=0.25)))
    assert float(state.x) == pytest.approx(-(1 * 0.5 + (0.75 * 2 + 0.25 * 1) * 0.5))


def window(frames=10, start=3, end=6):
    mask = torch.zeros(1, frames, dtype=torch.bool)
    mask[0, start:end] = True
    return mask


def test_the_outside_is_held_at_the_noised_source_for_the_ratio_of_steps():
    source, noise = torch.full((1, 10, 2), 5.0), torch.randn(1, 10, 2)
    hold = Inpainting(source, window(), noise, injection_ratio=0.5, crossfade_frames=0)
    schedule = flow_schedule(4, 1.0)
    states = list(sample(Towards(torch.zeros(1, 10, 2)), noise, schedule, inpainting=hold))
    outside = ~window()[0]
    for index in (0, 1):
        t = float(schedule[index + 1])
        assert torch.allclose(states[index].x[0, outside], (t * noise + (1 - t) * source)[0, outside], atol=1e-6)
    assert not torch.allclose(states[2].x[0, outside], source[0, outside], atol=0.5)


@pytest.mark.parametrize("inject_last", [True, False])
def test_conservative_ends_exactly_at_the_source_outside_only_where_the_last_step_is_held(inject_last):
    source, noise = torch.full((1, 10, 2), 5.0), torch.randn(1, 10, 2)
    hold = Inpainting(source, window(), noise, 1.0, 0)
    options = SamplerOptions(inject_last=inject_last)
    state = last(sample(Towards(torch.zeros(1, 10, 2)), noise, flow_schedule(4, 1.0), options, inpainting=hold))
    assert torch.equal(state.x[0, 8], source[0, 8]) is inject_last


def test_ramps_reach_outwards_and_stop_at_the_ends():
    soft = soft_window(window(), 2)[0]
    assert torch.allclose(soft, torch.tensor([0, 1 / 3, 2 / 3, 1, 1, 1, 2 / 3, 1 / 3, 0, 0]), atol=1e-6)
    assert torch.allclose(soft_window(window(end=10), 2)[0][6:], torch.ones(4))
    assert torch.equal(soft_window(torch.ones(1, 4, dtype=torch.bool), 2), torch.ones(1, 4))


def test_every_one_of_several_windows_has_its_ramps():
    mask = window(20, 4, 6) | window(20, 12, 14)
    soft = soft_window(mask, 2)[0]
    assert float(soft[7]) == pytest.approx(1 / 3) and float(soft[11]) == pytest.approx(2 / 3)
    assert float(soft[9]) == 0


def test_strengths_of_the_repaint_modes():
    balanced = repaint_settings("balanced", 0.2)
    assert balanced.injection_ratio == pytest.approx(0.8) and balanced.latent_crossfade_frames == 20
    assert repaint_settings("conservative", 0.9) == repaint_settings("balanced", 0.0)
    given = repaint_settings("conservative", latent_crossfade_frames=3, wav_crossfade_s=0.2)
    assert (given.injection_ratio, given.latent_crossfade_frames, given.wav_crossfade_s) == (1.0, 3, 0.2)


def test_noise_of_an_item_does_not_depend_on_its_batch_and_streams_differ():
    batch = initial_noise([5, 6, 7], 8, 3)
    assert torch.equal(batch[1:2], initial_noise([6], 8, 3))
    assert torch.equal(batch[:1], torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(5)))
    assert not torch.equal(torch.randn(4, generator=generator(5)), torch.randn(4, generator=generator(5, "sde")))


def test_retake_keeps_the_variance_and_its_ends():
    a, b = torch.randn(1, 4000, 4), torch.randn(1, 4000, 4)
    assert torch.equal(retake(a, b, 0.0), a)
    assert torch.allclose(retake(a, b, 1.0), b, atol=1e-6)
    assert float(retake(a, b, 0.4).std()) == pytest.approx(1, abs=0.03)
