"""The error tree. Standard library only.

Below the public functions errors are raised; those turn them into a failed result with one sentence
(`types.results.answered`).
"""

from __future__ import annotations

import reprlib
from typing import Any


class AceStepError(Exception):
    """Root of all errors of this package.

    Attributes:
        status: what a result's `status_message` says, where upstream has words of its own for it; else "".
    """

    status: str = ""


class InputError(AceStepError, ValueError):
    """A value that is not accepted. The message names the field, the value, what is accepted and what to do."""

    def __init__(self, field: str, value: object, accepted: str, remedy: str = "") -> None:
        self.field = field
        self.value = value
        self.accepted = accepted
        self.remedy = remedy
        sentence = f"{field}: got {shown(value)}; expected {accepted}." + (f" {remedy}" if remedy else "")
        super().__init__(_printable(sentence))


def shown(value: object) -> str:
    """Any value in one line of at most about 120 characters: as Python writes it, of a long one head and tail (paths
    differ at the end), of tensors and arrays the shape."""
    text = _printable(_VALUES.repr(value))
    count = len(value) if isinstance(value, str) else len(text)
    return text if len(text) <= 100 else f"{text[:50]} ... {text[-40:]} ({count} characters)"


class _Values(reprlib.Repr):
    """`repr` that is bounded in depth and length and survives objects whose own fails."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 40
        self.maxstring = self.maxother = 1_000_000  # `shown` cuts them, and keeps their end

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 256 else f"a whole number of {x.bit_length():,} bits"

    def repr_Tensor(self, x: Any, level: int) -> str:  # noqa: N802 - reprlib finds it by the type's name
        return f"a {type(x).__name__} of shape {tuple(x.shape)}"

    repr_Parameter = repr_ndarray = repr_Tensor  # noqa: N815


_VALUES = _Values()


def _printable(text: str) -> str:
    """One line without control characters and halves of characters."""
    return "".join(char if char.isprintable() else " " for char in text)


class CheckpointError(AceStepError):
    """A checkpoint is unknown, incomplete or of another kind; the message lists what was found."""


class NotLoadedError(AceStepError):
    """A handler was used before its weights were loaded."""

    def __init__(self, message: str, status: str = "") -> None:
        super().__init__(message)
        self.status = status


class UnsupportedTaskError(InputError):
    """The loaded checkpoint cannot do the task; the message names one that can."""


class DeviceMemoryError(AceStepError):
    """The device ran out of memory; the handler stays usable."""


class Cancelled(AceStepError):
    """The caller cancelled; nothing was written."""


class UnsafeFileError(CheckpointError):
    """A file that could run code, or lies outside the folders allowed."""


class DependencyError(AceStepError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'acestep-like[{extra}]'")
        self.package, self.extra = package, extra


class OutputError(AceStepError, OSError):
    """A result could not be written; nothing half-written is left."""


class LMError(AceStepError):
    """The 5 Hz language model produced something unusable, or two paired streams fell out of step."""

    def __init__(self, message: str, status: str = "") -> None:
        super().__init__(message)
        self.status = status or f"❌ LM generation failed: {message}"
