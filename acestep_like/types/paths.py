"""Paths as people write them. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

from acestep_like.errors import InputError


def user_path(path: str | os.PathLike[str], field: str) -> Path:
    """A path with `~` and `~user` replaced by the home folder.

    Args:
        field: what the caller calls it, for the error.

    Raises:
        InputError: the home of a user whom this machine does not know, or a path with a null byte.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise InputError(field, text, "a path without null bytes")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~") and text.startswith("~"):
        raise InputError(field, text, "a path whose home folder this machine knows", "Write ./~name for such a name.")
    return Path(expanded)
