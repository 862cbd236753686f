"""Flow edit: a recording carried from one description to another, without being turned into noise and back.

The sample moves by the difference of two velocities, that of the recording's own description and that of the wanted
one, both at the same noise (Kulikov et al. 2024, "FlowEdit"). Behaviour of `flow_edit_*` in ACE-Step 1.5 of May 2026.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from acestep_like.models.diffusion.guidance import Denoiser, GuidedDenoiser
from acestep_like.models.diffusion.sampler import NoiseSource, SamplerOptions, SamplerState, clamped, smoothed


@dataclass(frozen=True)
class FlowEdit:
    """Which part of the run compares the two descriptions.

    Attributes:
        n_min: share of the steps, from the first on, that are left out: the more, the closer to the recording.
        n_max: share of the steps after which the wanted description goes on alone: the less, the freer.
        n_avg: draws of noise whose velocities are averaged in a step.
    """

    n_min: float = 0.0
    n_max: float = 1.0
    n_avg: int = 1

    def bounds(self, steps: int) -> tuple[int, int]:
        """(first step that runs, first step of the wanted description alone)."""
        return int(steps * self.n_min), int(steps * self.n_max)


def flow_edit(
    source: Denoiser,
    target: Denoiser,
    recording: torch.Tensor,
    schedule: torch.Tensor,
    edit: FlowEdit,
    draw: NoiseSource,
    options: SamplerOptions | None = None,
) -> Iterator[SamplerState]:
    """Move a recording from the description of `source` to that of `target`; yields the state after every step run.

    Args:
        source, target: velocities under the two descriptions, both with the same context; each keeps its own momentum.
        recording: latents [B, T, C].
        schedule: falling times [S + 1], the last one 0.
        draw: every noise in order: `n_avg` a step that compares, then one where the target goes on alone.
        options: its limit and smoothing of velocities are used; steps are Euler's.
    """
    options = options or SamplerOptions()
    times = [float(t) for t in schedule]
    first, alone = edit.bounds(len(times) - 1)
    total = len(times) - 1 - first
    edited, x = recording, None
    last: dict[str, torch.Tensor | None] = {"source": None, "target": None}

    def velocity(name: str, denoiser: Denoiser, draws: Sequence[torch.Tensor], t: float) -> torch.Tensor:
        found = velocities_of_draws(denoiser, draws, t)
        limited = [clamped(v, x, options.velocity_norm_threshold) for v, x in zip(found, draws, strict=True)]
        v = smoothed(torch.stack(limited).mean(0), last[name], options.velocity_ema_factor)
        last[name] = v
        return v

    for index, (t, t_next) in list(enumerate(itertools.pairwise(times)))[first:]:
        if index < alone:
            noised = [(1 - t) * recording + t * draw() for _ in range(edit.n_avg)]
            moved = [edited + each - recording for each in noised]
            v_source = velocity("source", source, noised, t)
            edited = edited + (t_next - t) * (velocity("target", target, moved, t) - v_source)
            yield SamplerState(index - first + 1, total, t, edited, edited)
            continue
        if x is None:
            x = edited + (1 - t) * recording + t * draw() - recording
        v = velocity("target", target, [x], t)
        clean = x - v * t
        x = x - v * (t - t_next)
        yield SamplerState(index - first + 1, total, t, x, clean)


def velocities_of_draws(denoiser: Denoiser, draws: Sequence[torch.Tensor], t: float) -> list[torch.Tensor]:
    """Velocities of several draws of one step: guidance with momentum moves once, by their mean."""
    if isinstance(denoiser, GuidedDenoiser):
        return denoiser.velocities_of_draws(draws, t)
    return [denoiser.velocity(x, t) for x in draws]
