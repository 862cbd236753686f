"""Loading weights without harm to the rest of the process: one load at a time, and no global random generator touched.

transformers, diffusers and accelerate build networks with names of torch replaced for the whole process, and resolve
their own modules on first use without a lock. Two loads at once put the replacements back in the wrong order, and every
later load of the process fails.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from acestep_like.types.progress import CancelToken

_PATIENCE_S = 0.05
_lock = threading.RLock()


@contextmanager
def exclusive_load(cancel: CancelToken | None = None) -> Iterator[None]:
    """The right to load: no other thread of this process is inside this block. Imports of the big libraries belong
    inside it too. A thread may enter it again. Verbosity and progress bars of these libraries are put back at the end.

    Raises:
        Cancelled: `cancel` was set while another load was waited for.
    """
    while not _lock.acquire(timeout=_PATIENCE_S):
        if cancel is not None:
            cancel.raise_if_cancelled()
    try:
        before = [(library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in _libraries()]
        try:
            yield
        finally:
            for library, verbosity, bars in before:
                library.set_verbosity(verbosity)
                (library.enable_progress_bar if bars else library.disable_progress_bar)()
    finally:
        _lock.release()


def _libraries() -> list[Any]:
    """The logging modules of the big libraries that are imported."""
    return [import_module(f"{name}.utils.logging") for name in ("diffusers", "transformers") if name in sys.modules]


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bars inside the block, and no messages below errors. Used inside `exclusive_load`, after imports."""
    with exclusive_load():
        for library in _libraries():
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield


class PrivateRandomness(TorchDispatchMode):
    """Random numbers that torch draws in this thread inside the block come from generators of its own.

    Networks fill their weights with random numbers before they are given the real ones. Those numbers are thrown away,
    but drawn from torch's global generator they would shift what other threads draw.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        values = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded in func.tags and values.get("generator") is None:
            seeded = _with_generator(func)
            device = _device(args, values)
            if seeded is not None and device.type != "meta":
                func, values["generator"] = seeded, self._generator(device)
        return func(*args, **values)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(0)
        return self._generators[device]


_SEEDED_OVERLOADS = {"default": "generator", "low": "low_generator"}


def _with_generator(func: Any) -> Any:
    """The operator itself where it takes a generator, else its overload that does; None where there is none."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    return getattr(func.overloadpacket, _SEEDED_OVERLOADS.get(func._overloadname, ""), None)


def _device(args: Sequence[Any], values: Mapping[str, Any]) -> torch.device:
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    return tensors[0].device if tensors else torch.device(values.get("device") or "cpu")
