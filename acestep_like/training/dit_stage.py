"""The stage dit of the recipe: latents, hints and texts -> transformer, condition encoder and text encoder."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acestep_like.models.diffusion.prompts import text_prompt
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.training.corpus.captions import random_caption, vocabulary
from acestep_like.training.corpus.distractor_words import Lookalikes, among_distractors
from acestep_like.training.data import HOP, Corpus
from acestep_like.training.dit import TEXT_WIDTH, DiTTraining, MiniDiT, Plan, Sizes, train_dit
from acestep_like.training.loop import half_precision_copy
from acestep_like.training.settings import Settings, log, record
from acestep_like.training.stages import codec_of
from acestep_like.training.text import (
    TEXT_LENGTH,
    Prompts,
    pieces_of,
    save_tokenizer,
    to_ids,
    tokenizer_texts,
    train_tokenizer,
)
from acestep_like.training.text_encoder import WordHeads, warm_up_text_encoder
from acestep_like.types.tasks import TASKS, build_instruction

_CAPTIONS = 40_000
"""Different captions that the text encoder meets; after that they come again."""

_LEARNED_TASKS = ("text2music", "cover", "repaint", "lego", "extract", "complete")
"""The tasks of the embedded model, in the order of its labels."""

CaptionBatch = tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]
"""Token ids [N, L], lengths [N], and labels of what each caption says."""


def stage_dit(settings: Settings) -> None:
    """Train transformer, condition encoder and text encoder; a run that was stopped goes on from its last save."""
    target = settings.work / "dit"
    if (target / "complete").exists():
        return
    corpus = Corpus.load(settings.work / "corpus")
    tokenizer = _text_tokenizer(settings, corpus, target)
    model = _new_model(settings, len(tokenizer))
    state = target / "state.pt"
    words = _word_heads(settings, model, _caption_batches(tokenizer, 11), warmed_up=state.exists())
    corpus = corpus.to(settings.device)
    plan = _training_plan(settings)
    training = DiTTraining(model, corpus, Prompts(corpus, tokenizer, settings.device), words, plan, settings.device)
    if state.exists():
        training.load(state)
        log(f"dit: resumed at step {training.budget.step}")

    def save(running: DiTTraining) -> None:
        running.save(state)
        _save_dit(running.average.module, target)
        log(f"dit: saved at step {running.budget.step + 1}")

    averaged = train_dit(training, hints=lambda: _hints(settings), checkpoint=save, log=log)
    training.save(state)
    _save_dit(averaged, target)
    record(
        settings,
        "dit",
        steps=training.budget.step,
        minutes=round(training.budget.elapsed_s / 60, 1),
        went_on_from_finished_weights=settings.start is not None,
        held_out_loss=round(training.held_out_loss(), 4),
    )
    (target / "complete").touch()


def _text_tokenizer(settings: Settings, corpus: Corpus, target: Path) -> Any:
    """The text tokenizer of this run, saved with it; a model that goes on keeps the ids that it has learned."""
    from transformers import PreTrainedTokenizerFast

    known = target / "tokenizer" if settings.start is None else settings.start / "tokenizer"
    if known.exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(known, trust_remote_code=False)
    else:
        tokenizer = train_tokenizer([*tokenizer_texts(corpus), *vocabulary()])
    save_tokenizer(tokenizer, target / "tokenizer")
    log(f"text: {len(tokenizer)} entries")
    return tokenizer


def _new_model(settings: Settings, entries: int) -> MiniDiT:
    """An untrained model, or that of `settings.start` to go on from."""
    codec = codec_of(settings)
    with torch.no_grad():
        silence = codec.encode(torch.zeros(1, 2, 10 * HOP, device=settings.device)).latent_dist.mode()[0, :, 5]
    sizes = Sizes(width=128, intermediate=192, layers=2, encoder_intermediate=128) if settings.quick else Sizes()
    model = MiniDiT(entries, silence.float().cpu(), sizes)
    millions = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.named_children()}
    log("dit: parameters " + ", ".join(f"{name} {count:.2f} M" for name, count in millions.items()))
    if settings.start is not None:
        model.load_parts(settings.start)
    return model


def _word_heads(
    settings: Settings, model: MiniDiT, captions: Callable[[int], CaptionBatch], *, warmed_up: bool
) -> WordHeads:
    """Heads that keep the text encoder to what captions say; they warm it up, unless a run resumes."""
    if warmed_up:
        return WordHeads(TEXT_WIDTH, captions)
    words, _ = warm_up_text_encoder(
        model.text_encoder,
        captions,
        minutes=settings.warm_up_minutes,
        device=settings.device,
        steps=settings.steps(5),
        batch=16 if settings.quick else 64 if settings.device == "cpu" else 256,
        log=log,
    )
    return words


def _training_plan(settings: Settings) -> Plan:
    if settings.device == "cpu":
        return Plan.for_cpu(settings.dit_minutes, settings.steps(6), trained=settings.start is not None)
    return Plan(settings.dit_minutes, settings.batch, compiled=settings.compiled, steps=settings.steps(6))


def _hints(settings: Settings) -> torch.Tensor | None:
    """Latents decoded from codes, once the stage tokenizer has made them."""
    folder = settings.work / "tokenizers"
    if not (folder / "codes.npz").exists():
        return None
    return torch.load(folder / "hints.pt", weights_only=True, mmap=True).to(settings.device)


def _save_dit(model: Any, target: Path) -> None:
    for name in ("transformer", "condition_encoder", "text_encoder"):
        half: Any = half_precision_copy(getattr(model, name))
        half.save_pretrained(target / f"{name}.tmp")
        shutil.rmtree(target / name, ignore_errors=True)
        os.replace(target / f"{name}.tmp", target / name)


def _caption_batches(tokenizer: Any, seed: int) -> Callable[[int], CaptionBatch]:
    """Captions with labels of what they say, inside the prompts they will be met in: all tasks, some metadata, and
    many with unknown words made of the tokenizer's own pieces."""
    rng = random.Random(seed)
    lookalikes = Lookalikes(vocabulary(), pieces_of(tokenizer))
    pool: list[tuple[torch.Tensor, int, dict[str, Any]]] = []

    def one() -> tuple[str, dict[str, Any]]:
        caption, labels = random_caption(rng)
        if rng.random() < 0.4:
            caption = among_distractors(caption, rng, lookalikes)
        task = "text2music" if rng.random() < 0.6 else rng.choice(_LEARNED_TASKS)
        tracks = rng.sample(TRACK_NAMES, rng.randint(1, 4) if TASKS[task].tracks == "many" else 1)
        tracks = tracks if TASKS[task].tracks != "none" else []
        known = [rng.random() < 0.7 for _ in range(3)]
        text = text_prompt(
            build_instruction(task, tracks),
            caption,
            bpm=rng.randint(50, 190) if known[0] else None,
            keyscale=f"{rng.choice('CDEFGAB')}{rng.choice(('', '', '#', 'b'))} {rng.choice(('major', 'minor'))}"
            if known[1]
            else "",
            timesignature=rng.choice("2346") if known[2] else "",
            duration=rng.randint(10, 120),
        )
        named = [int(name in tracks) for name in TRACK_NAMES]
        return text, {**labels, "task": _LEARNED_TASKS.index(task), "tracks": named}

    def grow(count: int) -> None:
        drawn = [one() for _ in range(count)]
        ids, lengths = to_ids(tokenizer, [text for text, _ in drawn], TEXT_LENGTH)
        pool.extend(zip(ids, lengths.tolist(), (labels for _, labels in drawn), strict=True))

    def draw(count: int) -> CaptionBatch:
        if len(pool) < _CAPTIONS:
            grow(max(count, 1024))
        picked = [pool[rng.randrange(len(pool))] for _ in range(count)]
        targets = {}
        for name, value in picked[0][2].items():
            values = [labels[name] for _, _, labels in picked]
            dtype = torch.int64 if isinstance(value, int) else torch.float32
            targets[name] = torch.tensor(np.asarray(values), dtype=dtype)
        return torch.stack([p[0] for p in picked]), torch.tensor([p[1] for p in picked]), targets

    return draw
