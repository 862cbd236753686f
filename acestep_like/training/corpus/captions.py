"""Captions, queries and metadata of a song."""

from __future__ import annotations

import random

from acestep_like.training.corpus.song import Song


def captions(song: Song, rng: random.Random, count: int) -> list[str]:
    """Different descriptions of one song."""
    return [f"{song.mood} {song.style} with {rng.choice(song.tracks).name}" for _ in range(count)]


def query(song: Song, rng: random.Random) -> str:
    """A request in natural language."""
    return f"make me a {song.mood} {song.style} song"


def metadata(song: Song) -> dict[str, object]:
    """The metadata of phase 1: bpm, keyscale, timesignature, duration, language, genres, caption."""
    plan = song.plan
    assert plan.keyscale is not None
    return {
        "bpm": round(plan.bpm or 0), "keyscale": plan.keyscale.ace_name, "timesignature": plan.timesignature,
        "duration": round(plan.duration_s), "language": song.language, "genres": song.style,
        "caption": captions(song, random.Random(f"{song.seed}/caption"), 1)[0],
    }  # fmt: skip


def lyrics(song: Song) -> str:
    """Lyrics with section tags."""
    return "[Instrumental]"
