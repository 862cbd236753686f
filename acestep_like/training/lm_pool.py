"""Training sequences on the device: built by worker processes, kept in rings by length, drawn as batches."""

from __future__ import annotations

import multiprocessing
import os
import queue
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from acestep_like.training.lm_examples import ExampleBuilder, Sequence_, SongTexts

Chunk = tuple[int, np.ndarray, np.ndarray, np.ndarray]
"""Bucket, ids [n, length], kinds [n, length] and facts [n, 4] of some sequences."""


@dataclass
class Pool:
    """Sequences on the device, in rings by length; the newest overwrite the oldest."""

    lengths: tuple[int, ...]
    tokens: int
    device: torch.device
    ids: list[torch.Tensor] = field(default_factory=list)
    kinds: list[torch.Tensor] = field(default_factory=list)
    facts: list[torch.Tensor] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    dropped: int = 0

    def __post_init__(self) -> None:
        for length in self.lengths:
            rows = max(self.tokens // len(self.lengths) // length, 8)
            self.ids.append(torch.zeros(rows, length, dtype=torch.int16, device=self.device))
            self.kinds.append(torch.zeros(rows, length, dtype=torch.uint8, device=self.device))
            self.facts.append(torch.zeros(rows, 4, dtype=torch.int16, device=self.device))
            self.added.append(0)

    def put(self, chunk: Sequence[Chunk], dropped: int) -> None:
        """Add padded arrays."""
        self.dropped += dropped
        for bucket, ids, kinds, facts in chunk:
            rows = torch.arange(self.added[bucket], self.added[bucket] + len(ids)) % len(self.ids[bucket])
            rows = rows.to(self.device)
            self.ids[bucket][rows] = torch.from_numpy(ids).to(self.device)
            self.kinds[bucket][rows] = torch.from_numpy(kinds).to(self.device)
            self.facts[bucket][rows] = torch.from_numpy(facts).to(self.device)
            self.added[bucket] += len(ids)

    def draw(
        self, tokens: int, rng: random.Random, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A batch from one bucket: ids int64 and kinds uint8 [B, L], facts int64 [B, 4]; every sequence is equally
        likely."""
        per_step = [max(tokens // length, 1) for length in self.lengths]
        shares = [added / batch for added, batch in zip(self.added, per_step, strict=True)]
        bucket = rng.choices(range(len(self.lengths)), shares)[0]
        filled = min(self.added[bucket], len(self.ids[bucket]))
        rows = torch.randint(filled, (per_step[bucket],), device=self.device, generator=generator)
        return self.ids[bucket][rows].long(), self.kinds[bucket][rows], self.facts[bucket][rows].long()


def pad_into_buckets(sequences: Sequence[Sequence_], lengths: Sequence[int]) -> tuple[list[Chunk], int]:
    """Right-pad sequences into the smallest bucket that holds them; answers how many were too long."""
    groups: dict[int, list[Sequence_]] = {}
    dropped = 0
    for ids, kinds, facts in sequences:
        bucket = next((i for i, length in enumerate(lengths) if len(ids) <= length), None)
        if bucket is None:
            dropped += 1
        else:
            groups.setdefault(bucket, []).append((ids, kinds, facts))
    chunk = []
    for bucket, group in groups.items():
        padded_ids = np.zeros((len(group), lengths[bucket]), np.int16)
        padded_kinds = np.zeros((len(group), lengths[bucket]), np.uint8)
        for row, (ids, kinds, _) in enumerate(group):
            padded_ids[row, : len(ids)], padded_kinds[row, : len(ids)] = ids, kinds
        chunk.append((bucket, padded_ids, padded_kinds, np.stack([facts for _, _, facts in group])))
    return chunk, dropped


def _work(
    songs: list[SongTexts],
    codes: list[np.ndarray | None],
    tokenizer: str,
    seed: int,
    lengths: tuple[int, ...],
    options: dict[str, Any],
    out: Any,
    stop: Any,
) -> None:
    """Body of a worker process: build chunks until told to stop."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    builder = ExampleBuilder(songs, codes, Tokenizer.from_str(tokenizer), seed, **options)
    while not stop.is_set():
        chunk = pad_into_buckets(builder.sequences(builder.draw_kinds(256)), lengths)
        while not stop.is_set():
            try:
                out.put(chunk, timeout=0.5)
                break
            except queue.Full:
                continue


class Feeder:
    """Fills a pool from worker processes, or in this process when there are none."""

    def __init__(
        self,
        songs: list[SongTexts],
        codes: list[np.ndarray | None],
        tokenizer: Tokenizer,
        *,
        seed: int,
        lengths: tuple[int, ...],
        workers: int,
        options: dict[str, Any],
    ) -> None:
        self.lengths, self.workers = lengths, []
        self.local = ExampleBuilder(songs, codes, tokenizer, seed, **options) if not workers else None
        if workers:
            context = multiprocessing.get_context("spawn")
            self.queue, self.stop = context.Queue(maxsize=64), context.Event()
            for k in range(workers):
                args = (songs, codes, tokenizer.to_str(), seed + k, lengths, options, self.queue, self.stop)
                self.workers.append(context.Process(target=_work, args=args, daemon=True))
                self.workers[-1].start()

    def feed(self, pool: Pool, *, wait: bool = False) -> None:
        """Move what is ready into the pool; with `wait`, at least one chunk."""
        if self.local is not None:
            pool.put(*pad_into_buckets(self.local.sequences(self.local.draw_kinds(32)), self.lengths))
            return
        for _ in range(16):
            try:
                pool.put(*self.queue.get(timeout=60 if wait else 0.0001))
            except queue.Empty:
                if wait and not any(worker.is_alive() for worker in self.workers):
                    raise RuntimeError("all workers that build sequences have died") from None
                break
            wait = False

    def close(self) -> None:
        if not self.workers:
            return
        self.stop.set()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(worker.is_alive() for worker in self.workers):
            try:
                self.queue.get(timeout=0.1)
            except queue.Empty:
                continue
        for worker in self.workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()
