"""The stages of the recipe that train the taggers: for tempo, for style, key and meter, for tracks, and for plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acestep_like.models.analysis import code_tagger, code_tempo, structure_tagger, track_tagger
from acestep_like.models.analysis.code_tempo import TempoTagger
from acestep_like.training.code_tagger import train_code_tagger
from acestep_like.training.code_tempo import train_tempo
from acestep_like.training.data import Corpus
from acestep_like.training.settings import Settings, log, record
from acestep_like.training.stages import load_codes
from acestep_like.training.structure_tagger import train_structure_tagger
from acestep_like.training.track_tagger import train_track_tagger


def _train(settings: Settings, name: str, file: str, train: Callable[[Corpus, Path], dict[str, float]]) -> None:
    """Train a tagger into a folder of its own and record how well it detects; a finished one stays."""
    target = settings.work / name
    if (target / file).exists():
        return
    target.mkdir(exist_ok=True)
    record(settings, name, **train(Corpus.load(settings.work / "corpus"), target))


def stage_code_tempo(settings: Settings) -> None:
    """Train the tagger for tempo that stands beside the language model."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_tempo(corpus, load_codes(settings), target, steps=settings.steps(6) or 1500, log=log)

    _train(settings, "code_tempo", code_tempo.FILE, train)


def stage_code_tagger(settings: Settings) -> None:
    """Train the tagger for style, key, meter and tracks that stands beside the language model."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        tempo = TempoTagger.find(settings.work / "code_tempo")
        if tempo is None:
            raise RuntimeError("the stage code_tagger needs the tagger for tempo: run the stage code_tempo first")
        return train_code_tagger(corpus, load_codes(settings), tempo, target, steps=settings.steps(6) or 3000, log=log)

    _train(settings, "code_tagger", code_tagger.FILE, train)


def stage_track_tagger(settings: Settings) -> None:
    """Train the tagger for tracks that stands beside the codec."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_track_tagger(corpus, target, steps=settings.steps(6) or 3000, log=log)

    _train(settings, "track_tagger", track_tagger.FILE, train)


def stage_structure_tagger(settings: Settings) -> None:
    """Train the tagger for plans that stands beside the codec."""

    def train(corpus: Corpus, target: Path) -> dict[str, float]:
        return train_structure_tagger(corpus, target, steps=settings.steps(4) or 1600, log=log)

    _train(settings, "structure_tagger", structure_tagger.FILE, train)
