"""Keeping libmpg123, through which libsndfile reads MP3, from writing its remarks to stderr."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

_MUTING = threading.Lock()
_REMARKS = (b"Warning: ", b"Note: ", b"Big change")


@contextlib.contextmanager
def quiet_mp3(file: BinaryIO) -> Iterator[None]:
    """Hold back what is written to stderr while an MP3 is decoded, and afterwards write what is not libmpg123's.

    It writes to file descriptor 2 itself, and libsndfile has no switch for that. Does nothing for other kinds of file;
    one MP3 is decoded at a time. The file is left at its beginning.
    """
    file.seek(0)
    head = file.read(3)
    file.seek(0)
    if head != b"ID3" and not _is_mpeg_frame(head):
        yield
        return
    with _MUTING, tempfile.TemporaryFile() as sink:
        try:
            stderr = os.dup(2)
        except OSError:  # a process without one
            yield
            return
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            sink.seek(0)
            os.write(stderr, b"".join(line for line in sink if not _is_remark(line)))
            os.close(stderr)


def _is_mpeg_frame(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _is_remark(line: bytes) -> bool:
    return not line.strip() or line.startswith(_REMARKS) or b"libmpg123" in line
