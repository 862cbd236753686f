"""The audio client for asyncio: the same calls, with the event loop free while a model works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from acestep_like.client import client as sync
from acestep_like.client.clip import Clip
from acestep_like.client.events import ClipReady, Event, EventStream, chunks
from acestep_like.client.output import encoder, finished_are_kept
from acestep_like.errors import InputError
from acestep_like.models.catalog import AudioModel, HuggingFaceAudioSpec

_T = TypeVar("_T")
_OUTPUT = ("format", "output_dir", "audio_format", "on_clipping")
"""Arguments of `generate` that say what form the result has."""


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

    def __repr__(self) -> str:
        return f"AsyncAudioClient({self.client!r})"

    @property
    def model(self) -> str:
        """`AudioClient.model`."""
        return self.client.model

    @property
    def spec(self) -> HuggingFaceAudioSpec:
        """`AudioClient.spec`."""
        return self.client.spec

    @property
    def model_kwargs(self) -> dict[str, Any]:
        """`AudioClient.model_kwargs`."""
        return self.client.model_kwargs

    async def clips(self, prompt: str, **fields: Any) -> list[Clip]:
        """`AudioClient.clips` (without its callback)."""
        return await _clips(self.client.events(prompt, **fields))

    def events(self, prompt: str, **fields: Any) -> AsyncGenerator[Event, None]:
        """`AudioClient.events`, to be read with `async for`."""
        events = self.client.events(prompt, **fields)
        return _asynchronous(events, events)

    async def generate(self, prompt: str, *, stream: bool = False, **fields: Any) -> Any:
        """`AudioClient.generate`; with `stream=True` an iterator for `async for`."""
        form = {name: fields.pop(name) for name in _OUTPUT if name in fields}
        request = self.client.request(prompt, **fields)
        encode = await asyncio.to_thread(lambda: encoder(**form))
        events = self.client.run(request)
        if stream:
            return _asynchronous(chunks(events, encode, request.duration_s, self.client.family.steps_count), events)
        values: list[Any] = []
        with finished_are_kept(values, request.num_audio):
            async with aclosing(_asynchronous(events, events)) as coming:
                async for event in coming:
                    if isinstance(event, ClipReady):
                        values.append(await asyncio.to_thread(encode, event.clip))  # noqa: PERF401 - those before a failure stay
        return values[0] if request.num_audio == 1 else values


async def _clips(events: EventStream) -> list[Clip]:
    return [event.clip async for event in _asynchronous(events, events) if isinstance(event, ClipReady)]


async def _asynchronous(values: Iterator[_T], work: EventStream) -> AsyncGenerator[_T, None]:
    """The values of an iterator over some work, each waited for in a thread. At the end, however that comes, the work
    is stopped."""
    end = object()
    waiting: asyncio.Future[Any] | None = None
    try:
        while True:
            waiting = asyncio.ensure_future(asyncio.to_thread(next, values, end))
            waiting.add_done_callback(asked)
            await asyncio.wait([waiting])  # which, cancelled, leaves the thread to its end
            value = waiting.result()
            if value is end:
                return
            yield value
    finally:
        # What is being waited for comes first, a step at most: two threads would take events otherwise.
        work.cancel()
        if waiting is not None:
            await asyncio.wait([waiting])
        await asyncio.to_thread(work.close)


def asked(work: asyncio.Future[Any]) -> None:
    """A callback for work whose end nobody may wait for: asyncio logs a traceback for errors that nobody asked for."""
    if not work.cancelled():
        work.exception()
