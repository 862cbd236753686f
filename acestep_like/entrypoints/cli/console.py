"""What all commands share: exit codes, printing text that may come from files, and what Ctrl-C left behind."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from acestep_like.errors import InputError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of every command. 130 is what shells expect of a program that Ctrl-C stopped (128 + SIGINT)."""

# C0 and C1 controls but for the newline, and characters that start lines or turn the direction of text: a terminal
# obeys them (clear the screen, set the title or the clipboard), and text from files must not command it.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SHOWN_FILES = 10


def plain(text: object) -> str:
    """Text without control characters: they are shown as `\\u001b`, which is also their spelling in JSON."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))


def say(text: object) -> None:
    """Print a line. Line breaks inside are indented, so that text from a file cannot pass for a line of ours."""
    print(plain(text).replace("\n", "\n    "))


def complain(error: object, code: int) -> int:
    """Print an error, and answer the exit code."""
    print(plain(f"acestep-like: {error}").replace("\n", "\n    "), file=sys.stderr)
    return code


def exit_code(error: BaseException | None) -> int:
    """The code of a failure: its input was bad, or something else went wrong."""
    return BAD_INPUT if isinstance(error, InputError) else FAILED


def allow_any_text() -> None:
    """Let the standard streams take characters that their encoding lacks: written as escapes instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def leave_broken_pipe(stream: TextIO) -> None:
    """Send what is still buffered nowhere: the reader of our output (`| head`) has gone, which is no error."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def files_told(folder: str | Path) -> Iterator[None]:
    """When Ctrl-C stops what happens inside, say which files it left in a folder."""
    before = _files(folder)
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(folder, _files(folder) - before)) from None


def _files(folder: str | Path) -> set[str]:
    try:
        return {name for name in os.listdir(os.path.expanduser(folder)) if not name.startswith(".")}
    except (OSError, ValueError):
        return set()


def _stopped(folder: str | Path, fresh: set[str]) -> str:
    if not fresh:
        return f"Stopped; no new file is in {os.fspath(folder)!r}."
    names = sorted(fresh)
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return f"Stopped; new in {os.fspath(folder)!r}: {', '.join(names[:_SHOWN_FILES])}{more}."
