"""The log of a batch, a JSON object a line, which is also what a run goes on from.

Before a clip is made its name and seed are written here; its file appears whole or not at all. So whenever a run is
killed, a name whose file exists is done, and one whose file does not is made again with the same seed: nothing is half
written, nothing made twice.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_like.errors import OutputError

LOG_NAME = "batch.jsonl"


@dataclass(frozen=True)
class Promise:
    """The file name and the seed that a clip was given when its making began."""

    file: str
    seed: int


class Journal:
    """The log in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_NAME
        self._promises = dict(_promises(self.path))

    def promise(self, digest: str) -> Promise | None:
        """What was last begun under a digest, in this run or an earlier one."""
        return self._promises.get(digest)

    @property
    def files(self) -> set[str]:
        """All names that were ever given."""
        return {promise.file for promise in self._promises.values()}

    def begin(self, digest: str, promise: Promise, **facts: Any) -> None:
        """A clip is about to be made."""
        self._promises[digest] = promise
        self.write("begin", digest=digest, file=promise.file, seed=promise.seed, **facts)

    def write(self, event: str, **facts: Any) -> None:
        """Append a line, and see that it is on the disk.

        Raises:
            OutputError: it cannot be written.
        """
        line = json.dumps({"event": event, "time": round(time.time(), 3), **facts}, ensure_ascii=True)
        try:
            with self.path.open("ab+") as file:
                broken = file.tell() and not _ends_a_line(file)
                file.write(b"\n" * bool(broken) + line.encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {str(self.path)!r}: {error.strerror}") from error


def _ends_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def _promises(path: Path) -> list[tuple[str, Promise]]:
    """What a log says was begun; lines that a kill has torn, or that are no records of ours, say nothing."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("event") == "begin":
            digest, file, seed = record.get("digest"), record.get("file"), record.get("seed")
            if isinstance(digest, str) and isinstance(file, str) and isinstance(seed, int) and Path(file).name == file:
                found.append((digest, Promise(file, seed)))
    return found
