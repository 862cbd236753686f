"""Train the tagger for tempo (`models/analysis/code_tempo.py`) on the codes, labels and latents of the corpus.

Every song serves at many tempi: played faster by a factor, its autocorrelation is the same with its lags divided by it.
Without that a few hundred songs would be learned by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from acestep_like.models.analysis.code_tempo import RANGE_BPM, TempoTagger, at_lags, autocorrelation, tempi_bpm
from acestep_like.training.code_table import code_table
from acestep_like.training.data import Corpus, SongRow, split
from acestep_like.training.loop import learning_rate

_LEVELS = 8
"""The first latent channels, which carry most of the energy, serve as curves of level and of its rise."""
_SHORTEST, _LONGEST = 60, 160
"""Codes of a stretch of song: 12 to 32 s."""
_SPREAD_OCTAVES = 0.02


def _curves_of(corpus: Corpus) -> Callable[[SongRow], torch.Tensor]:
    """Curves of a song [frames, C]: onsets of kick, snare and others, then rises and levels of channels."""
    labels, latents = corpus.arrays["labels"][:, 24:27], corpus.arrays["latents"][:, :_LEVELS]

    def curves_of(row: SongRow) -> torch.Tensor:
        span = slice(row.start, row.start + row.frames)
        level = latents[span].float()
        rise = F.relu(level - torch.cat([level[:1], level[:-1]]))
        return torch.cat([labels[span].float(), rise, level], dim=1)

    return curves_of


def _stretches(
    tagger: TempoTagger, corpus: Corpus, codes: list[np.ndarray], songs: list[int], each: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Autocorrelations of random stretches of songs and their tempi."""
    rng = np.random.default_rng(seed)
    found, bpm = [], []
    for index in songs:
        for k in range(each):
            row = codes[index][k % len(codes[index])].astype(np.int64)
            length = min(len(row), int(rng.integers(_SHORTEST, _LONGEST + 1)))
            start = int(rng.integers(0, len(row) - length + 1))
            found.append(autocorrelation(tagger.curves(torch.from_numpy(row[start : start + length]))))
            bpm.append(float(corpus.rows[index].metadata["bpm"]))
    return torch.stack(found), torch.tensor(bpm)


def train_tempo(
    corpus: Corpus,
    codes: list[np.ndarray],
    folder: Path,
    *,
    steps: int = 1500,
    code_count: int = 1024,
    held_out_every: int = 16,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a tagger and save it to `folder`. Answers how often held-out songs' tempi are met within 4 %.

    Args:
        codes: of every song, int [5, n], one row a frame offset.
    """
    known, held = split(len(corpus.rows), held_out_every)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        tagger = TempoTagger(code_table(_curves_of(corpus), corpus.rows, codes, known, code_count))
        correlation, bpm = _stretches(tagger, corpus, codes, known, 5, seed=1)
        optimizer = torch.optim.AdamW(tagger.parameters(), lr=1e-3, weight_decay=0.05)
        tagger.train()
        for step in range(steps):
            pick = torch.randint(len(bpm), (64,))
            low, high = (RANGE_BPM[0] / bpm[pick]).clamp(min=0.7), (RANGE_BPM[1] / bpm[pick]).clamp(max=1.4)
            stretch = torch.exp(torch.lerp(low.log(), high.log(), torch.rand(64)))
            stretch = torch.where(torch.rand(64) < 0.4, torch.ones(64), stretch)
            distance = tempi_bpm().log2() - (bpm[pick] * stretch).log2()[:, None]
            target = torch.softmax(-((distance / _SPREAD_OCTAVES) ** 2), dim=1)
            logits = tagger(at_lags(correlation[pick], stretch), dropout=0.3)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(1e-3, step / steps, step, warmup_steps=50, flat=0.0)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, target).backward()
            optimizer.step()
    tagger.eval()
    report = _measure(tagger, *_stretches(tagger, corpus, codes, held, 5, seed=2))
    report |= {"songs": len(known), "held_out_songs": len(held), "steps": steps}
    tagger.save(folder)
    log(f"tempo: {report}")
    return report


@torch.no_grad()
def _measure(tagger: TempoTagger, correlation: torch.Tensor, bpm: torch.Tensor) -> dict[str, float]:
    detected = tempi_bpm()[tagger(at_lags(correlation, torch.ones(len(bpm)))).argmax(dim=1)]

    def within(factor: float) -> torch.Tensor:
        return (detected * factor / bpm - 1).abs() < 0.04

    shuffled = bpm.roll(len(bpm) // 2)
    return {
        "bpm": round(float(within(1).float().mean()), 4),
        "bpm_octave": round(float((within(0.5) | within(1) | within(2)).float().mean()), 4),
        "bpm_chance": round(float(((detected / shuffled - 1).abs() < 0.04).float().mean()), 4),
    }
