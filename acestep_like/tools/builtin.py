"""Audio generation as a tool of a chat model: a plain function, its JSON schema, and no agent framework."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from acestep_like.client.client import AudioClient
from acestep_like.client.events import StreamChunk

SCHEMA: dict[str, Any] = {
    "name": "generate_audio",
    "description": "Make music or a sound from a description, save it as a WAV file and return the file's path.",
    "parameters": {
        "type": "object",
        "properties": {
            "prompt": {
                "type": "string",
                "description": "What it sounds like: genre, mood, instruments, tempo, or what makes the sound.",
            }
        },
        "required": ["prompt"],
        "additionalProperties": False,
    },
}
"""The tool as chat APIs describe functions (JSON Schema)."""

Tool = Callable[[str], Generator[StreamChunk, None, str]]


def make_audio_tool(
    client: AudioClient, *, duration_s: float | None = None, num_inference_steps: int | None = None
) -> Tool:
    """A tool of one client. Its progress chunks are what `AudioClient.generate(stream=True)` yields; the generator's
    value (`yield from`, `StopIteration.value`) is the path of the file.

    Args:
        client: what makes the audio; a tool for each, where agents want different models.
        duration_s: fixed length of the clips.
        num_inference_steps: fixed steps; ignored by MusicGen, which has none.

    Raises:
        InputError: a length or number of steps that the client's model does not take.
    """
    fixed = {"duration_s": duration_s, "num_inference_steps": num_inference_steps}
    client.request("anything", **fixed)

    def generate_audio(prompt: str) -> Generator[StreamChunk, None, str]:
        return (yield from _saved(client, prompt, fixed))

    generate_audio.__doc__ = SCHEMA["description"]
    generate_audio.schema = SCHEMA  # type: ignore[attr-defined]
    return generate_audio


def _saved(client: AudioClient, prompt: str, fixed: dict[str, Any]) -> Generator[StreamChunk, None, str]:
    path = ""
    with closing(client.generate(prompt, format="path", stream=True, **fixed)) as chunks:
        for chunk in chunks:
            path = str(chunk.content["result"] or path)
            yield chunk
    return path


_lock = threading.Lock()
_shared: list[AudioClient] = []


def generate_audio(prompt: str) -> Generator[StreamChunk, None, str]:
    """The tool of the model that the environment names (`models.MODEL_VARIABLE`), else of the embedded one.

    The client is made by the first call and kept; a call that fails to make it leaves the next one to try again.
    """
    with _lock:
        if not _shared:
            _shared.append(AudioClient())
    return (yield from _saved(_shared[0], prompt, {}))


generate_audio.schema = SCHEMA  # type: ignore[attr-defined]
