"""The error tree. Standard library only.

Below the public functions errors are raised; `inference/api.py` turns them into `success=False` and one sentence.
"""

from __future__ import annotations


class AceStepError(Exception):
    """Root of all errors of this package."""


class InputError(AceStepError, ValueError):
    """A value that is not accepted. The message names the field, the value, what is accepted and what to do."""

    def __init__(self, field: str, value: object, accepted: str, remedy: str = "") -> None:
        self.field = field
        self.value = value
        self.accepted = accepted
        self.remedy = remedy
        super().__init__(f"{field}: got {_shown(value)}; expected {accepted}." + (f" {remedy}" if remedy else ""))


def _shown(value: object) -> str:
    """A value as Python writes it; of a long one its head and tail, since paths differ at the end."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:50]} ... {text[-40:]} ({len(text)} characters)"


class CheckpointError(AceStepError):
    """A checkpoint is unknown, incomplete or of another kind; the message lists what was found."""


class NotLoadedError(AceStepError):
    """A handler was used before its weights were loaded."""


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
