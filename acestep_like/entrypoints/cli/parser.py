"""The table of commands, and the parser that is made of it. Loads no framework."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from acestep_like import __version__
from acestep_like.entrypoints.cli.console import plain
from acestep_like.entrypoints.cli.options import (
    add_checkpoints_option,
    add_clip_options,
    add_device_option,
    add_model_options,
    add_music_options,
    add_quiet_option,
)

CHECKPOINT_ACTIONS = ("list", "show", "verify", "download", "convert")


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        help: one line for the list of commands.
        options: adds its options to its parser.
        run: "module:function" in this package; the module is loaded when the command runs. The function takes the
            parsed arguments and answers the exit code.
        description: of its own help page; `help` where it is empty.
    """

    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: str
    description: str = ""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors show the words of a command line without control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(plain(message))


def build_parser(defaults: Mapping[str, Any] | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; `arguments.run` is the "module:function" of the command. `defaults` are options by
    name, used where the command line does not give them."""
    parser = _Parser(
        prog="acestep-like",
        description="Music from words, on this machine.",
        epilog="Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"acestep-like {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help, description=command.description or command.help)
        command.options(own)
        own.set_defaults(**(defaults or {}), run=command.run)
    return parser


def _generate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", default="outputs", help="folder for the files (default: outputs)")
    parser.add_argument("--midi", action="store_true", help="write the score of each song beside it, as a .mid file")
    parser.add_argument("--lrc", action="store_true", help="write the times of its words beside each song, as .lrc")
    add_quiet_option(parser)
    _plan_options(parser)


def _plan_options(parser: argparse.ArgumentParser) -> None:
    add_music_options(parser)
    add_model_options(parser)


def _batch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--generation-config", metavar="FILE", required=True, help="what to make: JSON as of stable-audio-tools"
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "--pretrained-name", metavar="NAME", help="acestep:mini, hf:OWNER/NAME, FAMILY:OWNER/NAME or a folder"
    )
    model.add_argument("--model-config", metavar="FILE", help="a model config of stable-audio-tools")
    parser.add_argument("--ckpt-path", metavar="FILE", help="its weights, .safetensors or .ckpt (with --model-config)")
    parser.add_argument(
        "--pretransform-ckpt-path", metavar="FILE", help="weights that replace its autoencoder's (with --model-config)"
    )
    parser.add_argument("--model-half", action="store_true", help="weights in half precision (fp16)")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run made, go on with the rest")
    add_device_option(parser)
    add_quiet_option(parser)


def _mcp_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="the one folder that agents read from and write to")
    parser.add_argument("--model", metavar="NAME", help="of `generate`, where an agent names none (default: mini)")
    add_device_option(parser)


def _understand_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="audio file")
    parser.add_argument("--seed", default="0", metavar="N", help="seed of the answer (default: 0)")
    add_model_options(parser)


def _show_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="audio file")
    parser.add_argument("--json", action="store_true", help="the whole recipe as JSON")


def _checkpoints_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=CHECKPOINT_ACTIONS, help="what to do")
    parser.add_argument("name", nargs="?", default="mini", help="name, path or Hub id (default: mini)")
    parser.add_argument("target", nargs="?", help="convert: a new folder for the other layout")
    add_checkpoints_option(parser)


COMMANDS = {
    "generate": Command(
        "make music",
        _generate_options,
        "generate:run_generate",
        "Make music from a description. Values that are left out are chosen by the language model or the checkpoint.",
    ),
    "clip": Command(
        "make a clip with any audio model: ours, MusicGen, AudioLDM, AudioLDM 2, Stable Audio",
        add_clip_options,
        "clip:run_clip",
        "Make clips with any audio model. A field that the model has no use for is refused.",
    ),
    "batch": Command(
        "make many clips from a configuration file",
        _batch_options,
        "batch:run_batch_command",
        "Make many clips with one model, from a configuration file in the format of stable-audio-tools.",
    ),
    "plan": Command(
        "what `generate` with the same options would need: memory, seconds, what would be clamped",
        _plan_options,
        "plan:run_plan",
        "Takes the options of `generate`; loads no weights and makes nothing. The language model is not included.",
    ),
    "mcp": Command(
        "serve agents over the Model Context Protocol (standard input and output)",
        _mcp_options,
        "mcp:run_mcp",
        "An MCP server with the tools generate, edit, understand and list_models, confined to one folder.",
    ),
    "understand": Command("say what an audio file sounds like", _understand_options, "understand:run_understand"),
    "show": Command("read the recipe in a file that this program made", _show_options, "show:run_show"),
    "info": Command(
        "what is installed, the device, the checkpoints and what each can do", add_checkpoints_option, "info:run_info"
    ),
    "checkpoints": Command(
        "list, describe, verify, download or convert checkpoints", _checkpoints_options, "checkpoints:run_checkpoints"
    ),
}
"""All commands by name. A new one is a row here and a module with its function."""
