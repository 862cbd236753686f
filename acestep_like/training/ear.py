"""Train the ear for style, key, meter and tracks (`lm/ear.py`) on the codes of the corpus.

Bags of stretches from 8 to 30 s, from all five frame offsets; heavy dropout and weight decay, since there are few
songs. No augmentation: what a code sounds like is fixed. What repeats at the beats is taken at the songs' true tempi.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from acestep_like.lm.ear import CodeEar, bag_of
from acestep_like.lm.tempo import TempoEar
from acestep_like.training.corpus.genres import NAMES
from acestep_like.training.corpus.styles import STYLES
from acestep_like.training.data import Corpus, split
from acestep_like.training.lm_facts import TRACKS, facts_of, track_bits
from acestep_like.training.loop import learning_rate

_SHORTEST, _LONGEST = 40, 150
_STRETCHES = 6
"""Of every song."""
_TRACKS_WEIGHT = 4.0
_DROPOUT = 0.5


Examples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Bags [n, codes], what repeats at the beats [n, F], facts [n, 4]."""


def _examples(
    count: int, tempo: TempoEar, corpus: Corpus, codes: list[np.ndarray], songs: list[int], seed: int
) -> Examples:
    """Random stretches of songs; `count` is the size of the codebook."""
    rng = np.random.default_rng(seed)
    found = []
    for index in songs:
        row = corpus.rows[index]
        known = torch.from_numpy(facts_of(row.style, tuple(row.tracks), row.metadata, heard=True)).long()
        for k in range(_STRETCHES):
            line = codes[index][k % len(codes[index])].astype(np.int64)
            length = min(len(line), int(rng.integers(_SHORTEST, _LONGEST + 1)))
            start = int(rng.integers(0, len(line) - length + 1))
            stretch = torch.from_numpy(line[start : start + length])
            found.append((bag_of(stretch, count), tempo.at_beats(stretch, float(row.metadata["bpm"])), known))
    bags, beats, facts = (torch.stack(column) for column in zip(*found, strict=True))
    return bags, beats, facts


def train_ear(
    corpus: Corpus,
    codes: list[np.ndarray],
    tempo: TempoEar,
    folder: Path,
    *,
    steps: int = 600,
    code_count: int = 1024,
    held_out_every: int = 16,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train an ear and save it to `folder`. Answers its accuracies on held-out songs, chance beside them.

    Args:
        codes: of every song, int [5, n], one row a frame offset.
        tempo: the ear for tempo, whose curves tell what repeats.
    """
    known, held = split(len(corpus.rows), held_out_every)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        bags, beats, facts = _examples(code_count, tempo, corpus, codes, known, seed=1)
        genres = [NAMES[style][0] for style in STYLES]
        ear = CodeEar(bags.mean(dim=0), genres, beats.mean(dim=0), beats.std(dim=0) + 1e-3)
        optimizer = torch.optim.AdamW(ear.parameters(), lr=1e-3, weight_decay=0.3)
        ear.train()
        for step in range(steps):
            pick = torch.randint(len(bags), (128,))
            *named, tracks = ear(bags[pick], beats[pick], dropout=_DROPOUT)
            losses = [
                F.cross_entropy(logits, facts[pick, column], ignore_index=-1) for column, logits in enumerate(named)
            ]
            sounding = F.binary_cross_entropy_with_logits(tracks, track_bits(facts[pick, TRACKS]))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(1e-3, step / steps, step, warmup_steps=20, flat=0.3)
            optimizer.zero_grad(set_to_none=True)
            (torch.stack(losses).sum() + _TRACKS_WEIGHT * sounding).backward()
            optimizer.step()
    ear.eval()
    report = _measure(ear, *_examples(code_count, tempo, corpus, codes, held, seed=2))
    report |= {"songs": len(known), "held_out_songs": len(held), "steps": steps}
    ear.save(folder)
    log(f"ear: {report}")
    return report


@torch.no_grad()
def _measure(ear: CodeEar, bags: torch.Tensor, beats: torch.Tensor, facts: torch.Tensor) -> dict[str, float]:
    *named, tracks = ear(bags, beats)
    others = facts.roll(len(facts) // 2, dims=0)
    report = {}
    for column, (name, logits) in enumerate(zip(("style", "key", "meter"), named, strict=True)):
        said = logits.argmax(dim=1)
        report[name] = round(float((said == facts[:, column]).float().mean()), 4)
        report[f"{name}_chance"] = round(float((said == others[:, column]).float().mean()), 4)
    said = tracks > 0
    for name, truth in (("tracks", facts), ("tracks_chance", others)):
        true = track_bits(truth[:, TRACKS]).bool()
        report[name] = round(float((said & true).sum() / said.sum().clamp(min=1)), 4)
    return report
