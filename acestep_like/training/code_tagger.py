"""Train the tagger for style, key, meter and tracks (`models/analysis/code_tagger.py`) on the codes of the corpus.

Stretches of 8 to 19 s, from all five frame offsets; heavy dropout and weight decay, since there are few songs. No
augmentation: what a code sounds like is fixed. What repeats at the beats is taken at the songs' true tempi.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from acestep_like.models.analysis.code_tagger import CodeTagger, bags_of
from acestep_like.models.analysis.code_tempo import TempoTagger
from acestep_like.music.styles import STYLES
from acestep_like.training.code_table import code_table
from acestep_like.training.corpus.genres import NAMES
from acestep_like.training.data import Corpus, SongRow, split
from acestep_like.training.lm_facts import TRACKS, facts_of, track_bits
from acestep_like.training.loop import learning_rate

_LENGTHS = (40, 60, 80, 95)
"""Codes of a stretch; those of one batch are of one length."""
_STRETCHES = 3
"""Of every song and length."""
_SOUND_PARTS = 48
"""Principal components of a code's mean latents."""
_TRACKS_WEIGHT = 4.0
_BATCH, _RATE, _DROPOUT = 64, 2e-3, 0.5


@dataclass(frozen=True)
class Stretches:
    """Codes of one length [n, L], what repeats at their beats [n, F], and facts of their songs [n, 4]."""

    codes: torch.Tensor
    beats: torch.Tensor
    facts: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Stretches:
        return Stretches(self.codes[rows], self.beats[rows], self.facts[rows])


def _stretches(
    length: int, tempo: TempoTagger, corpus: Corpus, codes: list[np.ndarray], songs: list[int], seed: int
) -> Stretches:
    """Random stretches of songs, several of each."""
    rng = np.random.default_rng([seed, length])
    found = []
    for index in songs:
        row = corpus.rows[index]
        known = torch.from_numpy(facts_of(row.style, tuple(row.tracks), row.metadata, detected=True)).long()
        for offset in rng.integers(0, len(codes[index]), _STRETCHES):
            line = codes[index][offset].astype(np.int64)
            start = int(rng.integers(0, len(line) - length + 1))
            stretch = torch.from_numpy(line[start : start + length])
            found.append((stretch, tempo.at_beats(stretch, float(row.metadata["bpm"])), known))
    return Stretches(*(torch.stack(column) for column in zip(*found, strict=True)))


def _sounds(corpus: Corpus, codes: list[np.ndarray], songs: list[int], count: int) -> torch.Tensor:
    """What each code sounds like [count, D]: the principal components of the mean latents of its frames."""
    latents = corpus.arrays["latents"]

    def latents_of(row: SongRow) -> torch.Tensor:
        return latents[row.start : row.start + row.frames].float()

    table = code_table(latents_of, corpus.rows, codes, songs, count).flatten(1)
    parts, sizes, _ = torch.linalg.svd(table - table.mean(dim=0), full_matrices=False)
    kept = parts[:, sizes > 1e-3 * sizes[0]][:, :_SOUND_PARTS]
    return kept / kept.std(dim=0)


def train_code_tagger(
    corpus: Corpus,
    codes: list[np.ndarray],
    tempo: TempoTagger,
    folder: Path,
    *,
    steps: int = 3000,
    code_count: int = 1024,
    held_out_every: int = 16,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a tagger and save it to `folder`. Answers its accuracies on held-out songs, chance beside them.

    Args:
        codes: of every song, int [5, n], one row a frame offset.
        tempo: the tagger for tempo, whose curves tell what repeats.
    """
    known, held = split(len(corpus.rows), held_out_every)
    longest = min(line.shape[1] for line in codes)
    lengths = sorted({min(length, longest) for length in _LENGTHS})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        groups = [_stretches(length, tempo, corpus, codes, known, seed=1) for length in lengths]
        bags, beats = bags_of(groups[-1].codes, code_count), groups[-1].beats
        genres, sounds = [NAMES[style][0] for style in STYLES], _sounds(corpus, codes, known, code_count)
        tagger = CodeTagger(bags.mean(dim=0), sounds, genres, beats.mean(dim=0), beats.std(dim=0) + 1e-3)
        optimizer = torch.optim.AdamW(tagger.parameters(), lr=_RATE, weight_decay=0.2)
        tagger.train()
        for step in range(steps):
            group = groups[step % len(groups)]
            batch = group[torch.randint(len(group.codes), (_BATCH,))]
            *named, tracks = tagger(batch.codes, batch.beats, dropout=_DROPOUT)
            losses = [
                F.cross_entropy(logits, batch.facts[:, column], ignore_index=-1) for column, logits in enumerate(named)
            ]
            sounding = F.binary_cross_entropy_with_logits(tracks, track_bits(batch.facts[:, TRACKS]))
            for settings in optimizer.param_groups:
                settings["lr"] = learning_rate(_RATE, step / steps, step, warmup_steps=50, flat=0.0)
            optimizer.zero_grad(set_to_none=True)
            (torch.stack(losses).sum() + _TRACKS_WEIGHT * sounding).backward()
            optimizer.step()
            if step % 500 == 499:
                log(f"tagger: step {step + 1} loss {torch.stack(losses).sum().item():.3f} tracks {sounding.item():.3f}")
    tagger.eval()
    report = _measure(tagger, _stretches(lengths[-1], tempo, corpus, codes, held, seed=2))
    report |= {"songs": len(known), "held_out_songs": len(held), "steps": steps}
    tagger.save(folder)
    log(f"tagger: {report}")
    return report


@torch.no_grad()
def _measure(tagger: CodeTagger, detected: Stretches) -> dict[str, float]:
    *named, tracks = tagger(detected.codes, detected.beats)
    facts = detected.facts
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
        report[f"{name}_found"] = round(float((said & true).sum() / true.sum().clamp(min=1)), 4)
    return report
