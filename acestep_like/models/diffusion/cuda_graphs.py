"""One evaluation of the DiT as a CUDA graph: its hundreds of kernels are launched by one call."""

from __future__ import annotations

from collections.abc import Callable

import torch

Evaluate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x [B, T, C], time [B]) -> velocity [B, T, C]."""


class GraphedEvaluation:
    """Runs a function of (x, time) eagerly once, records it at the second call, and replays it from then on.

    The first run fills whatever the function caches; everything else it reads must stay at its place in memory.
    Shapes and dtypes must not change.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._ran = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._x = self._time = self._velocity = torch.empty(0, dtype=torch.float32)

    def __call__(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The velocity; a tensor of its own that later calls leave alone."""
        if not self._ran:
            self._ran = True
            return self._evaluate(x, time)
        if self._graph is None:
            self._x, self._time = x.clone(), time.clone()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._velocity = self._evaluate(self._x, self._time)
        else:
            self._x.copy_(x)
            self._time.copy_(time)
        self._graph.replay()
        return self._velocity.clone()
