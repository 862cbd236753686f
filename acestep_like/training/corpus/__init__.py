"""The songs that the mini model learns from: composed (`music/composer`), rendered, mixed and described, by seed.

song = compose(7, style="jazz")                      # notes, plan, tags; standard library only
stems = Synth(soundfont).render(song)                # dry stems by track class, numpy
mixed = mix({name: torch.from_numpy(x) for name, x in stems.items()}, song)   # wet stems and their exact sum
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from acestep_like.music.styles import STYLES
from acestep_like.training.corpus.captions import captions, metadata, query, random_caption, vocabulary
from acestep_like.training.corpus.compose import compose
from acestep_like.training.corpus.render import Synth, find_soundfont, measure_speed
from acestep_like.training.corpus.song import Song
from acestep_like.training.corpus.verses import lyrics

if TYPE_CHECKING:
    from acestep_like.training.corpus.mixing import MixedSong, mix

SPLITS: dict[str, range] = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""Seeds by split; disjoint."""

__all__ = [
    "SPLITS",
    "STYLES",
    "MixedSong",
    "Song",
    "Synth",
    "captions",
    "compose",
    "find_soundfont",
    "lyrics",
    "measure_speed",
    "metadata",
    "mix",
    "query",
    "random_caption",
    "vocabulary",
]


def __getattr__(name: str) -> Any:
    """Mixing needs torch, which rendering workers do without: it is imported when first asked for."""
    if name in ("mix", "MixedSong"):
        return getattr(importlib.import_module("acestep_like.training.corpus.mixing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
