"""Opening what holds encoded audio: a path, bytes or a file object becomes one kind of readable, seekable file.

Only regular files are opened: a FIFO would wait for a writer, and a device may never end. Bytes are bounded.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from acestep_like.errors import InputError
from acestep_like.types.paths import user_path

MAX_BYTES = 2 << 30
"""Most bytes that are taken from a file object: beyond an hour of 48 kHz stereo in 32-bit float."""
_URL = "://"


@dataclass(frozen=True)
class OpenedFile:
    """A file to decode, and how to name it in a message."""

    file: BinaryIO
    name: str


def is_encoded(source: object) -> bool:
    """Whether a source is a path, bytes or a file object, whose audio is still to be decoded."""
    return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read")


@contextlib.contextmanager
def open_source(source: Any, field: str) -> Iterator[OpenedFile]:
    """Open a path, bytes or a binary file object for reading, for the length of a `with` block.

    A file object is read from its beginning where it can be wound back, else from where it stands; it stays open.

    Raises:
        InputError: no such file, none that may be read, none that is regular, no bytes, too many of them, a URL, or a
            file object that gives text or fails.
    """
    if isinstance(source, str | os.PathLike):
        path = _regular_file(source, field)
        try:
            with path.open("rb", buffering=0) as file:  # libsndfile reads by the descriptor, which buffers would move
                yield OpenedFile(cast(BinaryIO, file), str(path))
        except PermissionError as error:
            raise InputError(field, str(path), "a readable file", "Permission denied.") from error
        except OSError as error:
            raise InputError(field, str(path), "a readable file", f"{error.strerror or error}.") from error
        return
    data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _all_bytes(source, field)
    if not data:
        raise InputError(field, "no bytes", "an audio file", "It is empty.")
    yield OpenedFile(io.BytesIO(data), f"{len(data)} bytes")


def _regular_file(source: str | os.PathLike[str], field: str) -> Path:
    text = os.fspath(source)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if _URL in text and not os.path.exists(text):
        raise InputError(field, text, "an existing audio file", "Addresses are not fetched: download it first.")
    path = user_path(text, field)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(field, str(path), "an existing audio file", f"{reason}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(field, str(path), "an audio file, not a folder")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(field, str(path), "a regular file", "Pipes, sockets and devices are not opened.")
    if status.st_size == 0:
        raise InputError(field, str(path), "an audio file", "The file is empty.")
    return path


def _all_bytes(file: Any, field: str) -> bytes:
    kind = type(file).__name__
    try:
        if getattr(file, "seekable", bool)():
            file.seek(0)
        data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(field, kind, "a file object that can be read", f"{error}.") from error
    if not isinstance(data, bytes | bytearray):
        raise InputError(field, f"a file object ({kind}) that gives {type(data).__name__}", "one opened with mode 'rb'")
    if len(data) > MAX_BYTES:
        raise InputError(field, kind, f"a file object of at most {MAX_BYTES >> 20} MB")
    return bytes(data)
