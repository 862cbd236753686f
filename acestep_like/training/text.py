"""Texts of the DiT's training: the small tokenizer, and every prompt of every song as token ids.

The prompts are built by the same functions that inference uses (`diffusion.prompts`, `tasks`), so that the
model never sees a sentence at inference that is laid out otherwise than in training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from acestep_like.models.diffusion.prompts import lyric_prompt, text_prompt
from acestep_like.training.data import Corpus, SongRow
from acestep_like.types.tasks import CODES_INSTRUCTION, DEFAULT_INSTRUCTION, build_instruction

PAD, END = "<|pad|>", "<|endoftext|>"
TEXT_LENGTH, LYRIC_LENGTH = 128, 160
_META_DROPOUT = 0.15

SONG_VARIANTS = {"text2music": 10, "cover": 4, "repaint": 2, "complete": 2}
TRACK_VARIANTS = {"lego": 2, "extract": 2}


def train_tokenizer(texts: Iterable[str], vocabulary: int = 2500) -> Any:
    """A byte-level BPE as a transformers tokenizer. Whole numbers of up to three digits stay one piece."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,3}|\n+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, model_max_length=2048)


def pieces_of(tokenizer: Any) -> list[str]:
    """The pieces of words that the tokenizer knows, in small letters, without the mark of a word's beginning."""
    return sorted({tokenizer.decode([index]).strip().lower() for index in range(len(tokenizer))})


def _metas(row: SongRow, rng: random.Random, plain: bool = False) -> dict[str, Any]:
    known = row.metadata
    keep = {name: plain or rng.random() > _META_DROPOUT for name in ("bpm", "keyscale", "timesignature")}
    duration = max(10, round(known["duration"] * rng.uniform(0.5, 3.0))) if not plain else round(known["duration"])
    return {
        "bpm": known["bpm"] if keep["bpm"] else None,
        "keyscale": known["keyscale"] if keep["keyscale"] else "",
        "timesignature": str(known["timesignature"]) if keep["timesignature"] else "",
        "duration": duration,
    }


def _prompt(row: SongRow, instruction: str, rng: random.Random, caption_share: float = 1.0) -> str:
    caption = rng.choice(row.captions) if rng.random() < caption_share else ""
    return text_prompt(instruction, caption, **_metas(row, rng))


def song_prompts(row: SongRow) -> dict[str, list[str]]:
    """All text prompts of a song by task, each with its own caption and its own missing metadata; seeded."""
    rng = random.Random(row.seed ^ 0x7E47)
    missing = row.partial[1] if row.partial else row.tracks[:1]
    instructions = {
        "text2music": DEFAULT_INSTRUCTION,
        "cover": CODES_INSTRUCTION,
        "repaint": build_instruction("repaint"),
        "complete": build_instruction("complete", missing),
    }
    return {
        task: [_prompt(row, instructions[task], rng, 0.97) for _ in range(count)]
        for task, count in SONG_VARIANTS.items()
    }


def track_prompts(row: SongRow, track: str) -> dict[str, list[str]]:
    """Text prompts of lego and extract for one track of a song; extract mostly without caption."""
    rng = random.Random(f"{row.seed}/{track}")
    shares = {"lego": 0.8, "extract": 0.3}
    return {
        task: [_prompt(row, build_instruction(task, [track]), rng, shares[task]) for _ in range(count)]
        for task, count in TRACK_VARIANTS.items()
    }


def song_lyrics(row: SongRow) -> list[str]:
    """The lyric prompt of a song, and one without lyrics."""
    language = row.metadata.get("language", "unknown")
    return [lyric_prompt(language, row.lyrics), lyric_prompt("unknown", "")]


def to_ids(tokenizer: Any, texts: Sequence[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [n, length] int16, right-padded, and lengths [n]."""
    encoded = tokenizer(list(texts), truncation=True, max_length=length, padding="max_length", return_tensors="pt")
    return encoded["input_ids"].to(torch.int16), encoded["attention_mask"].sum(1)


class Prompts:
    """Token ids of all prompts of a corpus on one device, addressed by song or track row and variant."""

    def __init__(self, corpus: Corpus, tokenizer: Any, device: str) -> None:
        per_song = [song_prompts(row) for row in corpus.rows]
        self.song: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for task, count in SONG_VARIANTS.items():
            ids, lengths = to_ids(tokenizer, [p for prompts in per_song for p in prompts[task]], TEXT_LENGTH)
            self.song[task] = (ids.view(-1, count, TEXT_LENGTH).to(device), lengths.view(-1, count).to(device))
        tracks = [(row, track) for row in corpus.rows for track in row.stems]
        per_track = [track_prompts(row, track) for row, track in tracks]
        self.track: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for task, count in TRACK_VARIANTS.items():
            if not per_track:
                continue
            ids, lengths = to_ids(tokenizer, [p for prompts in per_track for p in prompts[task]], TEXT_LENGTH)
            self.track[task] = (ids.view(-1, count, TEXT_LENGTH).to(device), lengths.view(-1, count).to(device))
        ids, lengths = to_ids(tokenizer, [p for row in corpus.rows for p in song_lyrics(row)], LYRIC_LENGTH)
        self.lyrics = (ids.view(-1, 2, LYRIC_LENGTH).to(device), lengths.view(-1, 2).to(device))


def tokenizer_texts(corpus: Corpus) -> list[str]:
    """What the tokenizer is trained on: prompts of all kinds, lyrics, and every number and key."""
    texts = []
    for row in corpus.rows:
        texts += [prompt for prompts in song_prompts(row).values() for prompt in prompts]
        texts += song_lyrics(row)
        texts += row.queries
    texts += [f"- bpm: {bpm}\n- duration: {bpm} seconds" for bpm in range(10, 601)]
    return texts


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer in transformers layout."""
    tokenizer.save_pretrained(folder)
