"""Measure one clip against its plan, and many clips as one table of figures with error bars and chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from acestep_like.audio import features
from acestep_like.evaluation import adherence
from acestep_like.evaluation.prompts import HeldOutPrompt
from acestep_like.models.analysis.evaluator import Evaluator, frechet_distance, mean_average_precision
from acestep_like.music.song_plan import SongPlan
from acestep_like.music.theory import ACE_MODE, KeyScale
from acestep_like.types.units import SAMPLE_RATE

TEMPO_TOLERANCE = 0.04

Measures = dict[str, Any]
"""What was measured in one clip, as JSON values."""


def measure_clip(audio: torch.Tensor, plan: SongPlan, decoy: SongPlan, evaluator: Evaluator) -> Measures:
    """Measure a clip [2, N] at 48 kHz.

    Args:
        plan: what it was asked to play.
        decoy: the plan of another song; what is measured against it is the chance level.
    """
    samples = audio.detach().cpu().float()
    end_s = samples.shape[-1] / SAMPLE_RATE
    mono = features.to_mono(samples, SAMPLE_RATE)
    rate = features.ANALYSIS_RATE
    tempo = features.estimate_tempo(mono, rate)
    chroma = features.chromagram(mono, rate)
    scores = features.key_scores(chroma)
    key = max(scores, key=lambda entry: scores[entry])
    novelty = adherence.bar_novelty(adherence.bar_features(mono, rate, plan))
    meter = adherence.meter_evidence(mono, rate, chroma, plan.bpm or 120.0)
    detected = evaluator.judge(samples)
    bars = len(novelty) + 1
    return {
        "bpm": round(tempo.bpm, 2),
        "tempo_confidence": round(tempo.confidence, 3),
        "degrees": [int(hit) for hit in adherence.degree_accuracy(chroma, plan, end_s)],
        "decoy_degrees": [int(hit) for hit in adherence.degree_accuracy(chroma, decoy, end_s)],
        "tonic": key.tonic,
        "mode": key.mode,
        "timesignature": meter.timesignature,
        "sections": _rounded(adherence.section_hits(novelty, adherence.section_lines(plan, bars))),
        "section_chance": adherence.section_chance(novelty),
        "style": detected.top_style,
        "style_share": _rounded(detected.style.values()),
        "tracks": {name: round(value, 4) for name, value in detected.tracks.items()},
        "pace": max(detected.pace, key=lambda name: detected.pace[name]),
        "embedding": _rounded(detected.embedding.tolist()),
        "rms": round(float(samples.square().mean().sqrt()), 5),
    }


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 3) for value in values]


def tempo_agrees(detected: float, asked: float, timesignature: str = "4", tolerance: float = TEMPO_TOLERANCE) -> bool:
    """Whether two tempi are within a tolerance, or an octave apart.

    In 6/8, where `asked` counts dotted quarters, the pulse of quarters and of eighths counts as well.
    """
    factors = (1 / 2, 1, 2, 3 / 2, 3 / 4, 3) if timesignature == "6" else (1 / 2, 1, 2)
    return any(abs(detected / factor / asked - 1) < tolerance for factor in factors)


def same_notes(tonic: int, mode: str, asked: KeyScale) -> bool:
    """Whether a detected key has the notes of the asked one; harmonic minor counts as the natural minor."""
    natural = {"harmonic minor": "minor"}
    plain = KeyScale(asked.tonic, natural.get(asked.mode, asked.mode))
    return set(KeyScale(tonic, natural.get(mode, mode)).pitch_classes) == set(plain.pitch_classes)


@dataclass(frozen=True)
class Figure:
    """One measured figure: value, its standard error (bootstrap over clips), the level of chance, clips."""

    name: str
    value: float | None
    error: float | None
    chance: float | None
    count: int

    def shown(self) -> str:
        """The value with its error, as text."""
        if self.value is None:
            return "-"
        return f"{self.value:.3f}" + (f" ±{self.error:.3f}" if self.error is not None else "")


Pair = tuple[Measures, HeldOutPrompt]


def _share(
    name: str, clips: Sequence[Measures], asked: Sequence[HeldOutPrompt], hit: Callable[..., bool], rng: Any
) -> Figure:
    """Share of clips for which `hit(measures, prompt)` holds; chance shuffles the prompts."""
    if not clips:
        return Figure(name, None, None, None, 0)
    hits = np.array([hit(clip, prompt) for clip, prompt in zip(clips, asked, strict=True)], float)
    shuffled = []
    for _ in range(40):
        order = rng.permutation(len(clips))
        shuffled.append(np.mean([hit(clips[i], asked[j]) for i, j in enumerate(order)]))
    return Figure(name, float(hits.mean()), _bootstrap(hits, rng), float(np.mean(shuffled)), len(clips))


def _bootstrap(values: np.ndarray, rng: Any, rounds: int = 500) -> float | None:
    """Standard error of the mean by resampling."""
    if len(values) < 2:
        return None
    index = rng.integers(0, len(values), (rounds, len(values)))
    return float(values[index].mean(axis=1).std())


def _degrees(clips: Sequence[Measures]) -> float | None:
    """Chance level of the bars' degrees: detected against the plan of another song."""
    hits = [hit for clip in clips for hit in clip["decoy_degrees"]]
    return float(np.mean(hits)) if hits else None


def _lines(clips: Sequence[Measures]) -> float | None:
    """Chance level of the section lines: a line taken at random."""
    levels = [clip["section_chance"] for clip in clips if clip["sections"] and clip["section_chance"]]
    return float(np.mean(levels)) if levels else None


def _per_bar(name: str, clips: Sequence[Measures], field: str, chance: float | None, rng: Any) -> Figure:
    """Share of bars (or lines) whose value is 1, resampled by clip."""
    groups = [np.array(clip[field]) >= 1 for clip in clips if clip[field]]
    if not groups:
        return Figure(name, None, None, None, 0)
    sums, sizes = np.array([group.sum() for group in groups]), np.array([len(group) for group in groups])
    index = rng.integers(0, len(groups), (500, len(groups)))
    spread = float((sums[index].sum(axis=1) / sizes[index].sum(axis=1)).std())
    return Figure(name, float(sums.sum() / sizes.sum()), spread, chance, int(sizes.sum()))


def figures(clips: Sequence[Measures], prompts: Sequence[HeldOutPrompt], seed: int = 0) -> dict[str, Figure]:
    """All figures of a set of clips against the prompts they were made from, by name."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(clips, prompts, strict=True))

    def tempo(clip: Measures, prompt: HeldOutPrompt) -> bool:
        return tempo_agrees(clip["bpm"], prompt.bpm, prompt.timesignature)

    drums = [pair for pair in pairs if "drums" in pair[1].tracks]
    others = [pair for pair in pairs if "drums" not in pair[1].tracks]
    found = [
        _share("tempo, styles with drums", [a for a, _ in drums], [b for _, b in drums], tempo, rng),
        _share("tempo, no drums", [a for a, _ in others], [b for _, b in others], tempo, rng),
        _share("tempo, exact octave", clips, prompts, lambda c, p: abs(c["bpm"] / p.bpm - 1) < TEMPO_TOLERANCE, rng),
        _per_bar("chord degree of the bar", clips, "degrees", _degrees(clips), rng),
        _share("key (notes of the scale)", clips, prompts, _key_hit, rng),
        _share("key (tonic and third)", clips, prompts, _tonic_hit, rng),
        _share("style", clips, prompts, lambda c, p: c["style"] == p.style, rng),
        _instruments(clips, prompts, rng),
        _share("time signature", clips, prompts, lambda c, p: c["timesignature"] == p.timesignature, rng),
        _per_bar("greatest change where a section begins", clips, "sections", _lines(clips), rng),
    ]
    return {figure.name: figure for figure in found}


def _key_hit(clip: Measures, prompt: HeldOutPrompt) -> bool:
    assert prompt.plan.keyscale is not None
    return same_notes(clip["tonic"], clip["mode"], prompt.plan.keyscale)


def _tonic_hit(clip: Measures, prompt: HeldOutPrompt) -> bool:
    key = prompt.plan.keyscale
    assert key is not None
    return clip["tonic"] == key.tonic and ACE_MODE[clip["mode"]] == ACE_MODE[key.mode]


def _instruments(clips: Sequence[Measures], prompts: Sequence[HeldOutPrompt], rng: Any) -> Figure:
    """Mean average precision over the track classes: how well detected instruments are ranked by being asked for."""
    name = "instruments, mean AP"
    if not clips:
        return Figure(name, None, None, None, 0)
    labels = list(clips[0]["tracks"])
    scores = np.array([[clip["tracks"][label] for label in labels] for clip in clips])
    asked = np.array([[label in prompt.tracks for label in labels] for prompt in prompts])

    def over(index: np.ndarray, order: np.ndarray) -> float:
        return mean_average_precision(scores[index], asked[order])

    whole = np.arange(len(clips))
    value = over(whole, whole)
    if np.isnan(value):
        return Figure(name, None, None, None, len(clips))
    spread = [over(index, index) for index in rng.integers(0, len(clips), (100, len(clips)))]
    chance = [over(whole, rng.permutation(len(clips))) for _ in range(20)]
    return Figure(name, value, float(np.nanstd(spread)), float(np.mean(chance)), len(clips))


def embeddings(clips: Sequence[Measures]) -> np.ndarray:
    """The evaluator's embeddings of clips [N, D]."""
    return np.array([clip["embedding"] for clip in clips])


def distance(clips: Sequence[Measures], real: Sequence[Measures]) -> float | None:
    """Frechet distance of two sets of clips in the evaluator's embedding; None for fewer than 24 clips."""
    if min(len(clips), len(real)) < 24:
        return None
    return frechet_distance(embeddings(clips), embeddings(real))
