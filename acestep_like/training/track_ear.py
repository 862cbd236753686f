"""Train the ear for tracks (`codec/track_ear.py`) on the latents of the corpus: crops of 3 to 12 s, all songs.

What counts is what plays in the crop, not in the song: else backing vocals, which rest in most verses, are half
expected wherever somebody sings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from acestep_like.codec.track_ear import UNHEARD_BELOW, TrackEar
from acestep_like.tasks import TRACK_NAMES
from acestep_like.training.data import Corpus, split
from acestep_like.training.loop import learning_rate

_LENGTHS = (75, 125, 200, 250, 300)
_BATCH = 48
_RATE = 2e-3
_DROPOUT = 0.3
_LEAST_FRAMES = 12
"""Frames of a crop in which a track plays that is called sounding there: half a second."""


def train_track_ear(
    corpus: Corpus,
    folder: Path,
    *,
    steps: int = 3000,
    held_out_every: int = 16,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train an ear and save it to `folder`. Answers what it hears in songs that were held out, twins with them."""
    known, held = split(len(corpus.rows), held_out_every)
    heard = {corpus.rows[index].seed for index in held}
    # Songs of corpora that were built before it was noted when a track plays tell nothing here.
    known = [index for index in known if corpus.rows[index].playing and corpus.rows[index].twin not in heard]
    held = [index for index in held if corpus.rows[index].playing]
    latents = corpus.arrays["latents"]
    start = torch.tensor([row.start for row in corpus.rows])
    frames = torch.tensor([row.frames for row in corpus.rows])
    plays = torch.zeros(len(latents), len(TRACK_NAMES), dtype=torch.bool)
    for row in corpus.rows:
        for name, spans in row.playing.items():
            for begin, end in spans:
                plays[row.start + begin : row.start + min(end, row.frames), TRACK_NAMES.index(name)] = True

    def crops(songs: Tensor, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        length = min(length, int(frames.min()))
        first = (torch.rand(len(songs), generator=generator) * (frames[songs] - length + 1)).long()
        rows = (start[songs] + first)[:, None] + torch.arange(length)
        return latents[rows].float(), (plays[rows].sum(dim=1) >= _LEAST_FRAMES).float()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        generator = torch.Generator().manual_seed(17)
        some = latents[:: max(1, len(latents) // 50_000)].float()
        ear = TrackEar(some.mean(0), some.std(0) + 1e-3)
        optimizer = torch.optim.AdamW(ear.parameters(), lr=_RATE, weight_decay=0.1)
        pool = torch.tensor(known)
        for step in range(steps):
            songs = pool[torch.randint(len(pool), (_BATCH,), generator=generator)]
            inputs, targets = crops(songs, _LENGTHS[step % len(_LENGTHS)], generator)
            loss = F.binary_cross_entropy_with_logits(ear(inputs, _DROPOUT), targets)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(_RATE, step / steps, step, warmup_steps=50, flat=0.4)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if step % 250 == 249:
                log(f"track ear: step {step + 1} loss {loss.item():.4f}")
    ear.eval()
    inputs, targets = crops(torch.tensor(held or known), 250, torch.Generator().manual_seed(18))
    report = {
        **track_accuracy(ear, inputs, targets),
        "songs": len(known), "held_out_songs": len(held), "steps": steps,
    }  # fmt: skip
    ear.save(folder)
    log(f"track ear: {report}")
    return report


@torch.no_grad()
def track_accuracy(ear: TrackEar, latents: Tensor, sounding: Tensor) -> dict[str, float]:
    """Shares of the tracks that sound, and of those that do not, in crops [B, T, C]: which are heard (above a half),
    and which `extract` takes for absent."""
    chances = torch.cat([ear(part) for part in latents.split(64)]).sigmoid()
    return {
        f"{name}_{answer}": _share(chances[where] > 0.5 if answer == "heard" else chances[where] < UNHEARD_BELOW)
        for name, where in (("sounding", sounding > 0), ("silent", sounding == 0))
        for answer in ("heard", "taken_for_absent")
    }


def _share(flags: Tensor) -> float:
    return round(float(flags.float().mean()), 4)
