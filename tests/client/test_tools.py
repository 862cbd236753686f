"""The agent tools: their own protocol, and in a real agent of AIMU where it is installed."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import soundfile as sf

from acestep_like.client.events import StreamChunk
from acestep_like.errors import InputError
from acestep_like.tools import builtin

PROMPT = {"prompt": "a beat"}


def test_both_kinds_say_what_they_are_in_their_attributes(sine):
    for tool, streams in ((builtin.make_audio_tool(sine), True), (builtin.make_audio_file_tool(sine), False)):
        assert tool.__name__ == tool.__tool_spec__["function"]["name"] == "generate_audio"
        assert tool.__tool_is_streaming__ is streams is inspect.isgeneratorfunction(tool)
        assert not tool.__tool_is_async__
        assert set(tool.schema["parameters"]["properties"]) == set(inspect.signature(tool).parameters)


def test_the_schemas_of_chat_apis_hold_the_same_words(sine):
    tool = builtin.make_audio_tool(sine, duration_s=0.5)
    ours = tool.schema
    assert builtin.openai_tool(tool) == {"type": "function", "function": ours}
    anthropic = builtin.anthropic_tool(tool)
    assert anthropic["input_schema"] == ours["parameters"] and anthropic["description"] == ours["description"]
    assert list(ours["parameters"]["properties"]) == ["prompt"]  # the length is fixed
    assert "Returns the path" in ours["description"] and "`" not in ours["description"]


def test_the_plain_tool_returns_the_path_and_the_model_may_choose_the_length(sine):
    assert sf.info(builtin.make_audio_file_tool(sine, num_inference_steps=1)("a beat")).frames == 8000
    assert sf.info(builtin.make_audio_file_tool(sine)("a beat", duration_s=0.5)).frames == 4000
    assert sf.info(builtin.make_audio_file_tool(sine, duration_s=0.25)("a beat", duration_s=0.5)).frames == 2000
    with pytest.raises(InputError, match="duration_s"):
        builtin.make_audio_file_tool(sine)("a beat", duration_s=-1)


def test_chunks_answer_what_a_loop_over_many_kinds_asks(sine):
    chunk: StreamChunk = next(builtin.make_audio_tool(sine)("a beat"))
    asked = ("text", "tool_call", "continuing", "inbox", "image_progress", "speech_progress", "done")
    assert chunk.is_audio_progress() and not any(getattr(chunk, f"is_{kind}")() for kind in asked)
    phase, content, agent, iteration = chunk
    assert (phase, agent, iteration) == ("audio_generating", None, 0) and content["step"] == 1


def scripted_model(aimu):
    """A chat model that calls the tool once and then says what the tool answered."""
    from aimu.models import StreamChunk as TheirChunk
    from aimu.models import StreamingContentType
    from aimu.models.base import BaseModelClient

    class Scripted(BaseModelClient):
        def __init__(self):
            model = type("M", (), {"supports_tools": True, "supports_vision": False, "value": "scripted"})()
            super().__init__(model)
            self.advertised = None

        def _update_generate_kwargs(self, generate_kwargs=None):
            return generate_kwargs or {}

        def _generate(self, prompt, generate_kwargs=None, stream=False, **_):
            raise NotImplementedError

        def _chat(self, user_message=None, generate_kwargs=None, use_tools=True, stream=False, **_):
            if user_message is not None:
                self._append_user_turn(user_message)
            if not any(message["role"] == "tool" for message in self.messages):
                self.advertised = [tool.__tool_spec__ for tool in self.tools]
                call = {"type": "function", "function": {"name": "generate_audio", "arguments": PROMPT}, "id": "1"}
                self._append_message({"role": "assistant", "content": "", "tool_calls": [call]})
                return iter(()) if stream else ""
            path = next(message["content"] for message in self.messages if message["role"] == "tool")
            self._append_message({"role": "assistant", "content": f"It is in {path}"})
            text = f"It is in {path}"
            return iter([TheirChunk(StreamingContentType.GENERATING, text)]) if stream else text

    return Scripted()


@pytest.fixture
def aimu():
    return pytest.importorskip("aimu", reason="pip install aimu")


def test_in_a_real_agent_progress_streams_and_the_model_gets_the_path(sine, aimu):
    from aimu.agents import Agent

    model = scripted_model(aimu)
    agent = Agent(model, tools=[builtin.make_audio_tool(sine, num_inference_steps=2)])
    chunks = list(agent.run("compose a beat", stream=True))
    steps = [chunk.content for chunk in chunks if chunk.is_audio_progress()]
    assert [(c["step"], c["final"]) for c in steps] == [(1, False), (2, False), (2, True)]
    path = steps[-1]["result"]
    assert Path(path).is_file()
    assert "".join(chunk.content for chunk in chunks if chunk.is_text()) == f"It is in {path}"
    assert model.advertised[0]["function"]["parameters"]["required"] == ["prompt"]


def test_in_a_real_agent_that_does_not_stream_the_plain_tool_answers_the_path(sine, aimu):
    from aimu.agents import Agent

    answer = Agent(scripted_model(aimu), tools=[builtin.make_audio_file_tool(sine)]).run("compose a beat")
    assert Path(answer.removeprefix("It is in ")).is_file()


def test_their_decorator_takes_our_functions_too(sine, aimu):
    from aimu.tools import tool

    spec = tool(builtin.make_audio_tool(sine)).__tool_spec__["function"]
    assert spec["name"] == "generate_audio" and spec["parameters"]["required"] == ["prompt"]
    assert spec["description"].startswith("Make music")
