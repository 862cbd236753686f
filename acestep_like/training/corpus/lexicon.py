"""Words people use for music."""

from __future__ import annotations

import random

MOODS = {"major": ("happy", "bright", "uplifting", "warm"), "minor": ("dark", "sad", "melancholic", "moody")}
ERAS = ("modern", "vintage", "80s", "90s")
PRODUCTION = ("clean", "lo-fi", "spacious", "dry")
GENRES: dict[str, tuple[str, ...]] = {}


def choose_words(rng: random.Random, style: str, third: str, bpm: float) -> dict[str, str]:
    """The mood, era and production words of one song."""
    return {"mood": rng.choice(MOODS[third]), "era": rng.choice(ERAS), "production": rng.choice(PRODUCTION)}
