"""The sampler: from noise to latents, one step at a time, as a generator that anyone may watch or stop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from acestep_like.models.diffusion.guidance import Denoiser
from acestep_like.models.diffusion.inpainting import Inpainting
from acestep_like.models.diffusion.wavelet_correction import WaveletCorrection

NoiseSource = Callable[[], torch.Tensor]
"""Fresh noise [B, T, C] at every call, drawn on from the same generators."""


@dataclass(frozen=True)
class SamplerState:
    """After step `step` of `total` (counted from 1), whose velocity was taken at `t`.

    `x` [B, T, C] is the sample after the step, `x0_estimate` [B, T, C] the clean latents the step saw.
    """

    step: int
    total: int
    t: float
    x: torch.Tensor
    x0_estimate: torch.Tensor


@dataclass(frozen=True)
class SamplerOptions:
    """How the steps are taken.

    Attributes:
        method: "euler", "heun" (second order; two evaluations a step) or "sde" (fresh noise every step).
        correct_last: whether Heun also corrects the step that ends at t = 0 (base and sft do, turbo does not).
        inject_last: whether outside frames are also put back after the last step (base and sft do, turbo does not).
        velocity_norm_threshold: limits |v| to this multiple of |x| (norms over time and channels); 0 is off.
        velocity_ema_factor: share of the previous velocity mixed in; 0 is off.
        correction: moves the sample after every step; None is off.
    """

    method: str = "euler"
    correct_last: bool = True
    inject_last: bool = True
    velocity_norm_threshold: float = 0.0
    velocity_ema_factor: float = 0.0
    correction: WaveletCorrection | None = None


def sampler_method(infer_method: str, sampler_mode: str) -> str:
    """Upstream's two settings as one method; with "sde" the order is always one."""
    return "sde" if infer_method == "sde" else sampler_mode


def clamped(v: torch.Tensor, x: torch.Tensor, threshold: float) -> torch.Tensor:
    """Velocities v [B, T, C] with norms (over time and channels) of at most `threshold` times those of x; 0 is off."""
    if threshold <= 0:
        return v
    v_norm = torch.linalg.vector_norm(v, dim=(1, 2), keepdim=True)
    x_norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
    return v * (threshold * (x_norm + 1e-10) / (v_norm + 1e-10)).clamp(max=1.0)


def smoothed(v: torch.Tensor, previous: torch.Tensor | None, factor: float) -> torch.Tensor:
    """Velocities with a share of those of the step before; 0 is off."""
    return v if previous is None or factor <= 0 else (1.0 - factor) * v + factor * previous


def sample(
    denoiser: Denoiser,
    x: torch.Tensor,
    schedule: torch.Tensor,
    options: SamplerOptions | None = None,
    *,
    switch: tuple[int, Denoiser] | None = None,
    inpainting: Inpainting | None = None,
    noise: NoiseSource | None = None,
) -> Iterator[SamplerState]:
    """Integrate from `schedule[0]` to 0 and yield the state after every step.

    Args:
        denoiser: gives velocities.
        x: start [B, T, C] at time `schedule[0]`.
        schedule: falling times [S + 1], the last one 0.
        options: order, stochasticity, velocity limits.
        switch: (k, other): from step index k on, `other` gives the velocities (the cover strength).
        inpainting: frames to keep at the source on the way (repaint).
        noise: fresh noise of every step; needed by the method "sde".
    """
    options = options or SamplerOptions()
    times = [float(t) for t in schedule]
    total = len(times) - 1
    previous: torch.Tensor | None = None
    for index, (t, t_next) in enumerate(itertools.pairwise(times)):
        if switch is not None and index == switch[0]:
            denoiser = switch[1]
        v = clamped(denoiser.velocity(x, t), x, options.velocity_norm_threshold)
        v = smoothed(v, previous, options.velocity_ema_factor)
        clean = x - v * t
        last = index == total - 1
        if options.method == "sde":
            x = clean if last else _renoised(clean, t_next, noise)
        else:
            if options.method == "heun" and (options.correct_last or not last):
                ahead = x - v * (t - t_next)
                v2 = clamped(denoiser.velocity(ahead, t_next, corrector=True), ahead, options.velocity_norm_threshold)
                v = 0.5 * (v + smoothed(v2, v, options.velocity_ema_factor))
            x = x - v * (t - t_next)
        previous = v
        if options.correction is not None:
            x = options.correction(x, clean, t)
        if inpainting is not None and (options.inject_last or not last):
            x = inpainting.after_step(x, t_next, index, total)
        yield SamplerState(index + 1, total, t, x, clean)


def _renoised(clean: torch.Tensor, t: float, noise: NoiseSource | None) -> torch.Tensor:
    if noise is None:
        raise ValueError("the stochastic sampler needs a noise source")
    return t * noise() + (1 - t) * clean
