"""Audio generation as a tool of a chat model: plain functions, their JSON schemas, and no agent framework.

Functions carry what AIMU's `@tool` decorator would put on them (`__tool_spec__` and its kin), so that its agents take
them as they are; `openai_tool` and `anthropic_tool` describe them to those chat APIs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, TypeVar

from acestep_like.client.client import AudioClient
from acestep_like.client.events import StreamChunk

NAME = "generate_audio"
DESCRIPTION = (
    "Make music or a sound effect from a description in words and save it as a WAV file. Call this whenever the user "
    "asks for music, a song, a beat, a jingle or a sound. Returns the path of the file; tell the user where it is."
)
_PROMPT = {
    "type": "string",
    "description": (
        "What the audio sounds like, in English: genre, mood, instruments, tempo, or what makes the sound. "
        "Example: 'calm lo-fi hip hop with soft piano and vinyl crackle'."
    ),
}
_DURATION = {"type": "number", "description": "Length in seconds; leave it out for the usual length of about 10."}

ToolStream = Generator[StreamChunk, None, str]
Tool = Callable[..., ToolStream]
"""A tool that streams: called, it yields progress chunks, and its return value is the path of the file."""
PlainTool = Callable[..., str]
"""A tool that answers the path of the file when it is done."""


def schema(*, fixed_duration: bool = False) -> dict[str, Any]:
    """The tool as a JSON schema: name, description, parameters."""
    properties = {"prompt": _PROMPT} if fixed_duration else {"prompt": _PROMPT, "duration_s": _DURATION}
    parameters = {
        "type": "object",
        "properties": properties,
        "required": ["prompt"],
        "additionalProperties": False,
    }
    return {"name": NAME, "description": DESCRIPTION, "parameters": parameters}


SCHEMA: dict[str, Any] = schema()
"""That of `generate_audio`."""


def openai_tool(tool: Callable[..., Any]) -> dict[str, Any]:
    """A tool of this module for `tools=` of OpenAI's chat completions and of the APIs that follow it."""
    return {"type": "function", "function": tool.schema}  # type: ignore[attr-defined]


def anthropic_tool(tool: Callable[..., Any]) -> dict[str, Any]:
    """A tool of this module for `tools=` of Anthropic's messages."""
    described: dict[str, Any] = tool.schema  # type: ignore[attr-defined]
    return {
        "name": described["name"],
        "description": described["description"],
        "input_schema": described["parameters"],
    }


def make_audio_tool(
    client: AudioClient, *, duration_s: float | None = None, num_inference_steps: int | None = None
) -> Tool:
    """A streaming tool of one client. Its progress chunks are what `AudioClient.generate(stream=True)` yields; the
    generator's value (`yield from`, `StopIteration.value`) is the path of the file.

    AIMU's agents run it with `agent.run(..., stream=True)`; for `agent.run(...)` take `make_audio_file_tool`.

    Args:
        client: what makes the audio; a tool for each, where agents want different models.
        duration_s: fixed length of the clips; without it the chat model may choose.
        num_inference_steps: fixed steps; ignored by MusicGen, which has none.

    Raises:
        InputError: a length or number of steps that the client's model does not take.
    """
    fixed = _checked(client, duration_s, num_inference_steps)

    def generate_audio(prompt: str, duration_s: float | None = None) -> ToolStream:
        return (yield from _saved(client, prompt, duration_s, fixed))

    return _described(generate_audio, streaming=True, fixed_duration=duration_s is not None)


def make_audio_file_tool(
    client: AudioClient, *, duration_s: float | None = None, num_inference_steps: int | None = None
) -> PlainTool:
    """The same as a plain function that returns the path: for agents that do not stream. Arguments and errors as
    `make_audio_tool`."""
    fixed = _checked(client, duration_s, num_inference_steps)

    def generate_audio(prompt: str, duration_s: float | None = None) -> str:
        return _finished(_saved(client, prompt, duration_s, fixed))

    return _described(generate_audio, streaming=False, fixed_duration=duration_s is not None)


def _checked(client: AudioClient, duration_s: float | None, num_inference_steps: int | None) -> dict[str, Any]:
    fixed = {"duration_s": duration_s, "num_inference_steps": num_inference_steps}
    client.request("anything", **fixed)
    return fixed


def _saved(client: AudioClient, prompt: str, duration_s: float | None, fixed: dict[str, Any]) -> ToolStream:
    values = fixed if fixed.get("duration_s") is not None or duration_s is None else {**fixed, "duration_s": duration_s}
    path = ""
    with closing(client.generate(prompt, format="path", stream=True, **values)) as chunks:
        for chunk in chunks:
            path = str(chunk.content["result"] or path)
            yield chunk
    return path


def _finished(stream: ToolStream) -> str:
    """Run a streaming tool to its end."""
    with closing(stream):
        while True:
            try:
                next(stream)
            except StopIteration as end:
                return str(end.value)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _described(tool: _Function, *, streaming: bool, fixed_duration: bool = False) -> _Function:
    """The function with its schema, for any caller and as AIMU's decorator would leave it."""
    described = schema(fixed_duration=fixed_duration)
    facts = {
        "__name__": NAME,
        "__doc__": DESCRIPTION,
        "schema": described,
        "__tool_spec__": {"type": "function", "function": described},
        "__tool_injected__": [],
        "__tool_required__": described["parameters"]["required"],
        "__tool_is_async__": False,
        "__tool_is_streaming__": streaming,
    }
    for name, value in facts.items():
        setattr(tool, name, value)
    return tool


_lock = threading.Lock()
_shared: list[AudioClient] = []


def _shared_client() -> AudioClient:
    """The client of the model that the environment names. It is made by the first call and kept; a call that fails to
    make it leaves the next one to try again."""
    with _lock:
        if not _shared:
            _shared.append(AudioClient())
        return _shared[0]


def _generate_audio(prompt: str, duration_s: float | None = None) -> ToolStream:
    return (yield from _saved(_shared_client(), prompt, duration_s, {}))


def _generate_audio_file(prompt: str, duration_s: float | None = None) -> str:
    return _finished(_saved(_shared_client(), prompt, duration_s, {}))


generate_audio: Tool = _described(_generate_audio, streaming=True)
"""The streaming tool of the model that the environment names (`models.MODEL_VARIABLE`), else of the embedded one."""
generate_audio_file: PlainTool = _described(_generate_audio_file, streaming=False)
"""The same as a plain function that returns the path."""
