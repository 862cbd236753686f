"""The command `acestep-like`: reads the arguments, runs the command, answers the exit code.

Exit codes of all commands: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from acestep_like.entrypoints.cli.config_file import read_config_file
from acestep_like.entrypoints.cli.console import (
    DONE,
    INTERRUPTED,
    allow_any_text,
    complain,
    exit_code,
    leave_broken_pipe,
)
from acestep_like.entrypoints.cli.parser import build_parser
from acestep_like.errors import AceStepError

__all__ = ["build_parser", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code."""
    allow_any_text()
    arguments = build_parser().parse_args(argv)
    try:
        if "config" in arguments:
            arguments = build_parser(read_config_file(arguments.config).options).parse_args(argv)
        module, function = arguments.run.split(":")
        run = getattr(import_module(f"acestep_like.entrypoints.cli.{module}"), function)
        code = int(run(arguments))
        sys.stdout.flush()
    except AceStepError as error:
        return complain(error, exit_code(error))
    except BrokenPipeError:
        leave_broken_pipe(sys.stdout)
        return DONE
    except KeyboardInterrupt as stop:
        return complain(str(stop) or "Stopped.", INTERRUPTED)
    return code


if __name__ == "__main__":
    sys.exit(main())
