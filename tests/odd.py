"""Values that no caller means, for tests that every door answers in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from fakes import tone

from acestep_like.errors import InputError, OutputError


class Unspeakable:
    """An object that fails wherever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


ODD = (
    *(None, True, False, 0, -1, -0.0, 0.5, 1e308, float("nan"), float("inf"), 10**400, -(2**70), 2**63 - 1, 3 + 4j),
    *("", " ", "\0", "\ud800", "\x1b[2J", "９", "nan", "1e999", "9" * 5000, "x" * 10_000, "~nosuchuser/x", "n" * 300),
    *(
        "[Verse]",
        "C major",
        "((((C) x64) x64) x64) x64",
        "C" + " " * 300 + "!",
        "<|audio_code_1|>",
        "1,2,3",
        "{}",
        "()",
    ),
    *(b"", b"RIFF", bytearray(b"x"), Path("~nosuchuser/x"), Path("."), (1, 2), [], {}, {"a": 1}, set(), range(3)),
    *(nested(50_000), [None], [[1]], ["a", 1], [10**400], [float("nan")], ("x", 48000), (tone(1), 10**400)),
    *(np.int64(4), np.float32("nan"), np.zeros(3), np.zeros((2, 3)), np.array("x"), np.array([object()])),
    *(torch.tensor(4), torch.zeros(0), torch.zeros(2, 3), torch.tensor(1 + 2j), (np.zeros((2, 0)), 48000)),
    *(object(), Unspeakable(), [Unspeakable()], type, len, iter(())),
)


def check(result) -> None:
    """Success, or a sentence about a bad value, in one printable line."""
    if result.success:
        return
    assert isinstance(result.exception, InputError | OutputError), repr(result.exception)
    assert result.error.isprintable() and len(result.error) < 1500, result.error
    result.status_message.encode("utf-8")
