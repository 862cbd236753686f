"""The MCP server, driven by the client of the official package."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import soundfile as sf

pytest.importorskip("mcp", reason="pip install 'acestep-like[mcp]'")

from mcp import Client, StdioServerParameters

from acestep_like.client import client as client_module
from acestep_like.client import pool
from acestep_like.entrypoints.mcp import Workplace, build_server
from acestep_like.errors import InputError


@pytest.fixture
def workplace(few_steps, monkeypatch, tmp_path: Path) -> Workplace:
    from acestep_like.handler import AceStepHandler

    monkeypatch.setattr(client_module, "pool", pool.ModelPool())
    monkeypatch.setattr(AceStepHandler, "from_pretrained", lambda *_, **__: few_steps)
    return Workplace(tmp_path / "music", "mini", "cpu")


def call(workplace: Workplace, name: str, arguments: dict, on_progress=None):
    async def ask():
        async with Client(build_server(workplace)) as client:
            return await client.call_tool(name, arguments, progress_callback=on_progress)

    return asyncio.run(ask())


def words(result) -> str:
    return " ".join(part.text for part in result.content)


def test_the_tools_describe_themselves(workplace) -> None:
    async def ask():
        async with Client(build_server(workplace)) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(ask())}
    assert set(tools) == {"generate", "edit", "understand", "list_models"}
    assert tools["generate"].input_schema["required"] == ["prompt"] and "ctx" not in str(tools["generate"].input_schema)
    assert call(workplace, "list_models", {}).structured_content["models"][0] == "mini"


def test_generate_writes_files_and_notifies_progress(workplace) -> None:
    seen: list[tuple[float, float | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    result = call(workplace, "generate", {"prompt": "rock", "duration_s": 1.0, "seed": 3, "num_audio": 2}, on_progress)
    files = result.structured_content["files"]
    assert [file["seed"] for file in files] == [3, 4]
    assert all(sf.info(workplace.folder / file["file"]).frames == 48000 for file in files)
    assert seen and [step for step, _ in seen] == list(range(1, int(seen[-1][1] or 0) + 1))


def test_a_file_that_was_made_is_edited_and_understood(workplace) -> None:
    made = call(workplace, "generate", {"prompt": "rock with drums", "duration_s": 4.0, "seed": 3}).structured_content
    name = made["files"][0]["file"]
    edited = call(workplace, "edit", {"task": "repaint", "file": name, "caption": "calm", "start_s": 1.0, "end_s": 3.0})
    assert not edited.is_error, words(edited)
    assert (workplace.folder / edited.structured_content["files"][0]["file"]).is_file()
    said = call(workplace, "understand", {"file": name})
    assert not said.is_error and said.structured_content["caption"]


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "link.wav", "none.wav", "nul\0.wav", ""])
def test_files_outside_the_folder_are_out_of_reach(workplace, tmp_path: Path, name: str) -> None:
    sf.write(tmp_path / "secret.wav", [0.5] * 48000, 48000)
    (workplace.folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    for tool, more in (("understand", {}), ("edit", {"task": "cover", "caption": "calm"})):
        result = call(workplace, tool, {"file": name, **more})
        assert result.is_error and "a file in the folder of this server" in words(result)


def test_bad_input_and_other_models_are_one_sentence(workplace) -> None:
    for arguments, complaint in (
        ({"prompt": "rock", "duration_s": -1}, "duration_s"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "rock", "model": "/tmp"}, "model: got '/tmp'; expected one of mini"),
        ({"prompt": "rock", "model": "hf:facebook/musicgen-large"}, "expected one of"),
    ):
        result = call(workplace, "generate", arguments)
        assert result.is_error and complaint in words(result) and "Traceback" not in words(result)
    assert not list(workplace.folder.iterdir())
    with pytest.raises(InputError, match="device"):
        Workplace(workplace.folder, "mini", "toaster")


@pytest.mark.parametrize("tool", ["generate", "edit"])
def test_a_request_that_is_cancelled_stops_and_the_server_goes_on(workplace, tool: str) -> None:
    sf.write(workplace.folder / "tone.wav", [0.5, -0.5] * 96000, 48000)
    arguments = {
        "generate": {"prompt": "rock", "duration_s": 10.0, "num_audio": 8},
        "edit": {"task": "cover", "file": "tone.wav", "caption": "calm"},
    }[tool]

    async def ask():
        async with Client(build_server(workplace)) as client:
            started = asyncio.Event()

            async def on_progress(*_) -> None:
                started.set()

            task = asyncio.create_task(client.call_tool(tool, arguments, progress_callback=on_progress))
            await asyncio.wait_for(started.wait(), 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await client.call_tool("list_models", {})

    assert not asyncio.run(ask()).is_error
    assert len(list(workplace.folder.iterdir())) <= 2  # the tone, and a clip that was ready at most


def test_the_command_serves_over_standard_input_and_output(tmp_path: Path) -> None:
    command = ["-m", "acestep_like", "mcp", "--out", str(tmp_path / "music"), "--device", "cpu"]

    async def ask():
        async with Client(StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))) as client:
            return await client.call_tool("generate", {"prompt": "rock", "duration_s": 1.0, "seed": 3})

    files = asyncio.run(ask()).structured_content["files"]
    assert sf.info(tmp_path / "music" / files[0]["file"]).frames == 48000
