"""The command line: `acestep-like generate | clip | plan | understand | show | info | checkpoints`.

Exit codes: 0 done, 2 bad input, 1 failed. Only what a command needs is imported, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from acestep_like import __version__
from acestep_like.entrypoints.cli.checkpoints import CHECKPOINT_ACTIONS, run_checkpoints
from acestep_like.entrypoints.cli.clip import add_clip
from acestep_like.entrypoints.cli.common import BAD_INPUT, DONE, FAILED, add_model_options, complain
from acestep_like.entrypoints.cli.generate import add_generate, add_plan
from acestep_like.entrypoints.cli.info import run_info, run_show, run_understand
from acestep_like.errors import AceStepError, InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except InputError as error:
        return complain(error, BAD_INPUT)
    except AceStepError as error:
        return complain(error, FAILED)
    except BrokenPipeError:
        return DONE
    except KeyboardInterrupt:
        return complain("Stopped; nothing was written.", FAILED)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the options of `generate` come from the declarations of the parameters."""
    parser = argparse.ArgumentParser(
        prog="acestep-like",
        description="Music from words, on this machine.",
        epilog="Exit codes: 0 done, 2 bad input, 1 failed.",
    )
    parser.add_argument("--version", action="version", version=f"acestep-like {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_generate(commands)
    add_clip(commands)
    add_plan(commands)

    understand = commands.add_parser("understand", help="say what an audio file sounds like")
    understand.add_argument("file", metavar="FILE", help="audio file")
    understand.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the answer (default: 0)")
    add_model_options(understand)
    understand.set_defaults(run=run_understand)

    show = commands.add_parser("show", help="read the recipe in a file that this program made")
    show.add_argument("file", metavar="FILE", help="audio file")
    show.add_argument("--json", action="store_true", help="the whole recipe as JSON")
    show.set_defaults(run=run_show)

    info = commands.add_parser("info", help="what is installed, the device, the checkpoints and what each can do")
    info.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")
    info.set_defaults(run=run_info)

    checkpoints = commands.add_parser("checkpoints", help="list, describe, verify, download or convert checkpoints")
    checkpoints.add_argument("action", choices=tuple(CHECKPOINT_ACTIONS), help="what to do")
    checkpoints.add_argument("name", nargs="?", default="mini", help="name, path or Hub id (default: mini)")
    checkpoints.add_argument("target", nargs="?", help="convert: a new folder for the other layout")
    checkpoints.add_argument("--checkpoints", metavar="DIR", help="a folder to look in first")
    checkpoints.set_defaults(run=run_checkpoints)
    return parser


if __name__ == "__main__":
    sys.exit(main())
