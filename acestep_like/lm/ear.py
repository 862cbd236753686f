"""Ears beside a small language model: what a row of 5 Hz codes says of style, key, meter and tracks.

A language model of a few million weights learns from a few hundred songs what they are called, not what it hears.
Which codes occur, and how often, is enough: the square roots of their shares (Hellinger's distance between bags of
codes) go through one hidden layer to the style, the key, the meter and each track class. Tempo and meter are in their
order: the tempo has an ear of its own (`lm/tempo.py`), and at its beats the meter is read from what repeats. Made by
`training/ear.py`, kept as `ear.safetensors` beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from acestep_like.checkpoints.small import read_whole, write_half
from acestep_like.errors import CheckpointError
from acestep_like.lm.tempo import TempoEar
from acestep_like.music import PITCH_NAMES, TIME_SIGNATURES
from acestep_like.tasks import TRACK_NAMES

FILE = "ear.safetensors"
_KEYS = tuple(f"{tonic} {mode}" for tonic in PITCH_NAMES for mode in ("major", "minor"))
_FEWEST_CODES = 20
"""Four seconds; in less nothing can be told."""
_SCALE = 10.0


@dataclass(frozen=True)
class Heard:
    """What an ear makes of some codes: a genre in words, a key such as `A minor`, a meter of `music.TIME_SIGNATURES`,
    and the track classes that more likely sound than not, the likeliest first."""

    genre: str
    keyscale: str
    timesignature: str
    tracks: tuple[str, ...]


def bag_of(codes: torch.Tensor, count: int) -> torch.Tensor:
    """Codes [n] below `count` as the square roots of their shares [count]."""
    return (torch.bincount(codes, minlength=count) / len(codes)).sqrt()


class CodeEar(nn.Module):
    """From a bag of codes, and from what repeats at the beats, to style, key, meter and tracks.

    Args:
        mean: of the bags of the training songs [codes].
        genres: the name of every style.
        beat_mean, beat_scale: mean and deviation of `TempoEar.at_beats` over the training songs [F].
    """

    def __init__(
        self,
        mean: torch.Tensor,
        genres: Sequence[str],
        beat_mean: torch.Tensor,
        beat_scale: torch.Tensor,
        width: int = 256,
        beat_width: int = 64,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("beat_mean", beat_mean.float())
        self.register_buffer("beat_scale", beat_scale.float())
        self.genres = tuple(genres)
        self.sizes = (len(self.genres), len(_KEYS), len(TIME_SIGNATURES), len(TRACK_NAMES))
        self.hidden = nn.Linear(len(mean), width)
        self.out = nn.Linear(width, sum(self.sizes))
        self.beats = nn.Linear(len(beat_mean), beat_width)
        self.meter = nn.Linear(beat_width, len(TIME_SIGNATURES))

    def forward(self, bags: torch.Tensor, beats: torch.Tensor | None, dropout: float = 0.0) -> tuple[torch.Tensor, ...]:
        """Bags [B, codes] and, where a tempo is known, what repeats at its beats [B, F], to logits over genres, keys,
        meters (each [B, n]) and of every track [B, 12]."""
        hidden = F.gelu(self.hidden((bags - self.mean) * _SCALE))
        genres, keys, meters, tracks = self.out(F.dropout(hidden, dropout, self.training)).split(self.sizes, dim=1)
        if beats is not None:
            scaled = F.dropout((beats - self.beat_mean) / self.beat_scale, 0.6 * dropout, self.training)
            meters = meters + self.meter(F.dropout(F.gelu(self.beats(scaled)), 0.6 * dropout, self.training))
        return genres, keys, meters, tracks

    @torch.no_grad()
    def hear(self, codes: Sequence[int], beats: torch.Tensor | None = None) -> Heard | None:
        """The most probable of everything, or None where there are too few codes to tell; `beats` [F]."""
        if len(codes) < _FEWEST_CODES:
            return None
        found = self(bag_of(torch.tensor(codes), len(self.mean))[None], None if beats is None else beats[None])
        genre, key, meter, tracks = (part[0] for part in found)
        order = tracks.argsort(descending=True).tolist()
        return Heard(
            self.genres[int(genre.argmax())],
            _KEYS[int(key.argmax())],
            TIME_SIGNATURES[int(meter.argmax())],
            tuple(TRACK_NAMES[k] for k in order if float(tracks[k]) > 0),
        )

    def save(self, folder: Path) -> None:
        """Write `ear.safetensors` in float16, atomically."""
        write_half(self, folder / FILE, {"genres": json.dumps(self.genres)})

    @classmethod
    def find(cls, folder: Path) -> CodeEar | None:
        """The ear that lies beside a model, on the CPU; None when there is none.

        Raises:
            CheckpointError: its file is damaged.
        """

        def make(state: dict[str, torch.Tensor], facts: dict[str, str]) -> CodeEar:
            widths = len(state["hidden.bias"]), len(state["beats.bias"])
            genres = json.loads(facts.get("genres", "[]"))
            return cls(state["mean"], genres, state["beat_mean"], state["beat_scale"], *widths)

        return read_whole(folder / FILE, make)


@dataclass(frozen=True)
class Ears:
    """The ears of a model; each may be missing."""

    tempo: TempoEar | None = None
    content: CodeEar | None = None

    @staticmethod
    def find(folder: Path, codes: int) -> Ears:
        """The ears in a model's folder.

        Raises:
            CheckpointError: one of them belongs to a model with another number of codes.
        """
        ears = Ears(TempoEar.find(folder), CodeEar.find(folder))
        for name, table in (
            ("for tempo", None if ears.tempo is None else ears.tempo.table),
            ("for style and key", None if ears.content is None else ears.content.mean),
        ):
            if table is not None and len(table) != codes:
                raise CheckpointError(
                    f"The ear {name} in {folder.name} knows {len(table)} codes, the tokenizer {codes}:"
                    " it belongs to another model."
                )
        return ears

    def bpm(self, codes: Sequence[int]) -> int | None:
        """The tempo, where there is an ear for it and enough to hear."""
        return None if self.tempo is None else self.tempo.bpm(codes)

    def hear(self, codes: Sequence[int], bpm: float | None = None) -> Heard | None:
        """Style, key, meter and tracks, where there is an ear for them and enough to hear; a known tempo tells the
        meter better."""
        if self.content is None:
            return None
        at_beats = None if bpm is None or self.tempo is None else self.tempo.at_beats(torch.tensor(codes), bpm)
        return self.content.hear(codes, at_beats)
