"""Files of a checkpoint, which somebody else wrote: bounded JSON, and names that stay inside their folder.

Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from acestep_like.errors import CheckpointError

SIDECAR = "acestep_like.json"
"""The file in which a checkpoint declares what its layout has no field for."""
FETCH_AGAIN = "Fetch the checkpoint again."
MAX_JSON_BYTES = 16 << 20
"""The index of a model of 10^5 tensors has about that."""
_MAX_DEPTH = 32
_NAME = re.compile(r"[^/\\:\0]+")


def is_regular(path: Path) -> bool:
    """Whether a path is a file whose content can be read to its end: no folder, pipe or device."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CheckpointError: not a regular file, longer than `max_bytes`, not JSON, nested deeper than 32, or no object.
    """
    if not is_regular(path):
        raise CheckpointError(f"{path} is not a file. {FETCH_AGAIN}")
    try:
        if (size := path.stat().st_size) > max_bytes:
            raise CheckpointError(f"{path} has {size} bytes; at most {max_bytes} are read.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise CheckpointError(f"{path} is nested too deeply.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. {FETCH_AGAIN}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {_json_type(value)}, not a JSON object. {FETCH_AGAIN}")
    if _depth(value) > _MAX_DEPTH:
        raise CheckpointError(f"{path} is nested too deeply.")
    return value


def _json_type(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _MAX_DEPTH:
        depth += 1
        containers = (item for item in level if isinstance(item, dict | list))
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def brief(value: Any) -> str:
    """A JSON value as it is written, its first 80 characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."


def inside(folder: Path, name: Any, source: Path) -> Path:
    """`folder / name` of a plain file name that the file `source` gives.

    Raises:
        CheckpointError: no plain name, as one that leads elsewhere ("../x", "/x", "a/b").
    """
    if not isinstance(name, str) or name in (".", "..") or not _NAME.fullmatch(name) or len(name.encode()) > 255:
        raise CheckpointError(f"{source} names the file {brief(name)}; expected a plain name without folders.")
    return folder / name
