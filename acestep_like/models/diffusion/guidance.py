"""Classifier-free guidance: a denoiser made of a conditional and an unconditional one.

Published base and sft checkpoints need adaptive projected guidance (APG); turbo checkpoints have no guidance. The mini
is guided in what changes slowly.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

GUIDANCE_MODES = ("apg", "cfg", "adg", "slow")

_APG_MOMENTUM = -0.75
_APG_NORM_THRESHOLD = 2.5
_SLOW_FRAMES = 25  # a second of latents
_ADG_ANGLE_LIMIT = 3.14 / 6  # upstream's value of pi
_ADG_EPSILON = 1e-3


class Denoiser(Protocol):
    """The one contract of samplers: the velocity `v = noise - x0` at `x_t = t * noise + (1 - t) * x0`."""

    def velocity(self, x: torch.Tensor, t: float, *, corrector: bool = False) -> torch.Tensor:
        """v [B, T, C] at x [B, T, C] and t in [0, 1]; `corrector` marks the second evaluation of a Heun step."""
        ...


class PairedDenoiser(Denoiser, Protocol):
    """A denoiser that also knows its unconditional half."""

    def velocities(self, x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(conditional, unconditional) velocities, each [B, T, C], in one evaluation."""
        ...


class Guidance(Protocol):
    """Combines the two velocities at x and t."""

    def __call__(
        self, cond: torch.Tensor, uncond: torch.Tensor, x: torch.Tensor, t: float, *, corrector: bool
    ) -> torch.Tensor: ...


class PlainGuidance:
    """`uncond + scale * (cond - uncond)` (Ho & Salimans 2022)."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(
        self, cond: torch.Tensor, uncond: torch.Tensor, x: torch.Tensor, t: float, *, corrector: bool
    ) -> torch.Tensor:
        return uncond + self.scale * (cond - uncond)


class SlowGuidance(PlainGuidance):
    """Guides what changes more slowly than about a second (timbre, harmony, form) and leaves what is faster, the beats,
    to the conditional velocity: away from a null branch that knows the grid, soft music would lose its pulse. Where a
    source tells the beats, plain guidance keeps more of them.

    Frequency-decoupled guidance (Sadat et al. 2025) over time, with a scale of 1 for the high frequencies.
    """

    def __call__(
        self, cond: torch.Tensor, uncond: torch.Tensor, x: torch.Tensor, t: float, *, corrector: bool
    ) -> torch.Tensor:
        difference = (cond - uncond).transpose(1, 2).flatten(0, 1)[:, None]  # [B * C, 1, T]
        window = torch.hann_window(_SLOW_FRAMES + 2, periodic=False, device=cond.device, dtype=cond.dtype)[1:-1]
        padded = torch.nn.functional.pad(difference, (_SLOW_FRAMES // 2,) * 2, mode="replicate")
        slow = torch.nn.functional.conv1d(padded, (window / window.sum())[None, None])
        return cond + (self.scale - 1) * slow.view(len(cond), -1, cond.shape[1]).transpose(1, 2)


class ProjectedGuidance(PlainGuidance):
    """APG (Sadat et al. 2024) over the time axis, with one momentum buffer for the whole run.

    The corrector of a Heun step uses plain guidance, as upstream, so that the momentum moves once a step.
    """

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self._momentum = MomentumBuffer(_APG_MOMENTUM)

    def __call__(
        self, cond: torch.Tensor, uncond: torch.Tensor, x: torch.Tensor, t: float, *, corrector: bool
    ) -> torch.Tensor:
        if corrector:
            return super().__call__(cond, uncond, x, t, corrector=corrector)
        return normalized_guidance(
            cond,
            uncond,
            guidance_scale=self.scale - 1.0,
            momentum_buffer=self._momentum,
            eta=0.0,
            norm_threshold=_APG_NORM_THRESHOLD,
            use_original_formulation=True,
            norm_dim=(1,),
        )


class AngleGuidance(PlainGuidance):
    """ADG: turns the clean estimate away from the unconditional one by a limited angle, frame by frame.

    Source: `acestep/models/common/apg_guidance.py` of ACE-Step 1.5 (behaviour, not code).
    """

    def __call__(
        self, cond: torch.Tensor, uncond: torch.Tensor, x: torch.Tensor, t: float, *, corrector: bool
    ) -> torch.Tensor:
        if t <= 0:  # only a corrector at the end of the run: no angle without noise
            return super().__call__(cond, uncond, x, t, corrector=corrector)
        weight = max(self.scale - 1, 0) + _ADG_EPSILON
        # Angles close to 0 lose their digits in float32, and the loss adds up over the steps.
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        dtype, x, cond, uncond = cond.dtype, x.to(wide), cond.to(wide), uncond.to(wide)
        clean_cond, clean_uncond = x - t * cond, x - t * uncond
        cosine = torch.nn.functional.cosine_similarity(clean_cond, clean_uncond, dim=-1, eps=1e-8).unsqueeze(-1)
        angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
        turned = (weight * angle).clamp(-_ADG_ANGLE_LIMIT, _ADG_ANGLE_LIMIT)
        difference = clean_cond - clean_uncond
        along = (difference * clean_uncond).sum(-1, keepdim=True) / clean_uncond.square().sum(-1, keepdim=True).clamp(
            min=1e-12
        )
        perpendicular = difference - along * clean_uncond
        sine = torch.sin(angle)
        ratio = torch.where(sine > _ADG_EPSILON, torch.sin(turned) / sine.clamp(min=_ADG_EPSILON), weight)
        clean = torch.cos(turned) * clean_cond + perpendicular * ratio
        return ((x - clean) / t).to(dtype)


def make_guidance(mode: str, scale: float) -> Guidance:
    """A fresh guidance for one run; `mode` of GUIDANCE_MODES."""
    kinds = {"apg": ProjectedGuidance, "cfg": PlainGuidance, "adg": AngleGuidance, "slow": SlowGuidance}
    return kinds[mode](scale)


def interval_in_t(start_ratio: float, end_ratio: float) -> tuple[float, float]:
    """The documented interval of progress (0 = first step) as bounds of t: `1 - end <= t <= 1 - start`."""
    return 1.0 - end_ratio, 1.0 - start_ratio


class GuidedDenoiser:
    """Guides a paired denoiser where `t_low <= t <= t_high`; elsewhere the conditional velocity alone is computed."""

    def __init__(self, denoiser: PairedDenoiser, guidance: Guidance, t_low: float = 0.0, t_high: float = 1.0) -> None:
        self._denoiser, self._guidance = denoiser, guidance
        self._low, self._high = t_low, t_high

    def velocity(self, x: torch.Tensor, t: float, *, corrector: bool = False) -> torch.Tensor:
        """As `Denoiser.velocity`."""
        # The schedule is float32: compare with a tolerance below its resolution, so that 0.8 is inside [0.2, 0.8].
        if not (self._low <= t or math.isclose(t, self._low, abs_tol=1e-7)) or not (
            t <= self._high or math.isclose(t, self._high, abs_tol=1e-7)
        ):
            return self._denoiser.velocity(x, t, corrector=corrector)
        cond, uncond = self._denoiser.velocities(x, t)
        return self._guidance(cond, uncond, x, t, corrector=corrector)
