"""Progress, per-step events and cancelling. Standard library only.

Work that takes long is a loop that reports real counts; whoever wants to watch it gives a callback, whoever wants
to stop it sets a token. Nothing here estimates.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from acestep_like.errors import Cancelled, InputError


class CancelToken:
    """A flag that another thread may raise; the loops look at it before every step."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop. Work that has finished is not affected."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` when `cancel()` was called."""
        if self.cancelled:
            raise Cancelled("Cancelled by the caller; nothing was written.")


_PATIENCE_S = 0.05
"""How often somebody who waits for a turn looks whether it was cancelled."""


@contextmanager
def taking_turns(lock: threading.Lock | threading.RLock, cancel: CancelToken | None = None) -> Iterator[None]:
    """Hold a lock inside the block; who waits for it can be cancelled.

    Raises:
        Cancelled: `cancel` was set while the lock was another's.
    """
    while not lock.acquire(timeout=_PATIENCE_S):
        if cancel is not None:
            cancel.raise_if_cancelled()
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class StepEvent:
    """One finished step of the sampler.

    Attributes:
        step: steps finished so far, 1 to `total`.
        total: steps of the whole run, over all items that are not sampled together.
        t: the time of the flow at which the step's velocity was taken, 1 (noise) to 0 (music).
        x0_estimate: the clean latents as the step estimates them, tensor [B, T, C].
        decode: turns such latents into audio [B, 2, N] (float32, CPU) when the caller wants to listen in.
        items: places, in the batch that was asked for, of the B items shown. A CPU samples item after item.
    """

    step: int
    total: int
    t: float
    x0_estimate: Any
    decode: Callable[[Any], Any] | None = field(default=None, repr=False, compare=False)
    items: tuple[int, ...] = ()

    def preview(self) -> Any:
        """The audio of the clean estimate so far, tensor [B, 2, N]; None when the sampler offers no decoder."""
        return None if self.decode is None else self.decode(self.x0_estimate)


Observer = Callable[[StepEvent], None]
"""Called after every step of the sampler. An exception raised inside stops the run."""


def guarded(observer: Observer | None) -> Observer | None:
    """The same observer; what it raises becomes `Cancelled`, with the exception as its cause."""
    if observer is None:
        return None
    if not callable(observer):
        raise InputError("on_step", observer, "a function of a StepEvent, or None")

    def observe(event: StepEvent) -> None:
        with stop_on_error("The step callback"):
            observer(event)

    return observe


def _caller(callback: Callable[..., object]) -> Callable[[float, str], object]:
    """Call `callback` as `(value, desc=text)`, or `(value, text)` or `(value)` where that is all it takes."""
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return lambda value, text: callback(value, desc=text)
    if any(p.name == "desc" or p.kind is p.VAR_KEYWORD for p in parameters):
        return lambda value, text: callback(value, desc=text)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return lambda value, text: callback(value, text)
    return lambda value, text: callback(value)


class Progress:
    """Reports to a user's `progress(value, desc=...)` callback and never goes backwards.

    An exception that the callback raises becomes `Cancelled`: the run stops and leaves nothing behind.
    """

    def __init__(self, callback: Callable[..., object] | None) -> None:
        if callback is not None and not callable(callback):
            raise InputError("progress", callback, "a function of a value and a text, or None")
        self._call = None if callback is None else _caller(callback)
        self._value = 0.0

    def __call__(self, value: float, desc: str) -> None:
        self._value = max(self._value, value)
        if self._call is not None:
            with stop_on_error("The progress callback"):
                self._call(self._value, desc)

    def span(self, start: float, end: float, done: int, total: int, desc: str) -> None:
        """Report `done` of `total` within the part `start` to `end` of the whole."""
        self(start + (end - start) * done / max(total, 1), desc)


class stop_on_error:  # noqa: N801 - reads as a statement
    """Turn an exception raised by the caller's own code into `Cancelled`, keeping it as the cause."""

    def __init__(self, who: str) -> None:
        self._who = who

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, Cancelled):
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise Cancelled(f"{self._who} stopped the run ({reason}); nothing was written.") from error
