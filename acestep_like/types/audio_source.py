"""What may be given where an audio is asked for. Standard library only: arrays and tensors are not named here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeAlias

from acestep_like.types.results import AudioResult, GenerationResult

AudioSource: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | tuple[Any, Any]
    | AudioResult
    | Mapping[str, Any]
    | GenerationResult
)
"""A path; the bytes of a file, or a file opened for reading bytes; a pair of samples (an array or tensor [N], [C, N] or
[N, C], floats in -1..1 or signed integers) and their rate in Hz, in either order; an audio of an earlier result, or a
result with exactly one. `audio.io.load_audio` reads them all."""
