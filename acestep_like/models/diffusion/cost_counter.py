"""What a computation costs, counted by running the real code on tensors without memory (device "meta").

Nothing is estimated here: every operation of the networks passes by with its true shapes, so the counts follow the
code when it changes. Seconds and resident bytes are made of them in `inference/estimate.py` and in the benchmarks.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from acestep_like.models.device import synchronize


@dataclass(frozen=True)
class Cost:
    """Counts of a computation.

    Attributes:
        multiply_adds: of matrix products, convolutions and attention.
        product_bytes: what these read and write, weights included.
        transformed: butterflies of Fourier transforms, `n / 2 * log2 n` for each of length n.
        moved_bytes: read and written by everything else.
        calls: operations that do work (views do none).
        peak_bytes: most memory alive at once, inputs that existed before excluded.
    """

    multiply_adds: float = 0.0
    product_bytes: float = 0.0
    transformed: float = 0.0
    moved_bytes: float = 0.0
    calls: float = 0.0
    peak_bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """One after the other: counts add up, the higher peak counts."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        return Cost(**sums, peak_bytes=max(self.peak_bytes, other.peak_bytes))

    def __mul__(self, times: float) -> Cost:
        """Repeated: the peak stays."""
        return Cost(**{name: getattr(self, name) * times for name in _SUMMED}, peak_bytes=self.peak_bytes)

    def seconds(self, rates: Rates) -> float:
        """How long it takes at measured rates, one kind of work after the other."""
        return (
            max(self.multiply_adds / rates.multiply_adds, self.product_bytes / rates.copied_bytes)
            + self.transformed / rates.transformed
            + self.moved_bytes / rates.moved_bytes
            + self.calls / rates.calls
        )


_SUMMED = ("multiply_adds", "product_bytes", "transformed", "moved_bytes", "calls")


@dataclass(frozen=True)
class Rates:
    """What a device does in a second, in the units of `Cost`; `copied_bytes` is for memory beyond every cache."""

    multiply_adds: float
    copied_bytes: float
    transformed: float
    moved_bytes: float
    calls: float


class counting(TorchDispatchMode):  # noqa: N801 - used as `with counting() as count`
    """Counts every operation inside the block; `cost` is the sum so far.

    Use it under `torch.no_grad`, not in inference mode, where composite operations are not taken apart. Fused attention
    is counted as what it computes: its score matrix is never held (torch's kernels on CPU and GPU).
    """

    def __init__(self) -> None:
        super().__init__()
        self._sums = dict.fromkeys(_SUMMED, 0.0)
        self._alive: dict[int, float] = {}
        self._held = self._peak = 0.0
        self._attention = _FusedAttention(self)

    @property
    def cost(self) -> Cost:
        """The counts so far."""
        return Cost(**self._sums, peak_bytes=self._peak)

    def __enter__(self) -> counting:
        super().__enter__()
        self._attention.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._attention.__exit__(*details)
        super().__exit__(*details)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [value for value in _flat((args, kwargs)) if isinstance(value, torch.Tensor)]
        made = [value for value in _flat(out) if isinstance(value, torch.Tensor)]
        storages = {value.untyped_storage()._cdata for value in given}
        fresh = [value for value in made if value.untyped_storage()._cdata not in storages]
        for value in fresh:
            self._hold(value)
        in_place = func._schema.is_mutable
        if not fresh and not in_place:
            return out  # a view
        self._sums["calls"] += 1
        packet = func._overloadpacket
        if packet in flop_registry:
            self._sums["multiply_adds"] += flop_registry[packet](*args, **kwargs, out_val=out) / 2
            self._sums["product_bytes"] += _bytes(given) + _bytes(fresh)
        elif "_fft_" in str(packet):
            self._sums["transformed"] += _butterflies([*given, *made])
        else:
            self._sums["moved_bytes"] += _bytes(given) + _bytes(fresh)
        return out

    def attention(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Count fused attention of [B, heads, L, D] and answer its (empty) output."""
        batch, heads, length, width = query.shape
        self._sums["multiply_adds"] += batch * heads * length * key.shape[-2] * (width + value.shape[-1])
        return query.new_empty(batch, heads, length, value.shape[-1])

    def _hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, float(storage.nbytes())
        if key in self._alive:
            return
        self._alive[key] = size
        self._held += size
        self._peak = max(self._peak, self._held)
        weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self._held -= self._alive.pop(key, 0.0)


class _FusedAttention(TorchFunctionMode):
    """Keeps `scaled_dot_product_attention` whole; on tensors without memory torch would take it apart."""

    def __init__(self, counter: counting) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            query, key, value = (*args, *((kwargs or {}).get(name) for name in ("query", "key", "value")[len(args) :]))[
                :3
            ]
            return self._counter.attention(query, key, value)
        return func(*args, **(kwargs or {}))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for entry in value.values() for leaf in _flat(entry)]
    if isinstance(value, (list, tuple)):
        return [leaf for entry in value for leaf in _flat(entry)]
    return [value]


def _bytes(tensors: list[torch.Tensor]) -> float:
    return float(sum(value.numel() * value.element_size() for value in tensors))


def _butterflies(tensors: list[torch.Tensor]) -> float:
    """Of a transform over the last axis, from its longer side (the real one of a real transform)."""
    longest = max(tensors, key=lambda value: value.shape[-1])
    length = longest.shape[-1]
    return longest.numel() / 2 * math.log2(max(length, 2))


@lru_cache(maxsize=8)
def measured_rates(device: torch.device, dtype: torch.dtype = torch.float32) -> Rates:
    """Rates of this machine, measured once a process: no weights are needed.

    Every kind of work is timed on many short examples of what the networks do, each on memory of its own as in a
    network, where nothing is in the cache yet. The lower quartile counts: busy neighbours lengthen some, not all.
    """
    size, pieces = (4096, 6) if device.type != "cpu" else (512, 24)

    random = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> list[torch.Tensor]:
        return [torch.randn(*shape, generator=random, device=device, dtype=dtype) for _ in range(pieces)]

    states, weights, gate = noise(size, size), noise(size, size), noise(1, size)[0]
    waves = [row.float().reshape(-1, size // 2) for row in states]
    buffers = [torch.empty(size * size * 4, dtype=torch.uint8, device=device) for _ in range(pieces)]
    thin, thin_gate = noise(1, 8), noise(1, 8)[0]
    with torch.no_grad():
        product = typical_seconds([partial(torch.mm, x, w) for x, w in zip(states, weights, strict=True)], device)
        copy = typical_seconds([buffer.clone for buffer in buffers], device)
        transform = typical_seconds([partial(_there_and_back, x) for x in waves], device)
        shaped = typical_seconds([partial(_modulated, x, gate) for x in states], device)
        call = typical_seconds([partial(_modulated, x, thin_gate) for x in thin], device)
        with counting() as count:
            _modulated(states[0].to("meta"), gate.to("meta"))
    return Rates(
        multiply_adds=size**3 / product,
        copied_bytes=2 * buffers[0].numel() / copy,
        transformed=waves[0].numel() * math.log2(waves[0].shape[-1]) / transform,
        moved_bytes=count.cost.moved_bytes / shaped,
        calls=count.cost.calls / call,
    )


def _there_and_back(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(torch.fft.rfft(x))


def _modulated(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """What a block does between its matrix products: normalise, modulate, gate, add."""
    normal = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return x + F.silu(normal * (1 + gate) + gate) * normal


def typical_seconds(calls: list[Callable[[], Any]], device: torch.device) -> float:
    """Lower quartile of the seconds that these calls take, after a round that warms up."""
    # With one thread, processor time is the wall clock of a quiet machine.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    seconds = []
    for call in [*calls, *calls]:
        synchronize(device)
        start = clock()
        call()
        synchronize(device)
        seconds.append(clock() - start)
    return sorted(seconds[len(calls) :])[len(calls) // 4]
