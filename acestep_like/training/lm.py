"""Train and measure the mini 5 Hz LM: a small Qwen3 with its own tokenizer, on songs in words and codes.

Sequences are built by worker processes and kept in a pool on the device, from which batches are drawn; so the
device never waits for text, and the more the processors give, the fresher the pool.
"""

from __future__ import annotations

import json
import math
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep_like.models.checkpoints.files import SIDECAR
from acestep_like.models.lm import prompts
from acestep_like.training.lm_examples import (
    BPM,
    CODE,
    GENRE,
    KEY,
    LONGEST_S,
    METER,
    MIX,
    NONE,
    TEXT,
    WEIGHTS,
    ExampleBuilder,
    SongTexts,
)
from acestep_like.training.lm_facts import FactHeads, prompt_ends
from acestep_like.training.lm_pool import Feeder, Pool, pad_into_buckets
from acestep_like.training.lm_tokenizer import END_TURN, PAD, build_tokenizer, save_tokenizer
from acestep_like.training.loop import Bar

COLD = 0.5
"""A small model copies numbers from the words better when cold; its `acestep_like.json` says so to the sampler."""

_FACTS = {
    "longest_s": LONGEST_S,
    "metadata_temperature": COLD,
    "defers_to_words": True,
    "lyric_languages": ["en", "es", "fr", "de", "it", "pt"],
}
"""What the sidecar declares; a model of this size must not overrule the caller's words."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class LMConfig:
    """Sizes of the model and of its training."""

    text_entries: int = 3072
    codes: int = 1024
    width: int = 256
    mlp: int = 576
    layers: int = 5
    max_length: int = 4096
    buckets: tuple[int, ...] = (160, 256, 384, 640, 1472)
    pool_tokens: int = 24_000_000
    pool_start: int = 4_000  # sequences before the first step
    tokens_per_step: int = 98_304
    learning_rate: float = 1.6e-3
    weight_decay: float = 0.1
    warmup_steps: int = 200
    dropout: float = 0.1
    detected_noise: float = 0.25  # at most so many of the codes that the model listens to are replaced
    made_noise: float = 0.08  # and of those that it has made itself
    ema: float = 0.999
    workers: int = 6
    compile_model: bool = False
    max_steps: int | None = None
    facts_weight: float = 0.3  # of the heads that name what a prompt says, beside the mean loss of the tokens
    mix: Mapping[str, float] = field(default_factory=lambda: dict(MIX))
    long_share: float = 0.08  # of stretches longer than a song
    validation_share: float = 0.04
    validation_sequences: int = 256  # of each kind
    log_every_s: float = 15.0
    seed: int = 0


SMALL = LMConfig(
    text_entries=2048,
    width=192,
    mlp=384,
    layers=4,
    buckets=(96, 128, 160, 192, 224, 256, 320, 400, 1400),
    pool_tokens=12_000_000,
    pool_start=300,
    tokens_per_step=4096,
    learning_rate=2e-3,
    weight_decay=0.05,
    warmup_steps=50,
    dropout=0.0,
    ema=0.98,
    workers=0,
    long_share=0.01,
    validation_sequences=24,
    log_every_s=120.0,
)
"""For a budget of minutes on one CPU core: a few million tokens."""

QUICK = LMConfig(
    text_entries=600,
    width=64,
    mlp=96,
    layers=2,
    pool_tokens=400_000,
    pool_start=64,
    tokens_per_step=2048,
    warmup_steps=10,
    workers=0,
    validation_sequences=16,
    log_every_s=5.0,
    ema=0.95,
    max_steps=12,
)
"""Proves the recipe in seconds on a CPU; what it trains is useless."""


def new_model(config: LMConfig, vocabulary: int, end_id: int) -> Qwen3ForCausalLM:
    """A fresh model; the vocabulary is rounded up to a multiple of 64."""
    heads = max(2, config.width // 64)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=-(-vocabulary // 64) * 64,
            hidden_size=config.width,
            intermediate_size=config.mlp,
            num_hidden_layers=config.layers,
            num_attention_heads=heads,
            num_key_value_heads=max(1, heads // 2),
            head_dim=64,
            max_position_embeddings=config.max_length,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=end_id,
        )
    )


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must exist."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer has no token {token}")
    return int(found)


def add_dropout(model: Qwen3ForCausalLM, share: float) -> None:
    """Dropout on what every attention and MLP adds, in training only; the saved model knows nothing of it."""

    def drop(module: torch.nn.Module, _: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (F.dropout(output[0], share, module.training), *output[1:])
        return F.dropout(output, share, module.training)

    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(drop)
        layer.mlp.register_forward_hook(drop)


def token_losses(
    model: Qwen3ForCausalLM, ids: torch.Tensor, kinds: torch.Tensor, detected: torch.Tensor, dropout: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross-entropy [n] of every token that counts, its kind, its target and the most probable token; and the hidden
    states [B, width] after which the answers begin.

    `detected` is what the model reads: `ids` with noise on the codes.
    """
    embedded = F.dropout(model.get_input_embeddings()(detected), dropout, training=model.training)
    hidden = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, :-1]
    ends = hidden[torch.arange(len(ids), device=ids.device), prompt_ends(kinds)]
    counts = kinds[:, 1:] > NONE
    logits = model.lm_head(hidden[counts]).float()
    targets = ids[:, 1:][counts]
    losses = F.cross_entropy(logits, targets, reduction="none")
    return losses, kinds[:, 1:][counts], targets, logits.detach().argmax(-1), ends


def add_noise(
    ids: torch.Tensor, kinds: torch.Tensor, first_code: int, config: LMConfig, generator: torch.Generator
) -> torch.Tensor:
    """Replace a random share of each sequence's codes by random codes, in half of the sequences."""
    shape, device = ids.shape, ids.device
    is_code = (ids >= first_code) & (ids < first_code + config.codes)
    most = torch.where(kinds == CODE, config.made_noise, config.detected_noise)
    share = torch.rand(shape[0], 1, device=device, generator=generator).mul(2).sub(1).clamp(min=0)
    hit = is_code & (torch.rand(shape, device=device, generator=generator) < share * most)
    noise = torch.randint(first_code, first_code + config.codes, shape, device=device, generator=generator)
    return torch.where(hit, noise, ids)


class Averaged:
    """Exponential moving average of the weights, with a warm start."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.live = list(model.parameters())
        self.mean = [p.detach().clone() for p in self.live]

    def update(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - decay)

    def swap(self) -> None:
        """Exchange live and averaged weights; call twice to undo."""
        for live, mean in zip(self.live, self.mean, strict=True):
            kept = live.detach().clone()
            live.data.copy_(mean)
            mean.copy_(kept)


def split_songs(count: int, share: float) -> tuple[list[int], list[int]]:
    """Indices to train on and to hold out: every n-th song, so that all styles of an ordered list are in both."""
    every = max(round(1 / share), 2) if share > 0 else count + 1
    held_out = [i for i in range(count) if i % every == every - 1]
    kept = set(held_out)
    return [i for i in range(count) if i not in kept], held_out


def train_lm(
    songs: list[SongTexts],
    codes: Sequence[np.ndarray | None],
    out_dir: str | Path,
    *,
    minutes: float,
    device: str | torch.device,
    quick: bool = False,
    config: LMConfig | None = None,
    state_path: str | Path | None = None,
    start_from: str | Path | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Train tokenizer and model for `minutes` of wall clock and save both to `out_dir` in the transformers layout.

    Args:
        songs: their words; a song without codes serves the tasks that need none.
        codes: int16 [5, n] per song (row o: codes of the frames from o on), or None.
        state_path: where the training state is kept to resume from; None keeps none.
        quick: tiny sizes (`QUICK`), for tests. Without a `config`, `SMALL` on a CPU.
        start_from: a folder that an earlier training saved; its tokenizer and weights are gone on with.

    Returns:
        steps, sequences, tokens and the last validation figures.
    """
    device, out_dir = torch.device(device), Path(out_dir)
    config = config or (QUICK if quick else SMALL if device.type == "cpu" else LMConfig())
    train, held_out = split_songs(len(songs), config.validation_share)
    if start_from is None:
        tokenizer = _tokenizer([songs[i] for i in train], config)
    else:
        tokenizer = Tokenizer.from_file(str(Path(start_from) / "tokenizer.json"))
    first_code, end_id = token_id(tokenizer, "<|audio_code_0|>"), token_id(tokenizer, END_TURN)
    torch.manual_seed(config.seed)  # weight initialisation draws from torch's own generator
    if start_from is None:
        model = new_model(config, tokenizer.get_vocab_size(), end_id)
    else:
        model = Qwen3ForCausalLM.from_pretrained(start_from, dtype=torch.float32, trust_remote_code=False)
    torch.nn.Module.to(model, device)
    add_dropout(model, config.dropout)
    size = sum(p.numel() for p in model.parameters())
    log(f"lm: {len(train)} songs + {len(held_out)} held out, vocabulary {tokenizer.get_vocab_size()}, {size:,} weights")
    feeder = Feeder(
        [songs[i] for i in train],
        [codes[i] for i in train],
        tokenizer,
        seed=config.seed + 1,
        lengths=config.buckets,
        workers=config.workers,
        options={"mix": config.mix, "long_share": config.long_share},
    )
    try:
        checks = _checks([songs[i] for i in held_out], [codes[i] for i in held_out], tokenizer, config, device)
        pool = Pool(config.buckets, config.pool_tokens, device)
        while sum(pool.added) < config.pool_start:
            feeder.feed(pool, wait=True)
        report = _Run(config, model, tokenizer, pool, feeder, checks, first_code, log, state_path).go(minutes)
    finally:
        feeder.close()
    save_lm(model, tokenizer, out_dir, max_length=config.max_length)
    log(f"lm: saved to {out_dir.name}: {report}")
    return report


def _tokenizer(songs: Sequence[SongTexts], config: LMConfig) -> Tokenizer:
    """Train the tokenizer on the words of the sequences that the model will see."""
    sample = Tokenizer.from_str(build_tokenizer(["x"], text_entries=300, codes=config.codes).to_str())
    builder = ExampleBuilder(songs, [None] * len(songs), sample, config.seed)
    count = min(12_000, 12 * len(songs) + 100)
    texts = ["".join(piece.text for piece in builder.pieces(kind)) for kind in builder.draw_kinds(count)]
    texts += [prompts.chat(prompts.UNDERSTAND, "")] * 40
    return build_tokenizer(texts, text_entries=config.text_entries, codes=config.codes)


@dataclass(frozen=True)
class Check:
    """Held-out sequences of one kind: ids int64 and kinds uint8 [N, L], facts int64 [N, 4]."""

    kind: str
    ids: torch.Tensor
    kinds: torch.Tensor
    facts: torch.Tensor


def _checks(
    songs: list[SongTexts], codes: list[np.ndarray | None], tokenizer: Tokenizer, config: LMConfig, device: torch.device
) -> list[Check]:
    """The same validation sequences throughout a training."""
    if not songs:
        return []
    builder = ExampleBuilder(songs, codes, tokenizer, seed=config.seed + 999)
    checks = []
    for kind in ("understand", "generate", "plan"):
        if kind != "plan" and not builder.coded:
            continue
        sequences = builder.sequences([kind] * config.validation_sequences)
        length = max(len(ids) for ids, _, _ in sequences)
        (_, ids, kinds, facts), *_ = pad_into_buckets(sequences, [length])[0]
        parts = (torch.from_numpy(part).to(device) for part in (ids.astype(np.int64), kinds, facts.astype(np.int64)))
        checks.append(Check(kind, *parts))
    return checks


class _Run:
    """One training: optimiser, schedule, averaging, logs."""

    def __init__(
        self,
        config: LMConfig,
        model: Qwen3ForCausalLM,
        tokenizer: Tokenizer,
        pool: Pool,
        feeder: Feeder,
        checks: list[Check],
        first_code: int,
        log: Log,
        state_path: str | Path | None,
    ) -> None:
        self.config, self.model, self.tokenizer, self.pool, self.feeder = config, model, tokenizer, pool, feeder
        self.checks, self.first_code, self.log = checks, first_code, log
        self.state_path = Path(state_path) if state_path else None
        self.heads = FactHeads(model.config.hidden_size).to(pool.device)
        trained = [*model.parameters(), *self.heads.parameters()]
        decayed = [p for p in trained if p.ndim > 1]
        rest = [p for p in trained if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        fused = pool.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=fused)
        self.averaged = Averaged(model, config.ema)
        self.weights = torch.tensor(WEIGHTS, device=pool.device)
        self.rng = random.Random(config.seed)
        self.generator = torch.Generator(pool.device).manual_seed(config.seed)
        self.steps, self.tokens, self.sequences, self.elapsed_s = 0, 0, 0, 0.0
        self.figures: dict[str, float] = {}
        self.best: tuple[float, list[torch.Tensor]] | None = None
        self.losses = torch.compile(token_losses, dynamic=False) if config.compile_model else token_losses

    def go(self, minutes: float) -> dict[str, Any]:
        """Train until the minutes are used up, then leave the averaged weights in the model."""
        self._resume()
        budget_s = minutes * 60
        bar = Bar("lm")
        began = time.monotonic() - self.elapsed_s
        logged = saved = time.monotonic()
        sums = torch.zeros(len(WEIGHTS), 2, device=self.pool.device)
        while self.elapsed_s < budget_s and self.steps != self.config.max_steps:
            self._step(sums, self.elapsed_s / budget_s)
            self.feeder.feed(self.pool)
            now = time.monotonic()
            self.elapsed_s = now - began
            bar.show(min(1.0, self.elapsed_s / budget_s))
            if now - logged > self.config.log_every_s:
                logged = now
                self._report(sums)
                sums.zero_()
            if self.state_path and now - saved > 60:
                saved = now
                self._keep()
        bar.close()
        self.averaged.swap()
        self.figures = self.validate()
        if self.best is not None and self.best[0] < self.figures.get("loss", 0.0):
            self.log(f"lm: the last weights have overfitted; kept those with held-out loss {self.best[0]:.4f}")
            for live, kept in zip(self.model.parameters(), self.best[1], strict=True):
                live.data.copy_(kept)
            self.figures = self.validate()
        return {
            "steps": self.steps,
            "sequences": self.sequences,
            "tokens": self.tokens,
            "minutes": round(self.elapsed_s / 60, 2),
            "sequences_built": sum(self.pool.added),
            "too_long": self.pool.dropped,
            **self.figures,
        }

    def _rate(self, progress: float) -> float:
        """Warm-up, then cosine over the time budget."""
        warm = min(1.0, (self.steps + 1) / self.config.warmup_steps)
        return self.config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))

    def _step(self, sums: torch.Tensor, progress: float) -> None:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(progress)
        ids, kinds, facts = self.pool.draw(config.tokens_per_step, self.rng, self.generator)
        detected = add_noise(ids, kinds, self.first_code, config, self.generator)
        self.model.train()
        with torch.autocast(self.pool.device.type, torch.bfloat16, enabled=self.pool.device.type == "cuda"):
            losses, of_kind, _, _, ends = self.losses(self.model, ids, kinds, detected, config.dropout)
            named = self.heads.losses(ends, facts)
        weights = self.weights[of_kind.long()]
        loss = (losses * weights).sum() / weights.sum() + config.facts_weight * named
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.averaged.update()
        detached = losses.detach()
        sums[:, 0].index_add_(0, of_kind.long(), detached)
        sums[:, 1].index_add_(0, of_kind.long(), torch.ones_like(detached))
        self.steps += 1
        self.tokens += ids.numel()
        self.sequences += len(ids)

    def _report(self, sums: torch.Tensor) -> None:
        mean = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
        self.averaged.swap()
        self.figures = self.validate()
        loss = self.figures.get("loss")
        if loss is not None and (self.best is None or loss < self.best[0]):
            self.best = (loss, [p.detach().clone() for p in self.model.parameters()])
        self.averaged.swap()
        shown = "  ".join(f"{name} {value:.3f}" for name, value in self.figures.items())
        self.log(
            f"lm {self.elapsed_s:6.0f} s step {self.steps} {self.tokens / max(self.elapsed_s, 1e-9):,.0f} tok/s"
            f" built {sum(self.pool.added)} | train text {mean[TEXT]:.3f} bpm {mean[BPM]:.3f} key {mean[KEY]:.3f}"
            f" codes {mean[CODE]:.3f} | held out {shown}"
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Held-out figures: weighted loss; code loss in nats; shares right, teacher-forced, of bpm (4 %) and others."""
        self.model.eval()
        figures: dict[str, float] = {}
        weight, total, count = self.weights.cpu(), 0.0, 0.0
        for check in self.checks:
            parts = []
            for rows in range(0, len(check.ids), 64):
                ids, kinds = check.ids[rows : rows + 64], check.kinds[rows : rows + 64]
                with torch.autocast(self.pool.device.type, torch.bfloat16, enabled=self.pool.device.type == "cuda"):
                    parts.append(token_losses(self.model, ids, kinds, ids))
            losses, kinds, targets, best, ends = (torch.cat(column) for column in zip(*parts, strict=True))
            named = self.heads.accuracies(ends, check.facts)
            figures |= {f"{check.kind}.names_{name}": share for name, share in named.items()}
            losses, kinds, targets, best = losses.cpu(), kinds.cpu(), targets.cpu(), best.cpu()
            total += float((losses * weight[kinds.long()]).sum())
            count += float(weight[kinds.long()].sum())
            if (kinds == CODE).any():
                figures[f"{check.kind}.codes_nats"] = float(losses[kinds == CODE].mean())
            if check.kind == "generate":
                continue
            figures[f"{check.kind}.bpm"] = self._near_bpm(targets[kinds == BPM], best[kinds == BPM])
            for name, kind in (("key", KEY), ("meter", METER), ("genre", GENRE)):
                if (kinds == kind).any():
                    right = targets[kinds == kind] == best[kinds == kind]
                    figures[f"{check.kind}.{name}"] = float(right.float().mean())
        return {"loss": total / count, **figures} if count else figures

    def _near_bpm(self, targets: torch.Tensor, best: torch.Tensor) -> float:
        """Share of tempo tokens within 4 % (plus the rounding of a jittered target)."""
        near = 0
        for target, guess in zip(targets.tolist(), best.tolist(), strict=True):
            asked, said = (self.tokenizer.id_to_token(token) or "" for token in (target, guess))
            near += asked.isdecimal() and said.isdecimal() and abs(int(said) / max(int(asked), 1) - 1) <= 0.04
        return near / max(len(targets), 1)

    def _keep(self) -> None:
        assert self.state_path is not None
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": self.averaged.mean,
            "counts": (self.steps, self.tokens, self.sequences, self.elapsed_s, self.averaged.steps),
        }
        temporary = self.state_path.with_suffix(".partial")
        torch.save(state, temporary)
        os.replace(temporary, self.state_path)

    def _resume(self) -> None:
        if not (self.state_path and self.state_path.exists()):
            return
        state = torch.load(self.state_path, map_location=self.pool.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        for mine, kept in zip(self.averaged.mean, state["mean"], strict=True):
            mine.copy_(kept)
        self.steps, self.tokens, self.sequences, self.elapsed_s, self.averaged.steps = state["counts"]
        self.log(f"lm: resumed at step {self.steps} after {self.elapsed_s:.0f} s")


def save_lm(model: Qwen3ForCausalLM, tokenizer: Tokenizer, out_dir: Path, *, max_length: int) -> None:
    """Write weights (fp16 safetensors), config and tokenizer; every file appears whole or not at all."""
    out_dir.mkdir(parents=True, exist_ok=True)
    half = type(model)(model.config).half()
    half.load_state_dict({name: value.to(torch.float16) for name, value in model.state_dict().items()})
    half.generation_config.pad_token_id = token_id(tokenizer, PAD)
    with tempfile.TemporaryDirectory(dir=out_dir.parent) as folder:
        half.save_pretrained(folder)
        save_tokenizer(tokenizer, Path(folder), max_length=max_length)
        (Path(folder) / SIDECAR).write_text(json.dumps(_FACTS) + "\n")
        for file in sorted(Path(folder).iterdir()):
            os.replace(file, out_dir / file.name)
