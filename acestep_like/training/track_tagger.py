"""Train the tagger for tracks (`analysis/track_tagger.py`) on the latents of the corpus: crops of 3 to 12 s, all songs.

What counts is what plays in the crop, not in the song: else backing vocals, which rest in most verses, are half
expected wherever somebody sings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from acestep_like.models.analysis.track_tagger import UNHEARD_BELOW, TrackTagger
from acestep_like.training.data import LEAST_PLAYED, Corpus, tracks_playing
from acestep_like.training.latent_crops import Crops, train_on_crops

_LENGTHS = (75, 125, 200, 250, 300)
_BATCH = 48
_DROPOUT = 0.3


def train_track_tagger(
    corpus: Corpus,
    folder: Path,
    *,
    steps: int = 3000,
    held_out_every: int = 16,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a tagger and save it to `folder`. Answers how well it detects the tracks of songs that were held out
    together with their twins."""
    # Songs of corpora that were built before it was noted when a track plays do not count here.
    crops = Crops.of(corpus, held_out_every, lambda row: bool(row.playing))
    plays = tracks_playing(corpus)

    def sounding(rows: Tensor) -> Tensor:
        return (plays[rows].sum(dim=1) >= LEAST_PLAYED).float()

    def losses(tagger: TrackTagger, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG001
        detected = tagger(crops.latents(rows), _DROPOUT)
        return {"loss": F.binary_cross_entropy_with_logits(detected, sounding(rows))}

    tagger = train_on_crops(
        crops,
        TrackTagger,
        losses,
        steps=steps,
        lengths=_LENGTHS,
        songs=_BATCH,
        weight_decay=0.1,
        seed=17,
        report=lambda line: log(f"track tagger: {line}"),
    )
    rows = crops.draw(crops.held, 250, torch.Generator().manual_seed(18))
    report = {**track_accuracy(tagger, crops.latents(rows), sounding(rows)), **crops.facts(steps)}
    tagger.save(folder)
    log(f"track tagger: {report}")
    return report


@torch.no_grad()
def track_accuracy(tagger: TrackTagger, latents: Tensor, sounding: Tensor) -> dict[str, float]:
    """Shares of the tracks that sound, and of those that do not, in crops [B, T, C]: which are detected (above a half),
    and which `extract` takes for absent."""
    chances = torch.cat([tagger(part) for part in latents.split(64)]).sigmoid()
    return {
        f"{name}_{answer}": _share(chances[where] > 0.5 if answer == "detected" else chances[where] < UNHEARD_BELOW)
        for name, where in (("sounding", sounding > 0), ("silent", sounding == 0))
        for answer in ("detected", "taken_for_absent")
    }


def _share(flags: Tensor) -> float:
    return round(float(flags.float().mean()), 4)
