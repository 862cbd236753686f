"""What the structure of a file tells that libsndfile does not: RIFF chunks, and whether a WAV or Ogg breaks off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

_MAX_CHUNKS = 4096
_MAX_COMMENT = 1 << 20
# Writers that cannot go back leave one of these in the header: the length is then that of the file.
_UNKNOWN_SIZES = range(0x7FFF0000, 0x1_0000_0000)
_OGG_TAIL, _OGG_LAST_PAGE = 1 << 17, 4


def riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a RIFF file as (name, size by its header, offset of its body); at most 4096 of them."""
    offset = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(offset)
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = header[:4], int.from_bytes(header[4:], "little")
        yield name, size, offset + 8
        offset += 8 + size + (size & 1)


def riff_comment(file: BinaryIO) -> str:
    """The ICMT entry of a WAV file's LIST/INFO chunk, "" without one.

    libsndfile writes long ones but skips them when it reads.
    """
    for name, size, offset in riff_chunks(file):
        if name != b"LIST" or size < 4:
            continue
        file.seek(offset)
        body = file.read(min(size, _MAX_COMMENT))
        if body[:4] != b"INFO":
            continue
        place = 4
        while place + 8 <= len(body):
            length = int.from_bytes(body[place + 4 : place + 8], "little")
            if body[place : place + 4] == b"ICMT":
                return body[place + 8 : place + 8 + length].rstrip(b"\0").decode("utf-8", "replace")
            place += 8 + length + (length & 1)
    return ""


def breaks_off(file: BinaryIO) -> bool:
    """Whether a WAV or Ogg file ends before its own structure says that it does; False for other formats."""
    file.seek(0)
    magic = file.read(4)
    end = file.seek(0, os.SEEK_END)
    if magic == b"RIFF":
        data = next(((size, offset) for name, size, offset in riff_chunks(file) if name == b"data"), None)
        return data is not None and data[0] not in _UNKNOWN_SIZES and data[1] + data[0] > end
    if magic == b"OggS":
        start = max(0, end - _OGG_TAIL)
        file.seek(start)
        tail = file.read()
        page = tail.rfind(b"OggS")
        header = tail[page : page + 27]
        if page < 0 or len(header) < 27:
            return True
        lacing = tail[page + 27 : page + 27 + header[26]]
        whole = len(lacing) == header[26] and page + 27 + len(lacing) + sum(lacing) <= len(tail)
        return not whole or not header[5] & _OGG_LAST_PAGE
    return False
