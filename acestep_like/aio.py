"""The audio client for asyncio: the same calls, with the event loop free while a model works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from acestep_like.client import client as sync
from acestep_like.client.clip import Clip
from acestep_like.client.events import ClipReady, Event, EventStream, chunks
from acestep_like.errors import InputError
from acestep_like.models.catalog import AudioModel

_T = TypeVar("_T")


def audio_client(client: sync.AudioClient | AudioModel | None = None, **options: Any) -> AsyncAudioClient:
    """An async client around a client, or around a new one of a model; see `client.AudioClient`.

    Raises:
        InputError: as `AudioClient`, or options beside a client, which has its own.
    """
    if isinstance(client, sync.AudioClient) and options:
        name, value = next(iter(options.items()))
        raise InputError(name, value, "no options beside a client", "Give them to the client.")
    made = client if isinstance(client, sync.AudioClient) else sync.AudioClient(client, **options)
    return AsyncAudioClient(made)


async def generate_audio(
    prompt: str, *, model: sync.AudioClient | AudioModel | None = None, format: str = "numpy", **values: Any
) -> Any:
    """`client.generate_audio` without blocking; `model` may be a client."""
    if isinstance(model, sync.AudioClient):
        return await AsyncAudioClient(model).generate(prompt, format=format, **values)
    options = {name: values.pop(name) for name in sync.OPTIONS if name in values}
    return await audio_client(model, **options).generate(prompt, format=format, **values)


class AsyncAudioClient:
    """Wraps a client. Calls of one model take turns; a call that is cancelled stops the work within one step.

    Args:
        client: whose weights, options and model are used.
    """

    def __init__(self, client: sync.AudioClient) -> None:
        self.client = client

    async def clips(self, prompt: str, **fields: Any) -> list[Clip]:
        """`AudioClient.clips` (without its callback)."""
        return await _clips(self.client.events(prompt, **fields))

    def events(self, prompt: str, **fields: Any) -> AsyncIterator[Event]:
        """`AudioClient.events`, to be read with `async for`."""
        events = self.client.events(prompt, **fields)
        return _asynchronous(events, events)

    async def generate(self, prompt: str, *, stream: bool = False, **values: Any) -> Any:
        """`AudioClient.generate`; with `stream=True` an iterator for `async for`."""
        form = {name: values.pop(name) for name in ("format", "output_dir", "audio_format") if name in values}
        request = self.client.request(prompt, **values)
        encode = await asyncio.to_thread(lambda: sync.encoder(**form))
        events = self.client.run(request)
        if stream:
            return _asynchronous(chunks(events, encode, request.duration_s, self.client.family.steps_count), events)
        clips = await _clips(events)
        results = await asyncio.to_thread(lambda: [encode(clip) for clip in clips])
        return results[0] if request.num_audio == 1 else results


async def _clips(events: EventStream) -> list[Clip]:
    return [event.clip async for event in _asynchronous(events, events) if isinstance(event, ClipReady)]


async def _asynchronous(values: Iterator[_T], work: EventStream) -> AsyncIterator[_T]:
    """The values of an iterator over some work, each waited for in a thread. At the end, however that comes, the work
    is stopped."""
    end = object()
    waiting: asyncio.Future[Any] | None = None
    try:
        while True:
            waiting = asyncio.ensure_future(asyncio.to_thread(next, values, end))
            value = await asyncio.shield(waiting)
            if value is end:
                return
            yield value
    finally:
        # What is being waited for comes first, a step at most: two threads would take events otherwise.
        work.cancel()
        if waiting is not None and not waiting.done():
            await asyncio.wait([waiting])
        await asyncio.to_thread(work.close)
