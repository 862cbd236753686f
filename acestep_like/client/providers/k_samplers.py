"""The samplers that stable-audio-tools offers for v-prediction models, as rules over a denoiser.

All run in the variance-exploding form x = x0 + sigma * noise (Karras et al. 2022, arXiv:2206.00364), whatever form the
network was trained in: a v-network's outputs become a denoiser by
`D(x, s) = x / (s^2 + 1) - s / sqrt(s^2 + 1) * v(x / sqrt(s^2 + 1), (2/pi) atan s)`. Rules named "k-" and "dpmpp-" are
those of k-diffusion 0.1.1 (`k_diffusion/sampling.py`), of "v-ddim" those of stable-audio-tools 0.0.19
(`inference/sampling.py`), but that they begin at the time of `sigma_max` (.994 at 100) where that takes 1 for any level
above 1. Noise of the stochastic ones is drawn afresh for every step, not from a Brownian tree: the same distribution,
other samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

Denoiser = Callable[[torch.Tensor, float], torch.Tensor]
"""D(x, sigma) -> x0, of one shape: the expected clean signal given x = x0 + sigma * noise."""
PairDenoiser = Callable[[torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]
"""As `Denoiser`, and beside the guided x0 the unguided (unconditional) one."""
Noise = Callable[[torch.Tensor], torch.Tensor]
"""Fresh standard normal noise like a tensor."""
Rule = Callable[[torch.Tensor, float, float], torch.Tensor]
"""One step: (x, sigma now, sigma next) -> x at sigma next. A rule may remember its earlier steps: one rule a run."""
OnStep = Callable[[int, int], None]

_LMS_ORDER = 4
_ADAPTIVE_TOLERANCE, _ADAPTIVE_FIRST_STEP, _ADAPTIVE_ACCEPT = 0.01, 0.05, 0.81


def polyexponential_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0) -> list[float]:
    """Falling noise levels: `steps` of them from `sigma_max` to `sigma_min`, then 0.

    Straight in log sigma for `rho` 1; above it more of them are low. A single step starts at `sigma_max`.
    """
    low, high = math.log(sigma_min), math.log(sigma_max)
    ramp = [1 - i / (steps - 1) for i in range(steps)] if steps > 1 else [1.0]
    return [math.exp(low + r**rho * (high - low)) for r in ramp] + [0.0]


def cosine_sigmas(steps: int, sigma_max: float) -> list[float]:
    """The `steps + 1` noise levels tan(pi t / 2) of times t that fall evenly from that of `sigma_max` to 0."""
    start = math.atan(sigma_max)
    return [math.tan(start * (1 - i / steps)) for i in range(steps)] + [0.0]


def sample(
    name: str,
    denoise: PairDenoiser,
    x: torch.Tensor,
    *,
    steps: int,
    sigma_min: float,
    sigma_max: float,
    rho: float = 1.0,
    generator: torch.Generator,
    on_step: OnStep = lambda step, total: None,
) -> torch.Tensor:
    """Take x from noise level `sigma_max` to 0 ("k-dpm-fast" and "k-dpm-adaptive": to `sigma_min`, as the reference).

    What `steps` means: noise levels of "k-" and "dpmpp-" (two calls of the denoiser each but the last for "k-heun",
    "k-dpm-2" and "k-dpmpp-2s-ancestral"), times of "v-ddim", calls of "k-dpm-fast", and nothing to "k-dpm-adaptive".

    Args:
        name: one of `SAMPLERS`.
        denoise: the denoiser; only "v-ddim-cfgpp" looks at its second answer.
        x: of any shape and floating dtype, at level `sigma_max`: for pure noise, `sigma_max` times standard normal.
        sigma_min: last level above 0, below `sigma_max`; of no use to "v-ddim".
        rho: shape of `polyexponential_sigmas`; of no use to "v-ddim" and "k-dpm-".
        generator: on the CPU, so that noise is the same on every device.
        on_step: called as `(step, total)` after every step; "k-dpm-fast" takes `steps // 3 + 1` of them.
            "k-dpm-adaptive" cannot know how many will come: each attempt counts, and total is `step + 1` until the
            last, whose total is its own number.

    Raises:
        KeyError: no such sampler.
        FloatingPointError: NaN from the denoiser in "k-dpm-adaptive", which could not choose a step.
    """

    def guided(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return denoise(x, sigma)[0]

    def noise(x: torch.Tensor) -> torch.Tensor:
        return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)

    if name == "k-dpm-adaptive":
        return dpm_adaptive(guided, x, sigma_min, sigma_max, on_step)
    if name == "k-dpm-fast":
        orders = dpm_fast_orders(steps)
        share = [i / len(orders) for i in range(len(orders) + 1)]
        sigmas = [sigma_max ** (1 - r) * sigma_min**r for r in share]
        rule = dpm_fast(guided, orders)
    elif name in _DDIM:
        sigmas = cosine_sigmas(steps, sigma_max)
        rule = ddim(denoise if name == "v-ddim-cfgpp" else _unpaired(guided))
    else:
        sigmas = polyexponential_sigmas(steps, sigma_min, sigma_max, rho)
        rule = _RULES[name](guided, noise)
    for step, (a, b) in enumerate(itertools.pairwise(sigmas), 1):
        x = rule(x, a, b)
        on_step(step, len(sigmas) - 1)
    return x


def _unpaired(denoise: Denoiser) -> PairDenoiser:
    def pair(x: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        clean = denoise(x, sigma)
        return clean, clean

    return pair


# Rules. Throughout: a is the level now, b the next, d the clean estimate at a, h = ln(a / b) the step in log sigma.


def heun(denoise: Denoiser, _noise: Noise) -> Rule:
    """Trapezoid of the slopes at both ends (Karras et al. 2022, algorithm 1 without churn). Second order."""

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        slope = (x - denoise(x, a)) / a
        there = x + (b - a) * slope
        return there if b == 0 else x + (b - a) / 2 * (slope + (there - denoise(there, b)) / b)

    return step


def dpm_2(denoise: Denoiser, _noise: Noise) -> Rule:
    """Slope at the geometric middle (DPM-Solver-2, Lu et al. 2022, arXiv:2206.00927, in sigma). Second order."""

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        d, middle = denoise(x, a), math.sqrt(a * b)
        if b == 0:
            return d
        halfway = x + (middle - a) / a * (x - d)
        return x + (b - a) / middle * (halfway - denoise(halfway, middle))

    return step


def lms(denoise: Denoiser, _noise: Noise) -> Rule:
    """Linear multistep: the polynomial through up to four slopes, integrated exactly, on the last step to 0 too."""
    nodes, weights = np.polynomial.legendre.leggauss(_LMS_ORDER)
    past: list[tuple[float, torch.Tensor]] = []

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        past.append((a, (x - denoise(x, a)) / a))
        del past[:-_LMS_ORDER]
        at = (a + b) / 2 + (b - a) / 2 * nodes
        for i, (level, slope) in enumerate(past):
            others = [other for j, (other, _) in enumerate(past) if j != i]
            basis = np.prod([(at - other) / (level - other) for other in others], axis=0) if others else 1.0
            x = x + float((b - a) / 2 * np.sum(weights * basis)) * slope
        return x

    return step


def dpmpp_2m(denoise: Denoiser, _noise: Noise) -> Rule:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): the estimate extrapolated from two steps. Second order."""
    return _extrapolating(denoise, lambda x, a, b, ahead: b / a * x + (1 - b / a) * ahead)


def dpmpp_2m_sde(denoise: Denoiser, noise: Noise) -> Rule:
    """SDE-DPM-Solver++(2M), midpoint, eta 1 (same paper)."""
    return _extrapolating(denoise, lambda x, a, b, ahead: _sde_mean(x, a, b, ahead) + _sde_spread(a, b) * noise(x))


def _extrapolating(denoise: Denoiser, move: Callable[[torch.Tensor, float, float, torch.Tensor], torch.Tensor]) -> Rule:
    """Steps `move(x, a, b, clean)` along the clean estimate where a line through the last two puts it mid-step."""
    past: list[tuple[float, torch.Tensor]] = []

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        d = denoise(x, a)
        if b == 0:
            return d
        h = math.log(a / b)
        ahead = d + h / (2 * past[-1][0]) * (d - past[-1][1]) if past else d
        past[:] = [(h, d)]
        return move(x, a, b, ahead)

    return step


def dpmpp_3m_sde(denoise: Denoiser, noise: Noise) -> Rule:
    """SDE-DPM-Solver++ with three estimates, eta 1 (k-diffusion's extension of the above).

    The second difference enters with half its weight in a Taylor series, as there: of second order therefore, with a
    smaller error than two estimates.
    """
    past: list[tuple[float, torch.Tensor]] = []  # the newest first

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        d = denoise(x, a)
        if b == 0:
            return d
        h = math.log(a / b)
        phi_2 = math.expm1(-2 * h) / (2 * h) + 1
        phi_3 = phi_2 / (2 * h) - 0.5
        mean = _sde_mean(x, a, b, d)
        if past:
            r0 = past[0][0] / h
            first = (d - past[0][1]) / r0
            second = torch.zeros_like(d)
            if len(past) > 1:
                r1 = past[1][0] / h
                second = (first - (past[0][1] - past[1][1]) / r1) / (r0 + r1)
                first = first + second * r0
            mean = mean + phi_2 * first - phi_3 * second
        past[:] = [(h, d), *past[:1]]
        return mean + _sde_spread(a, b) * noise(x)

    return step


def _sde_mean(x: torch.Tensor, a: float, b: float, d: torch.Tensor) -> torch.Tensor:
    """Mean after a step of the reverse SDE (eta 1) along which the clean estimate is d: e^-2h = (b / a)^2."""
    kept = (b / a) ** 2
    return kept * x + (1 - kept) * d


def _sde_spread(a: float, b: float) -> float:
    """Standard deviation of the noise of that step."""
    return b * math.sqrt(1 - (b / a) ** 2)


def dpmpp_2s_ancestral(denoise: Denoiser, noise: Noise) -> Rule:
    """DPM-Solver++(2S) down past b, then noise up to it again, eta 1."""

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        d = denoise(x, a)
        if b == 0:
            return d
        down, up = b * b / a, _sde_spread(a, b)  # down^2 + up^2 = b^2
        middle = math.sqrt(a * down)
        halfway = middle / a * x + (1 - middle / a) * d
        return down / a * x + (1 - down / a) * denoise(halfway, middle) + up * noise(x)

    return step


def ddim(denoise: PairDenoiser) -> Rule:
    """DDIM, eta 0 (Song et al. 2021, arXiv:2010.02502), which in this form is Euler's rule. First order.

    With two different answers of the denoiser it is CFG++ (Chung et al. 2024, arXiv:2406.08070): the clean estimate is
    the guided one, the noise that is put back the unguided one's.
    """

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        guided, unguided = denoise(x, a)
        return guided + b / a * (x - unguided)

    return step


def dpm_fast_orders(calls: int) -> list[int]:
    """Orders of the steps of DPM-Solver-fast that together call the denoiser `calls` times."""
    threes, rest = divmod(calls, 3)
    return [3] * (threes - 1) + [2, 1] if rest == 0 else [3] * threes + [rest]


def dpm_fast(denoise: Denoiser, orders: Sequence[int]) -> Rule:
    """DPM-Solver-fast (Lu et al. 2022, arXiv:2206.00927): single steps of the given orders, one after the other."""
    left = iter(orders)

    def step(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        return _dpm_solver(denoise, x, a, b, order=next(left))

    return step


def _dpm_solver(denoise: Denoiser, x: torch.Tensor, a: float, b: float, *, order: int) -> torch.Tensor:
    """One step of DPM-Solver-1, -2 (r1 = 1/2) or -3 (r1 = 1/3, r2 = 2/3), with e = (x - D) / sigma."""
    e = (x - denoise(x, a)) / a
    if order == 1:
        return _exponential(x, a, b, e)
    middle = math.sqrt(a * b) if order == 2 else a ** (2 / 3) * b ** (1 / 3)
    e1 = _noise_at(denoise, _exponential(x, a, middle, e), middle)
    if order == 2:
        return _exponential(x, a, b, e, e1 - e, 1 / 2)
    return _third(denoise, x, a, b, e, e1)


def _third(denoise: Denoiser, x: torch.Tensor, a: float, b: float, e: torch.Tensor, e1: torch.Tensor) -> torch.Tensor:
    """The rest of DPM-Solver-3 after its first stage at a third of the way."""
    late, h = a ** (1 / 3) * b ** (2 / 3), math.log(a / b)
    z = 2 / 3 * h
    there = _exponential(x, a, late, e) - 2 * late * (math.expm1(z) / z - 1) * (e1 - e)
    e2 = _noise_at(denoise, there, late)
    return _exponential(x, a, b, e) - 1.5 * b * (math.expm1(h) / h - 1) * (e2 - e)


def _noise_at(denoise: Denoiser, x: torch.Tensor, sigma: float) -> torch.Tensor:
    return (x - denoise(x, sigma)) / sigma


def _exponential(
    x: torch.Tensor, a: float, b: float, e: torch.Tensor, change: torch.Tensor | None = None, r: float = 1.0
) -> torch.Tensor:
    """x at b for a noise estimate e that stays, or has changed by `change` at the share r of the step in log sigma."""
    # b * expm1(ln(a / b)) = a - b: in sigma the first term is Euler's
    moved = x - (a - b) * e
    return moved if change is None else moved - (a - b) / (2 * r) * change


def dpm_adaptive(
    denoise: Denoiser, x: torch.Tensor, sigma_min: float, sigma_max: float, on_step: OnStep
) -> torch.Tensor:
    """DPM-Solver-23 (Lu et al. 2022): third-order steps, their length given by the distance to second-order ones.

    Tolerances 0.01 absolute and relative, first step 0.05 in log sigma, k-diffusion's controller. Three calls of the
    denoiser an attempt, two after one that was not accepted.
    """
    level, h, previous, attempt = sigma_max, _ADAPTIVE_FIRST_STEP, x, 0
    e: torch.Tensor | None = None
    while level > sigma_min * (1 + 1e-5):
        b = max(sigma_min, level * math.exp(-h))
        e = (x - denoise(x, level)) / level if e is None else e
        middle = level ** (2 / 3) * b ** (1 / 3)
        e1 = _noise_at(denoise, _exponential(x, level, middle, e), middle)
        low = _exponential(x, level, b, e, e1 - e, 1 / 3)
        high = _third(denoise, x, level, b, e, e1)
        allowed = _ADAPTIVE_TOLERANCE * torch.maximum(low.abs(), previous.abs()).clamp(min=1.0)
        error = float(((low - high) / allowed).square().mean().sqrt())
        if not math.isfinite(error):
            raise FloatingPointError("the denoiser gave NaN or infinite values")
        factor = 1 + math.atan((error + 1e-8) ** (-1 / 3) - 1)
        if factor >= _ADAPTIVE_ACCEPT:
            x, previous, level, e = high, low, b, None
        h *= factor
        attempt += 1
        on_step(attempt, attempt + (level > sigma_min * (1 + 1e-5)))
    return x


_RULES: dict[str, Callable[[Denoiser, Noise], Rule]] = {
    "dpmpp-3m-sde": dpmpp_3m_sde,
    "dpmpp-2m-sde": dpmpp_2m_sde,
    "dpmpp-2m": dpmpp_2m,
    "k-heun": heun,
    "k-lms": lms,
    "k-dpm-2": dpm_2,
    "k-dpmpp-2s-ancestral": dpmpp_2s_ancestral,
}
_DDIM = ("v-ddim", "v-ddim-cfgpp")
SAMPLERS = (*_RULES, "k-dpm-fast", "k-dpm-adaptive", *_DDIM)
"""All names; the first is Stable Audio Open's own."""
