"""An MCP server: music made, edited and described for agents that speak the Model Context Protocol.

It reads and writes files of one folder only. Progress is notified step by step, and a request that the client cancels
stops its work within a step.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Literal

from acestep_like import __version__
from acestep_like.aio import AsyncAudioClient, asked
from acestep_like.audio.formats import prepare_output_dir
from acestep_like.client.client import AudioClient
from acestep_like.client.events import ClipReady
from acestep_like.client.output import encoder
from acestep_like.editing.covering import cover
from acestep_like.editing.layers import complete, lego
from acestep_like.editing.repainting import extend, repaint
from acestep_like.editing.stems import extract
from acestep_like.errors import AceStepError, DependencyError, InputError
from acestep_like.handler import AceStepHandler
from acestep_like.inference.api import understand_audio
from acestep_like.llm_inference import LLMHandler
from acestep_like.models.catalog import available_audio_models
from acestep_like.types.params import GenerationConfig
from acestep_like.types.progress import CancelToken, StepEvent
from acestep_like.types.results import GenerationResult

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError as error:
    raise DependencyError("mcp", "mcp", "The MCP server") from error

INSTRUCTIONS = (
    "Makes music and sounds, edits recordings and says what they sound like. Files are named relative to one folder; "
    "names that a tool answers can be given to the next. Describe music in English words: genre, mood, instruments."
)
EditTask = Literal["cover", "repaint", "extend", "extract", "lego", "complete"]


class Workplace:
    """The folder that agents may use, and the models that work in it, loaded when they are first needed.

    Args:
        folder: read from and written to; made when missing.
        model: that of `generate` where an agent names none, as `AudioClient` takes it.
        device: where everything runs.

    Raises:
        OutputError: the folder cannot be written to. InputError: no such model or device.
    """

    def __init__(self, folder: str | Path, model: str | None = None, device: str = "auto") -> None:
        self.folder = prepare_output_dir(folder).resolve()
        self.device = device
        self.default = AudioClient(model, device=device)
        self._lock = threading.Lock()
        self._handlers: tuple[AceStepHandler, LLMHandler] | None = None

    @property
    def models(self) -> list[str]:
        """Names that `generate` takes: the default, the embedded model, and known ones whose files are here."""
        here = [f"hf:{member.value}" for member in available_audio_models()]
        return list(dict.fromkeys([self.default.model, "mini", *here]))

    def client(self, model: str | None) -> AudioClient:
        """The client of a name in `models`; no path and nothing that would have to be downloaded.

        Raises:
            InputError: another name.
        """
        if model is None or model == self.default.model:
            return self.default
        if model not in self.models:
            raise InputError("model", model, "one of " + ", ".join(self.models))
        return AudioClient(model, device=self.device, local_files_only=True)

    def handlers(self) -> tuple[AceStepHandler, LLMHandler]:
        """The embedded model and its language model, for edits and descriptions."""
        with self._lock:
            if self._handlers is None:
                dit = AceStepHandler.from_pretrained("mini", device=self.device)
                self._handlers = dit, LLMHandler.from_pretrained("mini", device=self.device)
            return self._handlers

    def source(self, name: str) -> Path:
        """A file of the folder.

        Raises:
            InputError: none of that name, or one outside the folder, links included.
        """
        path = (self.folder / name).resolve() if "\0" not in name else self.folder
        if not path.is_relative_to(self.folder) or not path.is_file():
            here = sorted(entry.name for entry in self.folder.iterdir() if entry.is_file())[:20]
            raise InputError("file", name, "a file in the folder of this server", f"It holds: {', '.join(here) or '-'}")
        return path

    def edit(
        self,
        task: EditTask,
        source: Path,
        values: dict[str, Any],
        seed: int,
        tell: Callable[[StepEvent], None],
        cancel: CancelToken,
    ) -> GenerationResult:
        """Run an edit and write its files to the folder."""
        dit, _ = self.handlers()
        config = GenerationConfig(batch_size=1, seeds=None if seed < 0 else [seed])
        common = {"config": config, "save_dir": self.folder, "on_step": tell, "cancel": cancel}
        result = _EDITS[task](dit, source, values, common)
        if result.exception is not None:
            raise result.exception
        return result


_EDITS: dict[str, Callable[[AceStepHandler, Path, dict[str, Any], dict[str, Any]], GenerationResult]] = {
    "cover": lambda dit, source, v, common: cover(dit, source, v["caption"], **common),
    "repaint": lambda dit, source, v, common: repaint(dit, source, v["caption"], (v["start_s"], v["end_s"]), **common),
    "extend": lambda dit, source, v, common: extend(dit, source, v["caption"], right_s=v["extend_s"], **common),
    "extract": lambda dit, source, v, common: extract(dit, source, v["tracks"], **common),
    "lego": lambda dit, source, v, common: lego(dit, source, _one(v["tracks"]), v["caption"], **common),
    "complete": lambda dit, source, v, common: complete(dit, source, v["tracks"], v["caption"], **common),
}
"""Edits by name, each with what it takes of the tool's arguments."""


def _one(tracks: list[str]) -> str:
    if len(tracks) != 1:
        raise InputError("tracks", tracks, "exactly one track for lego")
    return tracks[0]


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """Errors of this package as answers that the agent reads; of others it learns only that the tool failed."""
    try:
        yield
    except AceStepError as error:
        raise ToolError(str(error)) from error


def build_server(workplace: Workplace) -> MCPServer[Any]:
    """The server; `run("stdio")` of it talks over standard input and output."""
    server: MCPServer[Any] = MCPServer("acestep-like", instructions=INSTRUCTIONS, version=__version__)

    @server.tool()
    def list_models() -> dict[str, Any]:
        """Names of the models that `generate` takes; the first is the default."""
        return {"models": workplace.models}

    @server.tool()
    async def generate(
        ctx: Context[Any],
        prompt: str,
        duration_s: float | None = None,
        num_audio: int = 1,
        seed: int | None = None,
        model: str | None = None,
        lyrics: str | None = None,
        negative_prompt: str | None = None,
        audio_format: Literal["wav", "flac", "mp3", "ogg", "opus"] = "wav",
    ) -> dict[str, Any]:
        """Make music or a sound effect from a description and save it.

        Args:
            prompt: what it sounds like: genre, mood, instruments, tempo, or what makes the sound.
            duration_s: length in seconds; without it about 10.
            num_audio: how many variations.
            seed: the same seed makes the same sound again.
            model: a name that list_models answers.
            lyrics: words to be sung, for models that sing.
            negative_prompt: what it shall not sound like, for models that take it.
            audio_format: of the files.
        """
        given = {"duration_s": duration_s, "seed": seed, "lyrics": lyrics, "negative_prompt": negative_prompt}
        with _in_one_sentence():
            client = await asyncio.to_thread(workplace.client, model)
            save = encoder("path", workplace.folder, audio_format)
            files: list[dict[str, Any]] = []
            fields = {name: value for name, value in given.items() if value is not None}
            async with aclosing(AsyncAudioClient(client).events(prompt, num_audio=num_audio, **fields)) as events:
                async for event in events:
                    if isinstance(event, ClipReady):
                        name = Path(await asyncio.to_thread(save, event.clip)).name
                        files.append({"file": name, "seed": event.clip.seed, "duration_s": event.clip.duration_s})
                    else:
                        done = event.index * event.total + event.step
                        await ctx.report_progress(done, num_audio * event.total, f"clip {event.index + 1}")
        return {"folder": str(workplace.folder), "files": files}

    @server.tool()
    async def edit(
        ctx: Context[Any],
        task: EditTask,
        file: str,
        caption: str = "",
        tracks: list[str] | None = None,
        start_s: float = 0.0,
        end_s: float = -1.0,
        extend_s: float = 10.0,
        seed: int = -1,
    ) -> dict[str, Any]:
        """Change a recording of the folder and save the result beside it.

        Args:
            task: cover (the same song in another style), repaint (make a passage anew), extend (go on at the end),
                extract (one track of the mix), lego (a new track to it), complete (several).
            file: name of the recording.
            caption: what the result sounds like; of no use to extract.
            tracks: for extract, lego (one) and complete: vocals, backing_vocals, drums, bass, guitar, keyboard,
                percussion, strings, synth, fx, brass, woodwinds.
            start_s: repaint: start of the passage, in seconds.
            end_s: repaint: its end; -1 is the end of the recording.
            extend_s: extend: how many seconds to add.
            seed: the same seed makes the same sound again; -1 is a random one.
        """
        values = {
            "caption": caption,
            "tracks": tracks or [],
            "start_s": start_s,
            "end_s": end_s,
            "extend_s": extend_s,
        }
        with _in_one_sentence():
            source = workplace.source(file)
        loop, cancel = asyncio.get_running_loop(), CancelToken()

        def tell(event: StepEvent) -> None:
            asyncio.run_coroutine_threadsafe(ctx.report_progress(event.step, event.total, task), loop)

        work = asyncio.ensure_future(asyncio.to_thread(workplace.edit, task, source, values, seed, tell, cancel))
        work.add_done_callback(asked)
        try:
            await asyncio.wait([work])
        finally:
            cancel.cancel()  # work that is done is not affected
        with _in_one_sentence():
            result = work.result()
        files = [{"file": Path(audio.path).name, "seed": audio.params["seed"]} for audio in result.audios]
        return {"folder": str(workplace.folder), "files": files, "status": result.status_message}

    @server.tool()
    async def understand(file: str) -> dict[str, Any]:
        """Say what a recording of the folder sounds like: caption, genres, tempo, key, meter, chords, tracks, language.

        Args:
            file: name of the recording.
        """
        with _in_one_sentence():
            source = workplace.source(file)
            result = await asyncio.to_thread(lambda: understand_audio(*workplace.handlers(), source, seed=0))
            if result.exception is not None:
                raise result.exception
        names = ("caption", "genres", "bpm", "keyscale", "timesignature", "chords", "tracks", "language", "lyrics")
        return {name: getattr(result, name) for name in names}

    return server
