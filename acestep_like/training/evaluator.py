"""Train the evaluator on rendered songs and their codec round trips, never on music made by the model.

store = ClipStore()
store.add(song, mixed.mix, mixed.stems)          # for every song, while the corpus is built
store.add_decoded(song.seed, audio, start_s)     # for a share of them: the codec's version of the mix from start_s
train_evaluator(store, folder, minutes=2.5, device="cuda")
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from acestep_like.models.analysis.evaluator import (
    MEL_RATE,
    SAMPLE_RATE,
    WINDOW_S,
    Evaluator,
    EvaluatorConfig,
    EvaluatorNet,
    mean_average_precision,
    mel_power,
    normalise,
    pace_of,
)
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.theory import TIME_SIGNATURES
from acestep_like.training.loop import Average, Budget, Meter, learning_rate

ACTIVITY_RATE = 5
"""Stem levels per second."""
PRESENT_DB = -24.0
"""A track is present in a window when the level of its active parts is above this, relative to the mix."""
HELD_OUT_EVERY = 16
"""Every 16th song collected is kept from training and judged at the end."""


@dataclass
class ClipRow:
    """One song (or the codec's version of a part of it) in the store; frames count from the start of the arrays."""

    seed: int
    style: str
    timesignature: str
    bpm: float
    mel_start: int
    mel_frames: int
    activity_start: int
    decoded: bool


class ClipStore:
    """Mel spectrograms and stem levels of whole songs, end to end in flat arrays on the CPU.

    About 8.5 KB a second of music: 40 hours take 1.2 GB.
    """

    def __init__(self) -> None:
        self.rows: list[ClipRow] = []
        self._mels: list[torch.Tensor] = []
        self._activity: list[torch.Tensor] = []
        self._songs: dict[int, ClipRow] = {}
        self.mel_frames = self.activity_frames = 0

    @torch.no_grad()
    def add(self, song: Any, mix: torch.Tensor, stems: dict[str, torch.Tensor]) -> None:
        """Take in a mixed song: `mix` [2, N] and its stems [2, N] by track class, at 48 kHz, on any device."""
        mel = mel_power(mix)
        activity = stem_activity(mix, stems)
        row = ClipRow(
            seed=song.seed,
            style=song.style,
            timesignature=song.plan.timesignature,
            bpm=float(song.plan.bpm),
            mel_start=self.mel_frames,
            mel_frames=mel.shape[0],
            activity_start=self.activity_frames,
            decoded=False,
        )
        self._songs[song.seed] = row
        self._append(row, mel)
        self._activity.append(activity.half().cpu())
        self.activity_frames += activity.shape[0]

    @torch.no_grad()
    def add_decoded(self, seed: int, audio: torch.Tensor, start_s: float = 0.0) -> None:
        """Take in what the codec makes of a song that was added before: audio [2, N] that begins at `start_s`.

        Raises:
            KeyError: no song of this seed was added.
        """
        song = self._songs[seed]
        mel = mel_power(audio)
        offset = round(start_s * ACTIVITY_RATE)
        row = ClipRow(
            seed=seed,
            style=song.style,
            timesignature=song.timesignature,
            bpm=song.bpm,
            mel_start=self.mel_frames,
            mel_frames=mel.shape[0],
            activity_start=song.activity_start + offset,
            decoded=True,
        )
        self._append(row, mel)

    def _append(self, row: ClipRow, mel: torch.Tensor) -> None:
        self.rows.append(row)
        self._mels.append(mel.half().cpu())
        self.mel_frames += mel.shape[0]

    def extend(self, other: ClipStore) -> None:
        """Take over everything from another store."""
        for row in other.rows:
            moved = replace(
                row,
                mel_start=row.mel_start + self.mel_frames,
                activity_start=row.activity_start + self.activity_frames,
            )
            self.rows.append(moved)
            if not row.decoded:
                self._songs[row.seed] = moved
        self._mels += other._mels
        self._activity += other._activity
        self.mel_frames += other.mel_frames
        self.activity_frames += other.activity_frames

    def arrays(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All mels [F, MEL_BANDS] float16 and all stem levels [A, 12] float16 (dB relative to the mix)."""
        return torch.cat(self._mels), torch.cat(self._activity)


def stem_activity(mix: torch.Tensor, stems: dict[str, torch.Tensor]) -> torch.Tensor:
    """Level of each track class against the whole mix, dB, [T, 12] at `ACTIVITY_RATE`; -100 where silent or absent."""
    hop = SAMPLE_RATE // ACTIVITY_RATE
    frames = max(1, mix.shape[-1] // hop)
    reference = mix.float().pow(2).mean() + 1e-12
    levels = torch.full((frames, len(TRACK_NAMES)), -100.0, device=mix.device)
    for name, stem in stems.items():
        power = stem[:, : frames * hop].float().reshape(stem.shape[0], frames, -1).pow(2).mean(dim=(0, 2))
        levels[:, TRACK_NAMES.index(name)] = 10 * torch.log10(power / reference + 1e-10)
    return levels


def present_tracks(activity: torch.Tensor) -> torch.Tensor:
    """Which tracks a window has, from its stem levels [..., T, 12]: the mean power of its loudest fifth counts."""
    frames = activity.shape[-2]
    loudest = activity.float().topk(max(1, frames // 5), dim=-2).values
    power = (10 ** (loudest / 10)).mean(dim=-2)
    return 10 * torch.log10(power + 1e-10) > PRESENT_DB


class _Sampler:
    """Random windows from the store, all on the training device."""

    def __init__(self, store: ClipStore, rows: list[ClipRow], styles: tuple[str, ...], device: str) -> None:
        size = int(WINDOW_S * MEL_RATE)
        self.rows = [row for row in rows if row.mel_frames > size]
        mels, activity = store.arrays()
        self.mels, self.activity = mels.to(device), activity.to(device)
        self.size, self.device = size, device

        def column(values: list[Any], dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self.mel_start = column([row.mel_start for row in self.rows])
        self.room = column([row.mel_frames - size for row in self.rows])
        self.activity_start = column([row.activity_start for row in self.rows])
        self.style = column([styles.index(row.style) for row in self.rows])
        self.timesignature = column([TIME_SIGNATURES.index(row.timesignature) for row in self.rows])
        self.pace = column([pace_of(row.bpm) for row in self.rows])

    def windows(self, index: torch.Tensor, start: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mels and labels of the windows that begin `start` mel frames into the rows `index`."""
        span = torch.arange(self.size, device=self.device)
        mel = self.mels[(self.mel_start[index] + start)[:, None] + span]
        ratio = MEL_RATE // ACTIVITY_RATE
        steps = torch.arange(self.size // ratio, device=self.device)
        rows = (self.activity_start[index] + start // ratio)[:, None] + steps
        activity = self.activity[rows.clamp(max=self.activity.shape[0] - 1)]
        return {
            "mel": mel,
            "tracks": present_tracks(activity).float(),
            "style": self.style[index],
            "timesignature": self.timesignature[index],
            "pace": self.pace[index],
        }

    def random(self, batch: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        index = torch.randint(len(self.rows), (batch,), generator=generator, device=self.device)
        fraction = torch.rand(batch, generator=generator, device=self.device)
        return self.windows(index, (fraction * self.room[index]).long())

    def fixed(self) -> dict[str, torch.Tensor]:
        """Two windows of every row, at a third and two thirds."""
        index = torch.arange(len(self.rows), device=self.device).repeat(2)
        fraction = torch.tensor([0.33, 0.67], device=self.device).repeat_interleave(len(self.rows))
        return self.windows(index, (fraction * self.room[index]).long())


def _augment(mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Make normalised mels [B, T, M] less exact: tone, level of noise, smear, and masked bands and spans.

    What a codec or a generator changes (equalisation, noise between partials, blur) should not change the answer.
    """
    batch, frames, bands = mel.shape

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=mel.device)

    knots = (draw(batch, 1, 5) - 0.5) * 1.2
    mel = mel + F.interpolate(knots, size=bands, mode="linear", align_corners=True)
    mel = torch.logaddexp(mel, -4.5 + 2.5 * draw(batch, 1, 1) + 0.5 * draw(batch, frames, bands))
    blurred = F.avg_pool1d(mel.transpose(1, 2), 3, 1, 1).transpose(1, 2)
    weight = draw(batch, 1, 1) * (draw(batch, 1, 1) < 0.5)
    mel = mel + weight * (blurred - mel)
    band = torch.arange(bands, device=mel.device)
    first = (draw(batch, 1) * bands).long()
    mel = mel.masked_fill(((band >= first) & (band < first + (draw(batch, 1) * 10).long()))[:, None], -4.0)
    step = torch.arange(frames, device=mel.device)
    first = (draw(batch, 1) * frames).long()
    return mel.masked_fill(((step >= first) & (step < first + (draw(batch, 1) * 60).long()))[..., None], -4.0)


def _losses(out: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        "style": F.cross_entropy(out["style"], batch["style"], label_smoothing=0.05),
        "tracks": F.binary_cross_entropy_with_logits(out["tracks"], batch["tracks"]),
        "meter": F.cross_entropy(out["timesignature"], batch["timesignature"]),
        "pace": F.cross_entropy(out["pace"], batch["pace"]),
    }


_LOSS_WEIGHTS = {"style": 1.0, "tracks": 3.0, "meter": 0.5, "pace": 0.5}


def train_evaluator(
    store: ClipStore,
    out_dir: str | Path,
    *,
    minutes: float,
    device: str,
    steps: int | None = None,
    batch_size: int | None = None,
    styles: tuple[str, ...] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train an `Evaluator` on a store and save it to `out_dir`.

    Args:
        store: every `HELD_OUT_EVERY`-th song in it is held out, with its decoded version.
        minutes: time budget; `steps` replaces it in the quick mode.
        batch_size: windows a step; 96 when not given, 8 in the quick mode.
        styles: order of the style labels; the sorted styles of the store when not given.

    Returns:
        the report that is saved with the weights: accuracies on held-out songs, dry and through the codec.
    """
    size = batch_size or (96 if steps is None else 8)
    names = styles or tuple(sorted({row.style for row in store.rows}))
    order = {seed: index for index, seed in enumerate(dict.fromkeys(row.seed for row in store.rows))}
    held = [row for row in store.rows if order[row.seed] % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
    held_seeds = {row.seed for row in held}
    sampler = _Sampler(store, [row for row in store.rows if row.seed not in held_seeds], names, device)
    generator = torch.Generator(device).manual_seed(5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = EvaluatorNet(EvaluatorConfig(styles=names)).to(device)
    net.fit_scale(_augment(normalise(sampler.random(256, generator)["mel"]), generator))
    average = Average(net, 0.998)
    optimizer = torch.optim.AdamW(net.parameters(), 1.5e-3, weight_decay=0.03)
    budget = Budget(minutes, steps)
    meter = Meter("evaluator", budget, log, every=100)
    for step in budget:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(1.5e-3, budget.fraction, step, warmup_steps=50)
        batch = sampler.random(size, generator)
        losses = _losses(net(_augment(normalise(batch["mel"]), generator)), batch)
        loss = torch.stack([_LOSS_WEIGHTS[key] * value for key, value in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        meter.add(size, **losses)
    report: dict[str, Any] = {
        "held_out": {},
        "songs": len(order) - len(held_seeds),
        "held_out_songs": len(held_seeds),
        "corpus_seeds": [min(order), max(order)],
        "steps": budget.step,
        "minutes": round(budget.elapsed_s / 60, 2),
        "date": datetime.date.today().isoformat(),
    }
    for label, decoded in (("rendered", False), ("through_codec", True)):
        rows = [row for row in held if row.decoded == decoded]
        if rows:
            report["held_out"][label] = measure(average.module, _Sampler(store, rows, names, device))
            log(f"evaluator: held-out {label}: {report['held_out'][label]}")
    trained = EvaluatorNet(EvaluatorConfig(styles=names, report=report))
    trained.load_state_dict({name: tensor.cpu() for name, tensor in average.module.state_dict().items()})
    Evaluator(trained).save(out_dir)
    return report


@torch.no_grad()
def measure(net: torch.nn.Module, sampler: _Sampler) -> dict[str, Any]:
    """Accuracy of each head over fixed windows of a sampler's rows; instruments as mean average precision."""
    batch = sampler.fixed()
    parts = [net(normalise(mel)) for mel in batch["mel"].split(256)]
    out = {key: torch.cat([part[key].float() for part in parts]) for key in parts[0]}

    def accuracy(head: str) -> float:
        return round(float((out[head].argmax(dim=1) == batch[head]).float().mean()), 4)

    scores, present = out["tracks"].cpu().numpy(), batch["tracks"].cpu().numpy() > 0.5
    return {
        "windows": len(scores),
        "style": accuracy("style"),
        "timesignature": accuracy("timesignature"),
        "pace": accuracy("pace"),
        "tracks_map": _rounded(mean_average_precision(scores, present)),
        "tracks_map_chance": _rounded(mean_average_precision(np.zeros_like(scores), present)),
    }


def _rounded(value: float) -> float | None:
    """For JSON, which has no NaN: None where nothing could be measured."""
    return None if np.isnan(value) else round(value, 4)
