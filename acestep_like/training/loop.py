"""What every training here shares: a time budget, its learning-rate curve, a weight average, a progress line."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator

import torch
from tqdm import tqdm


class Bar:
    """How far a training is, on a terminal; silent where its output goes to a file, which has the lines of the log."""

    def __init__(self, name: str) -> None:
        self._bar = tqdm(total=100, desc=name, unit="%", disable=None, leave=False, bar_format="{l_bar}{bar}{postfix}")

    def show(self, fraction: float, losses: str = "") -> None:
        """Move to a share 0..1 of the training; `losses` stay until others come."""
        if losses:
            self._bar.set_postfix_str(losses, refresh=False)
        self._bar.update(round(100 * fraction, 1) - self._bar.n)

    def close(self) -> None:
        """Leave the terminal to others."""
        self._bar.close()


class Budget:
    """A training that ends when its minutes are over (or its steps, when given: the quick mode)."""

    def __init__(self, minutes: float, steps: int | None = None) -> None:
        self.minutes, self.steps = minutes, steps
        self.started, self.step = time.monotonic(), 0

    def resume(self, step: int, elapsed_s: float) -> None:
        """Continue after `step` steps that took `elapsed_s` seconds."""
        self.step, self.started = step, time.monotonic() - elapsed_s

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, 0..1."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.elapsed_s / (self.minutes * 60))

    def __iter__(self) -> Iterator[int]:
        while self.fraction < 1.0:
            yield self.step
            self.step += 1


def learning_rate(peak: float, fraction: float, step: int, *, warmup_steps: int = 200, flat: float = 0.4) -> float:
    """Linear warm-up, a plateau until `flat` of the budget, then a cosine down to 2 % of the peak."""
    warm = min(1.0, (step + 1) / warmup_steps)
    if fraction < flat:
        return peak * warm
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (fraction - flat) / (1 - flat))))


def mixed_precision(device: torch.device | str) -> torch.autocast:
    """bfloat16 autocast on a GPU; off on a CPU, where few have bfloat16 units and the others take ten times longer."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu")


class Average:
    """Exponential moving average of a module's weights; `module` holds the averaged copy."""

    def __init__(self, module: torch.nn.Module, decay: float = 0.999) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self._pairs = list(zip(self.module.parameters(), module.parameters(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged = [pair[0].data for pair in self._pairs]
        current = [pair[1].detach() for pair in self._pairs]
        torch._foreach_lerp_(averaged, current, 1 - decay)


class Meter:
    """Mean losses since the last line; keeps them on the device so that logging does not stall it."""

    def __init__(self, name: str, budget: Budget, log: Callable[[str], None], every: int = 100) -> None:
        self.name, self.budget, self.log, self.every = name, budget, log, every
        self.sums: dict[str, torch.Tensor] = {}
        self.count = self.items = 0
        self.since_s = budget.elapsed_s
        self.bar = Bar(name)

    def add(self, items: int, **losses: torch.Tensor) -> None:
        for key, value in losses.items():
            self.sums[key] = self.sums.get(key, torch.zeros((), device=value.device)) + value.detach().float()
        self.count += 1
        self.items += items
        self.bar.show(self.budget.fraction)
        if self.count == self.every:
            shown = " ".join(f"{key} {float(total) / self.count:.4f}" for key, total in self.sums.items())
            self.bar.show(self.budget.fraction, shown)
            rate = self.items / max(self.budget.elapsed_s - self.since_s, 1e-9)
            self.log(
                f"{self.name}: step {self.budget.step + 1} {self.budget.elapsed_s / 60:.1f} min "
                f"({self.budget.fraction:.0%}) {shown} | {rate:.0f} items/s"
            )
            self.sums, self.count, self.items, self.since_s = {}, 0, 0, self.budget.elapsed_s


def half_precision_copy(module: torch.nn.Module) -> torch.nn.Module:
    """A float16 copy on the CPU, as it is shipped."""
    return copy.deepcopy(module).cpu().half()
