"""What the trainings of taggers on latents share: the songs they learn from, crops of them, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from acestep_like.training.data import Corpus, SongRow, split
from acestep_like.training.loop import learning_rate

Tagger = TypeVar("Tagger", bound=nn.Module)
RATE = 2e-3


@dataclass(frozen=True)
class Crops:
    """Crops of the songs of a corpus, as rows of its flat arrays.

    Attributes:
        known, held: indices of the songs to learn from, and of those held out; twins of the latter are in neither.
        start, frames: of every song.
    """

    corpus: Corpus
    known: Tensor
    held: Tensor
    start: Tensor
    frames: Tensor

    @staticmethod
    def of(corpus: Corpus, held_out_every: int, usable: Callable[[SongRow], bool] = lambda row: True) -> Crops:
        known, held = split(len(corpus.rows), held_out_every)
        seeds = {corpus.rows[index].seed for index in held}
        known = [index for index in known if usable(corpus.rows[index]) and corpus.rows[index].twin not in seeds]
        held = [index for index in held if usable(corpus.rows[index])]
        start, frames = ([getattr(row, name) for row in corpus.rows] for name in ("start", "frames"))
        return Crops(corpus, *map(torch.tensor, (known, held or known, start, frames)))

    def facts(self, steps: int) -> dict[str, float]:
        """What the record of a training says of its songs."""
        return {"songs": len(self.known), "held_out_songs": len(self.held), "steps": steps}

    def draw(self, songs: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """Rows [B, length] of one crop a song, from anywhere in it; shorter where a song is."""
        length = min(length, int(self.frames.min()))
        first = (torch.rand(len(songs), generator=generator) * (self.frames[songs] - length + 1)).long()
        return (self.start[songs] + first)[:, None] + torch.arange(length)

    def latents(self, rows: Tensor) -> Tensor:
        return self.corpus.arrays["latents"][rows].float()


def train_on_crops(
    crops: Crops,
    make: Callable[[Tensor, Tensor], Tagger],
    losses: Callable[[Tagger, Tensor, torch.Generator], dict[str, Tensor]],
    *,
    steps: int,
    lengths: Sequence[int],
    frames: int | None = None,
    songs: int = 0,
    weight_decay: float,
    seed: int,
    report: Callable[[str], None],
) -> Tagger:
    """Train a tagger that `make` makes of the mean and scale of the latents.

    Args:
        losses: of a tagger and the rows of a batch; their sum is minimised.
        lengths: of the crops in frames, taken in turn; a batch has `songs` of them, or `frames` in all.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        latents = crops.corpus.arrays["latents"]
        some = latents[:: max(1, len(latents) // 50_000)].float()
        tagger = make(some.mean(0), some.std(0) + 1e-3)
        optimizer = torch.optim.AdamW(tagger.parameters(), lr=RATE, weight_decay=weight_decay)
        for step in range(steps):
            length = lengths[step % len(lengths)]
            count = songs if frames is None else frames // length
            chosen = crops.known[torch.randint(len(crops.known), (count,), generator=generator)]
            found = losses(tagger, crops.draw(chosen, length, generator), generator)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(RATE, step / steps, step, warmup_steps=50, flat=0.4)
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(found.values())).sum().backward()
            nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
            optimizer.step()
            if step % 100 == 99:
                report(f"step {step + 1} " + " ".join(f"{name} {value.item():.3f}" for name, value in found.items()))
    return tagger.eval()
