"""Model folders that ask for code of their own to be run. None is run here, and nobody is asked whether it may.

`transformers` runs Python files of a model folder when a config names them (`auto_map`) or when they lie in
`custom_generate/`; unless it is told not to, it asks on the terminal first. Every call of it here says
`trust_remote_code=False`, and a folder that asks is refused before, with a sentence that names the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acestep_like.errors import CheckpointError, UnsafeFileError
from acestep_like.models.checkpoints.files import read_json

_KEYS = ("auto_map", "custom_generate", "custom_pipelines")
_DEEPEST = 8


def refuse_remote_code(folder: Path) -> None:
    """Refuse a folder in the layout of transformers or diffusers that asks for its own code; a config that is no JSON
    is left to the loader.

    Raises:
        UnsafeFileError: a config names code, or there is a `custom_generate` folder.
    """
    for path in sorted([*folder.glob("*config*.json"), *folder.glob("model_index.json")]):
        try:
            config = read_json(path)
        except CheckpointError:
            continue
        key = _asks(config)
        if key is not None:
            raise UnsafeFileError(
                f"{path} asks for code of its own to be run ({key!r}); code of model folders is never run here."
                " Use a folder whose architecture transformers knows, without that entry."
            )
    if (folder / "custom_generate").exists():
        raise UnsafeFileError(
            f"{folder / 'custom_generate'} holds code to be run; code of model folders is never run here."
            " Use the model without that folder."
        )


def _asks(value: Any, depth: int = 0) -> str | None:
    """The first key, at any depth that configs have, that names code."""
    if depth > _DEEPEST or not isinstance(value, dict | list):
        return None
    entries = value.items() if isinstance(value, dict) else (("", entry) for entry in value)
    for key, inner in entries:
        if key in _KEYS and inner:
            return str(key)
        found = _asks(inner, depth + 1)
        if found is not None:
            return found
    return None
