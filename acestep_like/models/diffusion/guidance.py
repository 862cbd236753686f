"""Classifier-free guidance: a denoiser made of a conditional and an unconditional one.

Published base and sft checkpoints need adaptive projected guidance (APG); turbo checkpoints have no guidance. The mini
is guided in what changes slowly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from acestep_like.errors import InputError

Draw = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""A sample x with its conditional and unconditional velocities, [B, T, C] each."""

_SLOW_FRAMES = 25  # a second of latents
_ADG_ANGLE_LIMIT, _ADG_WIDE_LIMIT = 3.14 / 6, 3.14 / 3  # upstream's value of pi
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

    def of_draws(self, draws: Sequence[Draw], t: float) -> list[torch.Tensor]:
        """Guided velocities of several draws of one step, each (x, conditional, unconditional)."""
        ...


@dataclass(frozen=True)
class ProjectionOptions:
    """Settings of `ProjectedGuidance`.

    Attributes:
        eta: share of the difference along the conditional velocity that is kept.
        norm_threshold: limit of the difference's norm over time; 0 is off.
        momentum: weight of earlier differences.
    """

    eta: float = 0.0
    norm_threshold: float = 2.5
    momentum: float = -0.75


class PlainGuidance:
    """`uncond + scale * (cond - uncond)` (Ho & Salimans 2022)."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def of_draws(self, draws: Sequence[Draw], t: float) -> list[torch.Tensor]:
        """Guided velocities of several draws of one step, each (x, conditional, unconditional)."""
        return [self(cond, uncond, x, t, corrector=False) for x, cond, uncond in draws]

    def __call__(
        self, cond: torch.Tensor, uncond: torch.Tensor, x: torch.Tensor, t: float, *, corrector: bool
    ) -> torch.Tensor:
        return uncond + self.scale * (cond - uncond)


class SlowGuidance(PlainGuidance):
    """Guides what changes more slowly than about a second (timbre, harmony, form) and leaves what is faster, the beats,
    to the conditional velocity: away from a null branch that knows the grid, soft music would lose its pulse. Where a
    source gives the beats, plain guidance keeps more of them.

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

    def __init__(self, scale: float, options: ProjectionOptions = ProjectionOptions()) -> None:
        super().__init__(scale)
        self._options = options
        self._momentum = MomentumBuffer(options.momentum)

    def of_draws(self, draws: Sequence[Draw], t: float) -> list[torch.Tensor]:
        """Every draw starts from the momentum before the step; afterwards it moves once, by the mean difference."""
        before, guided = self._momentum.running_average, []
        for x, cond, uncond in draws:
            self._momentum.running_average = before
            guided.append(self(cond, uncond, x, t, corrector=False))
        self._momentum.running_average = before
        self._momentum.update(torch.stack([cond - uncond for _, cond, uncond in draws]).mean(0))
        return guided

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
            eta=self._options.eta,
            norm_threshold=self._options.norm_threshold,
            use_original_formulation=True,
            norm_dim=(1,),
        )


class AngleGuidance(PlainGuidance):
    """ADG: turns the clean estimate away from the unconditional one by a limited angle, frame by frame.

    Source: `acestep/models/common/apg_guidance.py` of ACE-Step 1.5 (behaviour, not code).

    Args:
        limit: largest angle in radians; None is no limit.
        keeps_norm: give the estimate the norm of the conditional one, over time, channel by channel.
    """

    def __init__(self, scale: float, *, limit: float | None = _ADG_ANGLE_LIMIT, keeps_norm: bool = False) -> None:
        super().__init__(scale)
        self._limit, self._keeps_norm = limit, keeps_norm

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
        turned = weight * angle
        if self._limit is not None:
            turned = turned.clamp(-self._limit, self._limit)
        difference = clean_cond - clean_uncond
        along = (difference * clean_uncond).sum(-1, keepdim=True) / clean_uncond.square().sum(-1, keepdim=True).clamp(
            min=1e-12
        )
        perpendicular = difference - along * clean_uncond
        sine = torch.sin(angle)
        ratio = torch.where(sine > _ADG_EPSILON, torch.sin(turned) / sine.clamp(min=_ADG_EPSILON), weight)
        clean = torch.cos(turned) * clean_cond + perpendicular * ratio
        if self._keeps_norm:
            wanted, found = (torch.linalg.vector_norm(each, dim=1, keepdim=True) for each in (clean_cond, clean))
            clean = clean * wanted / found.clamp(min=1e-12)
        return ((x - clean) / t).to(dtype)


_KINDS: dict[str, Callable[[float, ProjectionOptions], PlainGuidance]] = {
    "apg": ProjectedGuidance,
    "apg_classic": ProjectedGuidance,
    "cfg": lambda scale, _: PlainGuidance(scale),
    "adg": lambda scale, _: AngleGuidance(scale),
    "adg_w_norm": lambda scale, _: AngleGuidance(scale, limit=_ADG_WIDE_LIMIT, keeps_norm=True),
    "adg_wo_clip": lambda scale, _: AngleGuidance(scale, limit=None),
    "slow": lambda scale, _: SlowGuidance(scale),
}
GUIDANCE_MODES = tuple(_KINDS)


def make_guidance(mode: str, scale: float, projection: ProjectionOptions | None = None) -> PlainGuidance:
    """A fresh guidance for one run, which may carry momentum through it.

    Args:
        mode: one of GUIDANCE_MODES; "apg_classic" is upstream's name of "apg".
        scale: above 1 guides.
        projection: settings of "apg".

    Raises:
        InputError: an unknown mode.
    """
    if mode not in _KINDS:
        raise InputError("guidance_variant", mode, "one of " + ", ".join(GUIDANCE_MODES))
    return _KINDS[mode](scale, projection or ProjectionOptions())


def interval_in_t(start_ratio: float, end_ratio: float) -> tuple[float, float]:
    """The documented interval of progress (0 = first step) as bounds of t: `1 - end <= t <= 1 - start`."""
    return 1.0 - end_ratio, 1.0 - start_ratio


class GuidedDenoiser:
    """Guides a paired denoiser where `t_low <= t <= t_high`; elsewhere the conditional velocity alone is computed."""

    def __init__(self, denoiser: PairedDenoiser, guidance: Guidance, t_low: float = 0.0, t_high: float = 1.0) -> None:
        self._denoiser, self._guidance = denoiser, guidance
        self._low, self._high = t_low, t_high

    def _guides(self, t: float) -> bool:
        # The schedule is float32: compare with a tolerance below its resolution, so that 0.8 is inside [0.2, 0.8].
        return (self._low <= t or math.isclose(t, self._low, abs_tol=1e-7)) and (
            t <= self._high or math.isclose(t, self._high, abs_tol=1e-7)
        )

    def velocity(self, x: torch.Tensor, t: float, *, corrector: bool = False) -> torch.Tensor:
        """As `Denoiser.velocity`."""
        if not self._guides(t):
            return self._denoiser.velocity(x, t, corrector=corrector)
        cond, uncond = self._denoiser.velocities(x, t)
        return self._guidance(cond, uncond, x, t, corrector=corrector)

    def velocities_of_draws(self, draws: Sequence[torch.Tensor], t: float) -> list[torch.Tensor]:
        """Velocities of several draws x [B, T, C] of one step; guidance with momentum moves once, by their mean."""
        if not self._guides(t):
            return [self._denoiser.velocity(x, t) for x in draws]
        return self._guidance.of_draws([(x, *self._denoiser.velocities(x, t)) for x in draws], t)
