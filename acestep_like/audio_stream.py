"""Work watched while it runs: events from a worker thread, and the chunks that agents and notebooks read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import Any

from acestep_like.clip import Clip
from acestep_like.progress import CancelToken


@dataclass(frozen=True)
class StepDone:
    """Step `step` of `total` (counted from 1) of the clip at place `index` is done."""

    index: int
    step: int
    total: int


@dataclass(frozen=True)
class ClipReady:
    """The clip at place `index` is there."""

    index: int
    clip: Clip


Event = StepDone | ClipReady


def in_background(work: Callable[[Callable[[Event], None], CancelToken], None]) -> Iterator[Event]:
    """The events that `work(tell, cancel)` tells, as they come from its own thread.

    What the work raises is raised here. A consumer that stops early, or closes the iterator, cancels the work and waits
    for its end: no thread is left behind.
    """
    told: SimpleQueue[Event | None] = SimpleQueue()
    cancel = CancelToken()
    with ThreadPoolExecutor(1, thread_name_prefix="audio") as pool:
        future = pool.submit(work, told.put, cancel)
        future.add_done_callback(lambda _: told.put(None))
        try:
            while (event := told.get()) is not None:
                yield event
            future.result()
        finally:
            cancel.cancel()


class StreamingContentType(str, Enum):
    """What a chunk is about."""

    AUDIO_GENERATING = "audio_generating"


@dataclass(frozen=True)
class StreamChunk:
    """Progress as a loop over many kinds of content reads it.

    Attributes:
        phase: `StreamingContentType.AUDIO_GENERATING`.
        content: `step` (from 1), `total_steps`, `final`, `result` (the encoded clip on the last chunk of each clip,
            else None) and `duration_s` (asked).
        agent, iteration: for callers that run agents.
    """

    phase: StreamingContentType
    content: dict[str, Any]
    agent: str | None = None
    iteration: int = 0

    def is_audio_progress(self) -> bool:
        """Whether this tells of an audio in the making."""
        return self.phase is StreamingContentType.AUDIO_GENERATING


def chunks(
    events: Iterator[Event], encode: Callable[[Clip], Any], duration_s: float | None, steps: bool
) -> Iterator[StreamChunk]:
    """Events as chunks: one a step where the family denoises in steps, and a final one a clip."""
    last = 1
    for event in events:
        if isinstance(event, StepDone):
            last = event.total if steps else 1
            if steps:
                yield _chunk(event.step, event.total, None, duration_s, final=False)
        else:
            yield _chunk(last, last, encode(event.clip), duration_s, final=True)


def _chunk(step: int, total: int, result: Any, duration_s: float | None, *, final: bool) -> StreamChunk:
    content = {"step": step, "total_steps": total, "final": final, "result": result, "duration_s": duration_s}
    return StreamChunk(StreamingContentType.AUDIO_GENERATING, content)
