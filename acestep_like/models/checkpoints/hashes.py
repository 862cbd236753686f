"""What a checkpoint's files are, by their SHA-256."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from acestep_like.models.checkpoints.info import CheckpointInfo

_BLOCK = 1 << 22


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(path.glob("*.safetensors"))


@lru_cache(maxsize=64)
def _digest(path: str, size: int, modified_ns: int) -> str:  # noqa: ARG001
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex; remembered until the file changes."""
    stat = path.stat()
    return _digest(str(path), stat.st_size, stat.st_mtime_ns)


def _named(info: CheckpointInfo) -> dict[Path, str]:
    """Every file of a checkpoint once, with its name: those of the parts, then what lies beside them."""
    found: dict[Path, str] = {}
    for part, path in sorted(info.parts.items()):
        for file in _files(path):
            found.setdefault(file, f"{part}/{file.name}" if info.kind == "diffusers" else file.name)
    for file in _files(info.path):
        found.setdefault(file, file.name)
    return found


def hashes(info: CheckpointInfo) -> dict[str, str]:
    """SHA-256 of every weight file: "transformer/file.safetensors" -> hex; files that no part has by their name alone.

    Shared files appear once.
    """
    return {name: file_hash(file) for file, name in sorted(_named(info).items(), key=lambda item: item[1])}
