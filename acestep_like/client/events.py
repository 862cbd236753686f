"""Work watched while it runs: events from a worker thread, and the chunks that agents and notebooks read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import Any, NamedTuple

from acestep_like.client.clip import Clip
from acestep_like.types.progress import CancelToken


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


class EventStream(Iterator[Event]):
    """The events that `work(send, cancel)` sends, as they come from its own thread, which starts with the first one.

    What the work raises is raised here. Closing it, or letting go of it, cancels the work and waits for its end: no
    thread is left behind. `cancel` may be called from any thread, also while another one waits for an event.
    """

    def __init__(self, work: Callable[[Callable[[Event], None], CancelToken], None]) -> None:
        self._work = work
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._token = CancelToken()
        self._pool: ThreadPoolExecutor | None = None
        self._future: Future[None] | None = None
        self._ended = False

    def __next__(self) -> Event:
        if self._ended:
            raise StopIteration
        if self._future is None:
            events = self._events
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="audio")
            self._future = self._pool.submit(self._work, events.put, self._token)
            self._future.add_done_callback(lambda _: events.put(None))
        event = self._events.get()
        if event is not None:
            return event
        future = self._future
        self.close()
        future.result()
        raise StopIteration

    def cancel(self) -> None:
        """Ask the work to stop; the next event is what it raises then."""
        self._token.cancel()

    def close(self) -> None:
        """Stop the work and wait for its end."""
        self._ended = True
        self._token.cancel()
        if self._pool is not None:
            self._pool.shutdown()

    def __del__(self) -> None:
        self.close()


class StreamingContentType(str, Enum):
    """What a chunk is about; the others that agents send are AIMU's."""

    AUDIO_GENERATING = "audio_generating"


class StreamChunk(NamedTuple):
    """Progress as a loop over many kinds of content reads it: the shape of AIMU's chunks.

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
        """Whether this is about an audio in the making: always."""
        return self.phase is StreamingContentType.AUDIO_GENERATING

    def is_text(self) -> bool:
        """Whether this is another kind of chunk: never."""
        return False

    def is_tool_call(self) -> bool:
        """As `is_text`."""
        return False

    def is_continuing(self) -> bool:
        """As `is_text`."""
        return False

    def is_inbox(self) -> bool:
        """As `is_text`."""
        return False

    def is_image_progress(self) -> bool:
        """As `is_text`."""
        return False

    def is_speech_progress(self) -> bool:
        """As `is_text`."""
        return False

    def is_done(self) -> bool:
        """As `is_text`."""
        return False


def chunks(
    events: EventStream, encode: Callable[[Clip], Any], duration_s: float | None, steps: bool
) -> Iterator[StreamChunk]:
    """Events as chunks: one a step where the family denoises in steps, and a final one a clip."""
    last = 1
    try:
        for event in events:
            if isinstance(event, StepDone):
                last = event.total if steps else 1
                if steps:
                    yield _chunk(event.step, event.total, None, duration_s, final=False)
            else:
                yield _chunk(last, last, encode(event.clip), duration_s, final=True)
    finally:
        events.close()


def _chunk(step: int, total: int, result: Any, duration_s: float | None, *, final: bool) -> StreamChunk:
    content = {"step": step, "total_steps": total, "final": final, "result": result, "duration_s": duration_s}
    return StreamChunk(StreamingContentType.AUDIO_GENERATING, content)
