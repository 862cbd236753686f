"""What an adapter does to the weights it was trained for: one small record a form, all with the same question.

Forms: LoRA (Hu et al. 2021), LoHa and LoKr (Yeh et al. 2023, "LyCORIS"), DoRA over any of them (Liu et al. 2024), whole
differences, and weights that take another's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


class Update(Protocol):
    """A change to one parameter."""

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        """What is added to a weight (float32) for an adapter at `scale`; float32, of the weight's shape."""
        ...

    def fits(self, shape: torch.Size) -> bool:
        """Whether it is for a weight of that shape."""
        ...


@dataclass(frozen=True)
class LowRank:
    """down [rank, in, ...] and up [out, rank, ...]: their product is added. The file's own scaling is in `up`."""

    down: torch.Tensor
    up: torch.Tensor

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        product = self.up.flatten(1).to(weight.device) @ self.down.flatten(1).to(weight.device)
        return scale * product.reshape(weight.shape)

    def fits(self, shape: torch.Size) -> bool:
        up, down = self.up.flatten(1), self.down.flatten(1)
        plain = len(shape) > 1 and self.down.ndim >= 2 and self.up.shape[2:].numel() == 1
        return plain and up.shape[1] == len(down) and len(up) == shape[0] and down.shape[1] == shape[1:].numel()


@dataclass(frozen=True)
class Kronecker:
    """The Kronecker product of a small and a large factor is added. The file's own scaling is in `large`."""

    small: torch.Tensor
    large: torch.Tensor

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        large = self.large.to(weight.device)
        small = self.small.to(weight.device).reshape(*self.small.shape, *[1] * (large.ndim - 2))
        return scale * torch.kron(small, large).reshape(weight.shape)

    def fits(self, shape: torch.Size) -> bool:
        (a, b), (c, d) = self.small.shape, self.large.shape[:2]
        return len(shape) > 1 and (a * c, b * d * self.large.shape[2:].numel()) == (shape[0], shape[1:].numel())


@dataclass(frozen=True)
class Hadamard:
    """Two low-rank products, each (a [out, rank], b [rank, in]), are multiplied entry by entry and added."""

    first: tuple[torch.Tensor, torch.Tensor]
    second: tuple[torch.Tensor, torch.Tensor]

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        first, second = (a.to(weight.device) @ b.to(weight.device) for a, b in (self.first, self.second))
        return scale * (first * second).reshape(weight.shape)

    def fits(self, shape: torch.Size) -> bool:
        wanted = (shape[0], shape[1:].numel()) if len(shape) > 1 else None
        return all(a.shape[1] == len(b) and (len(a), b.shape[1]) == wanted for a, b in (self.first, self.second))


@dataclass(frozen=True)
class Difference:
    """A difference of the weight's own shape is added."""

    value: torch.Tensor

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        return scale * self.value.to(weight.device).reshape(weight.shape)

    def fits(self, shape: torch.Size) -> bool:
        return self.value.shape == shape


@dataclass(frozen=True)
class Replacement:
    """A weight that was trained whole takes the place of the original; at a scale below 1, the way to it in part."""

    value: torch.Tensor

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        return scale * (self.value.to(weight.device) - weight)

    def fits(self, shape: torch.Size) -> bool:
        return self.value.shape == shape


@dataclass(frozen=True)
class Decomposed:
    """DoRA: the changed weight is brought to trained magnitudes, one an output (or an input)."""

    direction: Update
    magnitude: torch.Tensor

    def delta(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        changed = weight + self.direction.delta(weight, scale)
        axis = self._axis(weight.shape)
        others = [dim for dim in range(weight.ndim) if dim != axis]
        shape = [-1 if dim == axis else 1 for dim in range(weight.ndim)]
        norms = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
        return changed * (self.magnitude.to(weight.device).reshape(shape) / norms) - weight

    def fits(self, shape: torch.Size) -> bool:
        return self.direction.fits(shape) and self.magnitude.numel() == shape[self._axis(shape)]

    def _axis(self, shape: torch.Size) -> int:
        by_input = self.magnitude.numel() != shape[0] or (self.magnitude.ndim > 1 and len(self.magnitude) == 1)
        return 1 if by_input else 0
