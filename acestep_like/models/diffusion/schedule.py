"""At which times t the sampler evaluates the model: 1-D tensors from 1 (noise) to the final 0 (music)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

TURBO_STEPS = 8
TURBO_SHIFTS = (1.0, 2.0, 3.0)
MAX_TURBO_TIMESTEPS = 20


def shifted(t: torch.Tensor, shift: float) -> torch.Tensor:
    """Move times towards noise: `s * t / (1 + (s - 1) * t)` (shift 1 changes nothing)."""
    return t if shift == 1.0 else shift * t / (1 + (shift - 1) * t)


def flow_schedule(steps: int, shift: float) -> torch.Tensor:
    """The continuous schedule of base and sft checkpoints: float32 [steps + 1], from 1 to 0."""
    return shifted(torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float32), shift)


def _turbo_values() -> list[float]:
    grid = [1 - i / TURBO_STEPS for i in range(TURBO_STEPS)]
    values = {s * t / (1 + (s - 1) * t) for s in TURBO_SHIFTS for t in grid}
    return sorted({round(value, 12) for value in values}, reverse=True)


TURBO_VALUES: tuple[float, ...] = tuple(_turbo_values())
"""The 20 times that turbo checkpoints were distilled at: the union of their three tables."""


def snap_timesteps(timesteps: Sequence[float]) -> list[float]:
    """Custom times as turbo takes them: trailing zeros dropped, at most 20, each moved to the nearest valid one."""
    kept = list(timesteps)
    while kept and kept[-1] == 0:
        kept.pop()
    return [min(TURBO_VALUES, key=lambda value: abs(value - t)) for t in kept[:MAX_TURBO_TIMESTEPS]]


def turbo_schedule(steps: int | None, shift: float, timesteps: Sequence[float] | None = None) -> torch.Tensor:
    """The schedule of turbo checkpoints: float32 [S + 1] with the final 0.

    Without a number of steps it is the eight-step table of the nearest of `TURBO_SHIFTS`, as upstream; with one, the
    continuous schedule of the shift as it is given (equal to the tables at eight steps and these shifts). `timesteps`
    overrides both and is snapped; when nothing but zeros was given the table stands in.
    """
    custom = snap_timesteps(timesteps) if timesteps is not None else []
    if custom:
        return torch.tensor([*custom, 0.0], dtype=torch.float32)
    if steps is None or timesteps is not None:
        return flow_schedule(TURBO_STEPS, min(TURBO_SHIFTS, key=lambda valid: abs(valid - shift)))
    return flow_schedule(steps, shift)


def make_schedule(
    *, is_turbo: bool, steps: int | None, shift: float, timesteps: Sequence[float] | None = None
) -> torch.Tensor:
    """The times of a run, float32 [S + 1], strictly falling to 0.

    Args:
        is_turbo: snap custom times; otherwise they are used verbatim.
        steps: number of steps S where `timesteps` is None; None takes turbo's table.
        shift: see `shifted`; not applied to custom times.
        timesteps: custom times in (0, 1], falling; a final 0 is added when missing.
    """
    if is_turbo:
        return turbo_schedule(steps, shift, timesteps)
    if timesteps is None:
        if steps is None:
            raise ValueError("only turbo checkpoints have a schedule without a number of steps")
        return flow_schedule(steps, shift)
    values = list(timesteps)
    return torch.tensor(values if values[-1] == 0 else [*values, 0.0], dtype=torch.float32)


def flow_edit_schedule(steps: int, shift: float, timesteps: Sequence[float] | None = None) -> torch.Tensor:
    """The schedule of a flow edit, float32 [S + 1]: custom times verbatim, on turbo checkpoints too."""
    return make_schedule(is_turbo=False, steps=steps, shift=shift, timesteps=timesteps)


def start_near_source(schedule: torch.Tensor, noise_strength: float, *, is_turbo: bool = False) -> torch.Tensor:
    """Drop the times before the one nearest to `1 - noise_strength` (the first of equals): the run starts there.

    Turbo checkpoints compare the exact times of their tables, others the float32 times: what is nearest may differ
    between two that are equally far.
    """
    times = [float(t) for t in schedule[:-1]]
    if is_turbo:
        times = [_exact(t) for t in times]
    distances = [abs(t - (1.0 - noise_strength)) for t in times]
    return schedule[distances.index(min(distances)) :]


def _exact(t: float) -> float:
    """The value of the turbo tables that a float32 time stands for; the time itself where there is none."""
    nearest = min(TURBO_VALUES, key=lambda value: abs(value - t))
    return nearest if abs(nearest - t) < 1e-7 else t
