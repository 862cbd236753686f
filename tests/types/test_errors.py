"""Whatever a value is, the sentence about it is one clear line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acestep_like.errors import InputError


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10**5000, "a whole number of 16,610 bits"),
        (torch.zeros(300, 400), "a Tensor of shape (300, 400)"),
        ([np.zeros((3, 4))], "[a ndarray of shape (3, 4)]"),
        (Unspeakable(), "<Unspeakable instance"),
        (nested(100_000), "[[[[[...]]]]]"),
        ("\ud800 \x1b[2J", "'\\ud800 \\x1b[2J'"),
        ("x" * 600, "(600 characters)"),
    ],
    ids=["digits", "tensor", "array", "repr", "nested", "surrogate", "long"],
)
def test_any_value_is_named_in_one_line(value, said):
    text = str(InputError("field", value, "something else"))
    assert said in text and text.isprintable() and len(text) < 200
