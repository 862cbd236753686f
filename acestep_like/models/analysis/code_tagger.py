"""Taggers beside a small language model: what a row of 5 Hz codes says of style, key, meter and tracks.

A language model of a few million weights learns the names of a few hundred songs, not how they sound. Two networks do
that here, and their logits add up. One reads which codes occur, and how often: the square roots of their shares
(Hellinger's distance between bags of codes) through one hidden layer. The other reads what they sound like: each
code stands for the mean latents of its five frames in the training songs, over which two convolutions run, pooled over
time.
Tempo and meter are in the order of the codes: the tempo has a tagger of its own (`analysis/code_tempo.py`), and at its
beats the meter is read from what repeats. Made by `training/code_tagger.py`, kept as `ear.safetensors` beside the
model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from acestep_like.errors import CheckpointError
from acestep_like.models.analysis.code_tempo import TempoTagger
from acestep_like.models.analysis.track_tagger import over_time
from acestep_like.models.checkpoints.small_networks import read_whole, write_half
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.theory import PITCH_NAMES, TIME_SIGNATURES

FILE = "ear.safetensors"
_KEYS = tuple(f"{tonic} {mode}" for tonic in PITCH_NAMES for mode in ("major", "minor"))
_FEWEST_CODES, _WINDOW = 20, 100
"""Four seconds, the shortest that is enough; and twenty, what is read at once."""
_SCALE = 10.0


@dataclass(frozen=True)
class CodeFacts:
    """What a tagger makes of some codes: a genre in words, a key such as `A minor`, a meter of `music.TIME_SIGNATURES`,
    and the track classes that more likely sound than not, the likeliest first."""

    genre: str
    keyscale: str
    timesignature: str
    tracks: tuple[str, ...]


def _windows(codes: torch.Tensor) -> torch.Tensor:
    """Codes [n] as evenly spaced windows [k, at most _WINDOW] that cover them."""
    count, length = math.ceil(len(codes) / _WINDOW), min(len(codes), _WINDOW)
    starts = torch.linspace(0, len(codes) - length, count, dtype=torch.float32).round().long()
    return codes[starts[:, None] + torch.arange(length)]


def bags_of(codes: torch.Tensor, count: int) -> torch.Tensor:
    """Codes [B, n] below `count` as the square roots of their shares [B, count]."""
    ones = torch.ones(codes.shape, dtype=torch.float32)
    return (torch.zeros(len(codes), count, dtype=torch.float32).scatter_add_(1, codes, ones) / codes.shape[1]).sqrt()


class CodeTagger(nn.Module):
    """From codes, and from what repeats at the beats, to style, key, meter and tracks.

    Args:
        mean: of the bags of the training songs [codes].
        sounds: what each code sounds like [codes, D].
        genres: the name of every style.
        beat_mean, beat_scale: mean and deviation of `TempoTagger.at_beats` over the training songs [F].
    """

    mean: torch.Tensor
    sounds: torch.Tensor
    beat_mean: torch.Tensor
    beat_scale: torch.Tensor

    def __init__(
        self,
        mean: torch.Tensor,
        sounds: torch.Tensor,
        genres: Sequence[str],
        beat_mean: torch.Tensor,
        beat_scale: torch.Tensor,
        width: int = 256,
        sound_width: int = 128,
        beat_width: int = 64,
    ) -> None:
        super().__init__()
        for name, known in (("mean", mean), ("sounds", sounds), ("beat_mean", beat_mean), ("beat_scale", beat_scale)):
            self.register_buffer(name, known.float())
        self.genres = tuple(genres)
        self.sizes = (len(self.genres), len(_KEYS), len(TIME_SIGNATURES), len(TRACK_NAMES))
        self.hidden = nn.Linear(len(mean), width)
        self.out = nn.Linear(width, sum(self.sizes))
        self.near = nn.Conv1d(sounds.shape[1], sound_width, 3, padding=1)
        self.wide = nn.Conv1d(sound_width, sound_width, 5, padding=2)
        self.pooled = nn.Linear(3 * sound_width, sum(self.sizes))
        self.beats = nn.Linear(len(beat_mean), beat_width)
        self.meter = nn.Linear(beat_width, len(TIME_SIGNATURES))

    def forward(
        self, codes: torch.Tensor, beats: torch.Tensor | None, dropout: float = 0.0
    ) -> tuple[torch.Tensor, ...]:
        """Codes [B, n] and, where a tempo is known, what repeats at its beats [B, F], to logits over genres, keys,
        meters (each [B, k]) and of every track [B, 12]. `dropout` is the bag's; the others need less."""

        def dropped(x: torch.Tensor, share: float = 1.0) -> torch.Tensor:
            return F.dropout(x, share * dropout, self.training)

        hidden = F.gelu(self.hidden((bags_of(codes, len(self.mean)) - self.mean) * _SCALE))
        sound = dropped(self.sounds[codes], 0.3).transpose(1, 2)
        pooled = over_time(sound, self.near, self.wide, lambda x: dropped(x, 0.3))
        logits = self.out(dropped(hidden)) + self.pooled(dropped(pooled, 0.6))
        genres, keys, meters, tracks = logits.split(self.sizes, dim=1)
        if beats is not None:
            scaled = dropped((beats - self.beat_mean) / self.beat_scale, 0.6)
            meters = meters + self.meter(dropped(F.gelu(self.beats(scaled)), 0.6))
        return genres, keys, meters, tracks

    @torch.no_grad()
    def detect(self, codes: Sequence[int], beats: torch.Tensor | None = None) -> CodeFacts | None:
        """The most probable of everything, or None where there are too few codes; `beats` [F]."""
        if len(codes) < _FEWEST_CODES:
            return None
        found = self(_windows(torch.tensor(codes)), None if beats is None else beats[None])
        genre, key, meter, tracks = (part.mean(0) for part in found)
        order = tracks.argsort(descending=True).tolist()
        return CodeFacts(
            self.genres[int(genre.argmax())],
            _KEYS[int(key.argmax())],
            TIME_SIGNATURES[int(meter.argmax())],
            tuple(TRACK_NAMES[k] for k in order if float(tracks[k]) > 0),
        )

    def save(self, folder: Path) -> None:
        """Write `ear.safetensors` in float16, atomically."""
        write_half(self, folder / FILE, {"genres": json.dumps(self.genres)})

    @classmethod
    def find(cls, folder: Path) -> CodeTagger | None:
        """The tagger that lies beside a model, on the CPU; None when there is none.

        Raises:
            CheckpointError: its file is damaged.
        """

        def make(state: dict[str, torch.Tensor], facts: dict[str, str]) -> CodeTagger:
            widths = (len(state[f"{layer}.bias"]) for layer in ("hidden", "near", "beats"))
            genres = json.loads(facts.get("genres", "[]"))
            return cls(state["mean"], state["sounds"], genres, state["beat_mean"], state["beat_scale"], *widths)

        return read_whole(folder / FILE, make)


@dataclass(frozen=True)
class CodeTaggers:
    """The taggers of a model; each may be missing."""

    tempo: TempoTagger | None = None
    content: CodeTagger | None = None

    @staticmethod
    def find(folder: Path, codes: int) -> CodeTaggers:
        """The taggers in a model's folder.

        Raises:
            CheckpointError: one of them belongs to a model with another number of codes.
        """
        taggers = CodeTaggers(TempoTagger.find(folder), CodeTagger.find(folder))
        for name, table in (
            ("for tempo", None if taggers.tempo is None else taggers.tempo.table),
            ("for style and key", None if taggers.content is None else taggers.content.mean),
        ):
            if table is not None and len(table) != codes:
                raise CheckpointError(
                    f"The tagger {name} in {folder.name} knows {len(table)} codes, the tokenizer {codes}:"
                    " it belongs to another model."
                )
        return taggers

    @property
    def genres(self) -> tuple[str, ...]:
        """The genres, in words, that can be detected."""
        return () if self.content is None else self.content.genres

    def bpm(self, codes: Sequence[int]) -> int | None:
        """The tempo, where there is a tagger for it and enough codes."""
        return None if self.tempo is None else self.tempo.bpm(codes)

    def detect(self, codes: Sequence[int], bpm: float | None = None) -> CodeFacts | None:
        """Style, key, meter and tracks, where there is a tagger for them and enough codes; a known tempo makes the
        meter surer."""
        if self.content is None:
            return None
        at_beats = None if bpm is None or self.tempo is None else self.tempo.at_beats(torch.tensor(codes), bpm)
        return self.content.detect(codes, at_beats)
