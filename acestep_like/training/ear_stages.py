"""The stages of the recipe that train the ears: for tempo, for style, key and meter, for tracks, and for plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acestep_like.training.data import Corpus
from acestep_like.training.settings import Settings, log, record
from acestep_like.training.stages import load_codes


def _train(settings: Settings, name: str, file: str, train: Callable[[Corpus, Path], dict[str, float]]) -> None:
    """Train an ear into a folder of its own and record what it hears; a finished one stays."""
    target = settings.work / name
    if (target / file).exists():
        return
    target.mkdir(exist_ok=True)
    record(settings, name, **train(Corpus.load(settings.work / "corpus"), target))


def stage_tempo(settings: Settings) -> None:
    """Train the ear for tempo that stands beside the language model."""
    from acestep_like.lm.tempo import FILE
    from acestep_like.training.tempo import train_tempo

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_tempo(corpus, load_codes(settings), target, steps=settings.steps(6) or 1500, log=log)

    _train(settings, "tempo", FILE, train)


def stage_ear(settings: Settings) -> None:
    """Train the ear for style, key, meter and tracks that stands beside the language model."""
    from acestep_like.lm.ear import FILE
    from acestep_like.lm.tempo import TempoEar
    from acestep_like.training.ear import train_ear

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        tempo = TempoEar.find(settings.work / "tempo")
        if tempo is None:
            raise RuntimeError("the stage ear needs the ear for tempo: run the stage tempo first")
        return train_ear(corpus, load_codes(settings), tempo, target, steps=settings.steps(6) or 3000, log=log)

    _train(settings, "ear", FILE, train)


def stage_track_ear(settings: Settings) -> None:
    """Train the ear for tracks that stands beside the codec."""
    from acestep_like.codec.track_ear import FILE
    from acestep_like.training.track_ear import train_track_ear

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_track_ear(corpus, target, steps=settings.steps(6) or 3000, log=log)

    _train(settings, "track_ear", FILE, train)


def stage_plan_ear(settings: Settings) -> None:
    """Train the ear for plans that stands beside the codec."""
    from acestep_like.codec.plan_ear import FILE
    from acestep_like.training.plan_ear import train_plan_ear

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_plan_ear(corpus, target, steps=settings.steps(4) or 1600, log=log)

    _train(settings, "plan_ear", FILE, train)
