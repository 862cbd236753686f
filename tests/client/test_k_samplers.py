"""Samplers over noise levels, on a Gaussian target: its denoiser and its exact solutions are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from acestep_like.client.providers.k_samplers import (
    SAMPLERS,
    cosine_sigmas,
    dpm_fast_orders,
    dpmpp_2m_sde,
    dpmpp_2s_ancestral,
    dpmpp_3m_sde,
    polyexponential_sigmas,
    sample,
)

MEAN, SPREAD = 0.7, 0.5
LOW, HIGH = 0.002, 100.0
STOCHASTIC = {"dpmpp-2m-sde": dpmpp_2m_sde, "dpmpp-3m-sde": dpmpp_3m_sde, "k-dpmpp-2s-ancestral": dpmpp_2s_ancestral}
NOT_TO_ZERO = ("k-dpm-fast", "k-dpm-adaptive")
ORDERS = {"dpmpp-2m": 2, "k-heun": 2, "k-dpm-2": 2, "k-lms": 4, "k-dpm-fast": 3, "v-ddim": 1, "v-ddim-cfgpp": 1}


def clean(x, sigma):
    """E[x0 | x0 + sigma * noise = x] of x0 ~ N(MEAN, SPREAD^2)."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def pair(x, sigma):
    return clean(x, sigma), clean(x, sigma)


def start(count=500, seed=0):
    return HIGH * torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(name, steps, x=None, *, denoise=pair, seed=1, on_step=lambda step, total: None, **rules):
    rules = {"sigma_min": LOW, "sigma_max": HIGH, **rules}
    generator = torch.Generator().manual_seed(seed)
    x = start() if x is None else x
    return sample(name, denoise, x, steps=steps, generator=generator, on_step=on_step, **rules)


def exact(name, x):
    """The probability flow from HIGH down to where the sampler ends."""
    end = LOW if name in NOT_TO_ZERO else 0.0
    return MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + end**2) / (SPREAD**2 + HIGH**2))


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_deterministic_samplers_land_on_the_exact_solution_and_near_it_at_their_order(name, order):
    x = start()
    errors = [float((run(name, n, x) - exact(name, x)).abs().max()) for n in (40, 80, 160)]
    measured = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert errors[-1] < (0.02 if order == 1 else 0.001)
    assert all(order - 0.6 < rate < order + 0.6 for rate in measured), measured


def test_the_adaptive_sampler_lands_within_its_tolerances_whatever_the_number_of_steps():
    x = start()
    result = run("k-dpm-adaptive", 3, x)
    assert float((result - exact("k-dpm-adaptive", x)).abs().max()) < 0.05
    assert torch.equal(result, run("k-dpm-adaptive", 300, x))


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_reproduce_mean_and_variance(name):
    result = run(name, 100, start(40000))
    assert float(result.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(result.std()) == pytest.approx(SPREAD, abs=0.01)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_spread_of_stochastic_samplers_is_of_second_order(name):
    """Component 0 carries the start, component k the noise of step k; all add up in squares, without chance."""

    def error(steps):
        numbers = itertools.count(1)

        def one_noise(x):
            return torch.nn.functional.one_hot(torch.tensor(next(numbers)), steps + 1).to(x)

        rule = STOCHASTIC[name](lambda x, sigma: clean(x, sigma) - clean(0 * x, sigma), one_noise)
        x = torch.zeros(steps + 1, dtype=torch.float64)
        x[0] = HIGH
        for a, b in itertools.pairwise(polyexponential_sigmas(steps, LOW, HIGH)):
            x = rule(x, a, b)
        return abs(float(x.norm()) / SPREAD - 1)

    assert error(160) < 0.002
    assert 1.7 < math.log2(error(80) / error(160)) < 2.3


def test_without_noise_the_sde_samplers_follow_the_drift_and_three_estimates_follow_it_better_than_two():
    """dx / d sigma = 2 (x - D) / sigma, solved for D = 1 / (1 + sigma^2). (The Gaussian's D stays constant on it.)"""

    def integral(s):  # of D / s^3
        return -1 / (2 * s * s) - math.log(s) + math.log1p(s * s) / 2

    def error(name, steps):
        rule = STOCHASTIC[name](lambda x, sigma: 0 * x + 1 / (1 + sigma * sigma), torch.zeros_like)
        x = torch.ones(1, dtype=torch.float64)
        for a, b in itertools.pairwise(polyexponential_sigmas(steps, 0.1, 10.0)[:-1]):
            x = rule(x, a, b)
        return abs(float(x) - 0.1**2 * (1 / 10**2 + 2 * (integral(10.0) - integral(0.1))))

    two, three = ([error(name, steps) for steps in (160, 320)] for name in ("dpmpp-2m-sde", "dpmpp-3m-sde"))
    assert two[0] < 1e-4
    assert three[0] < two[0] / 3
    for coarse, fine in (two, three):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.3)


def test_cfgpp_takes_its_clean_signal_from_the_guided_and_its_noise_from_the_unguided_output():
    x, calls = start(), []

    def both(x, sigma):
        calls.append(sigma)
        return clean(x, sigma) + 1, clean(x, sigma)

    a, b = cosine_sigmas(2, HIGH)[:2]
    middle = clean(x, a) + 1 + b / a * (x - clean(x, a))
    expected = clean(middle, b) + 1
    assert torch.allclose(run("v-ddim-cfgpp", 2, x, denoise=both), expected)
    assert calls == [a, b]
    assert not torch.allclose(run("v-ddim", 2, x, denoise=both), expected)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_seed_one_result_and_only_noise_depends_on_it(name):
    x, state = start(), torch.get_rng_state()
    first, same, other = (run(name, 8, x, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (name not in STOCHASTIC)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_every_number_of_steps_gives_finite_values_and_counts_to_its_total(name, steps):
    seen = []
    result = run(name, steps, on_step=lambda step, total: seen.append((step, total)))
    assert bool(torch.isfinite(result).all())
    assert [step for step, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1] == (len(seen), len(seen))
    if name == "k-dpm-adaptive":  # more are to come than are known of
        assert all(total == step + 1 for step, total in seen[:-1])
    else:
        assert {total for _, total in seen} == {steps // 3 + 1 if name == "k-dpm-fast" else steps}


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_watcher_raises_stops_the_run_at_once(name):
    calls = []

    def counted(x, sigma):
        calls.append(sigma)
        return pair(x, sigma)

    def stop(step, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(name, 50, denoise=counted, on_step=stop)
    assert len(calls) <= 3


@pytest.mark.parametrize("calls", range(1, 12))
def test_dpm_fast_calls_the_denoiser_as_often_as_it_is_told(calls):
    seen = []

    def counted(x, sigma):
        seen.append(sigma)
        return pair(x, sigma)

    run("k-dpm-fast", calls, denoise=counted)
    assert len(seen) == sum(dpm_fast_orders(calls)) == calls
    assert min(seen) >= LOW


def test_noise_levels_fall_from_the_highest_to_the_lowest_and_end_at_zero():
    sigmas = polyexponential_sigmas(5, 0.01, 100.0)
    assert sigmas == pytest.approx([100, 10, 1, 0.1, 0.01, 0])
    bent = polyexponential_sigmas(5, 0.01, 100.0, rho=2.0)
    assert bent[0] == pytest.approx(100)
    assert bent[4] == pytest.approx(0.01)
    assert all(low < even for low, even in zip(bent[1:4], sigmas[1:4], strict=True))
    assert polyexponential_sigmas(1, 0.01, 100.0) == pytest.approx([100, 0])


def test_cosine_levels_are_even_in_time():
    times = [math.atan(sigma) for sigma in cosine_sigmas(4, 3.0)]
    gaps = [a - b for a, b in itertools.pairwise(times)]
    assert times[0] == pytest.approx(math.atan(3.0))
    assert times[-1] == 0
    assert gaps == pytest.approx([gaps[0]] * 4)


def test_the_adaptive_sampler_does_not_search_for_ever_among_nan():
    def broken(x, sigma):
        return x * math.nan, x

    with pytest.raises(FloatingPointError):
        run("k-dpm-adaptive", 5, denoise=broken)


def test_single_precision_and_its_shape_are_kept():
    x = start().float().view(1, 4, 125)
    for name in SAMPLERS:
        result = run(name, 6, x)
        assert (result.dtype, result.shape) == (torch.float32, x.shape)
