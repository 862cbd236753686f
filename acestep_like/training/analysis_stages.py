"""The stages of the recipe that train the ears: for tempo, for style, key and meter, for tracks, and for plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acestep_like.models.analysis import code_tagger, code_tempo, structure_tagger, track_tagger
from acestep_like.models.analysis.code_tempo import TempoEar
from acestep_like.training.code_tagger import train_ear
from acestep_like.training.code_tempo import train_tempo
from acestep_like.training.data import Corpus
from acestep_like.training.settings import Settings, log, record
from acestep_like.training.stages import load_codes
from acestep_like.training.structure_tagger import train_plan_ear
from acestep_like.training.track_tagger import train_track_ear


def _train(settings: Settings, name: str, file: str, train: Callable[[Corpus, Path], dict[str, float]]) -> None:
    """Train an ear into a folder of its own and record what it hears; a finished one stays."""
    target = settings.work / name
    if (target / file).exists():
        return
    target.mkdir(exist_ok=True)
    record(settings, name, **train(Corpus.load(settings.work / "corpus"), target))


def stage_tempo(settings: Settings) -> None:
    """Train the ear for tempo that stands beside the language model."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_tempo(corpus, load_codes(settings), target, steps=settings.steps(6) or 1500, log=log)

    _train(settings, "tempo", code_tempo.FILE, train)


def stage_ear(settings: Settings) -> None:
    """Train the ear for style, key, meter and tracks that stands beside the language model."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        tempo = TempoEar.find(settings.work / "tempo")
        if tempo is None:
            raise RuntimeError("the stage ear needs the ear for tempo: run the stage tempo first")
        return train_ear(corpus, load_codes(settings), tempo, target, steps=settings.steps(6) or 3000, log=log)

    _train(settings, "ear", code_tagger.FILE, train)


def stage_track_ear(settings: Settings) -> None:
    """Train the ear for tracks that stands beside the codec."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_track_ear(corpus, target, steps=settings.steps(6) or 3000, log=log)

    _train(settings, "track_ear", track_tagger.FILE, train)


def stage_plan_ear(settings: Settings) -> None:
    """Train the ear for plans that stands beside the codec."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_plan_ear(corpus, target, steps=settings.steps(4) or 1600, log=log)

    _train(settings, "plan_ear", structure_tagger.FILE, train)
