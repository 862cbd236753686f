"""The settings of one run of the recipe."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

MINI, MINI_LM, EVALUATOR = "acestep-mini", "acestep-mini-5Hz-lm", "acestep-mini-evaluator"
"""Names of the finished folders."""


@dataclass(frozen=True)
class Settings:
    """One run of the recipe. Minutes are the time budgets of the stages."""

    work: Path
    out: Path
    soundfont: Path
    device: str = "cpu"
    workers: int = 0
    songs: int = 6000
    first_song: int = 0
    """Index of the first song in the training split: several runs can build parts of one corpus."""
    corpus_minutes: float = 4.0
    codec_minutes: float = 8.0
    tokenizer_minutes: float = 2.0
    text_minutes: float | None = None
    """Of the text encoder's warm-up; None is what its device needs (see `warm_up_minutes`)."""
    dit_minutes: float = 12.0
    lm_minutes: float = 9.0
    lm_words: int = 2000
    """Songs that the language model reads but nobody renders."""
    evaluator_minutes: float = 2.5
    evaluator_songs: int = 3000
    waves: int = 700
    shards: int = 1
    song_s: tuple[float, float] | None = None
    """Bounds of the songs' lengths in seconds; None lets the composer choose (40 to 64)."""
    stem_share: float = 0.4
    twin_share: float = 0.15
    """Share of songs that play the plan of another in another style: what a cover shall do."""
    batch: int = 512
    compiled: bool = False
    quick: bool = False
    total_minutes: float | None = None
    """When set, the DiT trains until about a minute before so much time has passed since the start."""
    start: Path | None = None
    """A finished `acestep-mini` folder to go on from: its codec and codes stay, the DiT trains further."""

    @staticmethod
    def quick_run(work: Path, out: Path, soundfont: Path) -> Settings:
        """The whole recipe in about a minute on a CPU: proves that it runs, not that it learns."""
        return Settings(work, out, soundfont, songs=4, waves=4, batch=8, quick=True)

    @property
    def warm_up_minutes(self) -> float:
        """A processor core needs ten times what a GPU does; with less the finished model hardly follows words."""
        if self.text_minutes is not None:
            return self.text_minutes
        return 7.0 if self.device == "cpu" else 0.7

    def steps(self, count: int) -> int | None:
        """A fixed small number of steps in the quick mode, else None (the minutes decide)."""
        return count if self.quick else None


def record(settings: Settings, stage: str, **facts: Any) -> None:
    """Note what a stage did, for the model card; stages may run beside each other, so each has a file of its own."""
    folder = settings.work / "provenance"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{stage}.tmp"
    part.write_text(json.dumps({**facts, "date": date.today().isoformat()}) + "\n")
    os.replace(part, folder / f"{stage}.json")


def recorded(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the stages noted, by stage."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((settings.work / "provenance").glob("*.json"))}


def log(line: str) -> None:
    """One line with the clock, flushed, so that a log file can be followed."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)
