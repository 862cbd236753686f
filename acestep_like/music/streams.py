"""Random numbers by aspect: asking for another tempo leaves key, chords and motifs as they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

Stream = Callable[[str], random.Random]
"""A fresh generator for an aspect, by its name; the same name gives the same numbers."""


def streams(seed: int) -> Stream:
    """The generators of a seed."""
    return lambda aspect: random.Random(f"{seed}/{aspect}")


def weighted(rng: random.Random, odds: Mapping[str, float]) -> str:
    """One name, drawn by its odds."""
    return rng.choices(tuple(odds), tuple(odds.values()))[0]
