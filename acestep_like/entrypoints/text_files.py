"""Text files that users name on a command line or in a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from acestep_like.errors import InputError
from acestep_like.types.paths import user_path

_LARGEST_BYTES = 4_000_000
_T = TypeVar("_T")


def read_text(name: str, field: str, accepted: str, read: Callable[[str], _T]) -> _T:
    """The content of a text file in UTF-8, with or without a byte order mark, as `read` understands it.

    Args:
        field: what the caller calls the file, for errors.
        accepted: what it should be, for errors.

    Raises:
        InputError: no regular file, too large, not UTF-8, or not what `read` takes.
    """
    path = user_path(name, field)
    try:
        if path.exists() and not path.is_file():
            raise InputError(field, name, accepted, "It is no regular file.")
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(field, name, f"{accepted} of at most {_LARGEST_BYTES // 1_000_000} MB")
        return read(path.read_text(encoding="utf-8-sig"))
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(field, name, accepted, "It is nested too deeply.") from error
    except (OSError, ValueError) as error:
        raise InputError(field, name, accepted, str(getattr(error, "strerror", None) or error)) from error
