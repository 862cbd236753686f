"""A tiny random 5 Hz LM in the transformers layout, for tests that need no trained weights."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep_like.models.lm.model import LoadedLM, load_lm
from acestep_like.models.lm.prompts import chat
from acestep_like.training.lm_tokenizer import END_TURN, build_tokenizer, save_tokenizer

TEXTS = [
    chat(
        "Generate audio semantic tokens based on the given conditions:", "# Caption\njazz\n\n# Lyric\n[Instrumental]\n"
    ),
    "<think>\nbpm: 120\ncaption: A slow jazz piece\nduration: 30\ngenres: jazz\nkeyscale: C# minor\nlanguage: unknown\n"
    "timesignature: 4\n</think>\n\n# Lyric\n[Verse]\nla la\n",
] * 20


def write_random_lm(folder: Path, *, codes: int = 1024, seed: int = 0) -> Path:
    """Weights large enough that logits differ clearly, so that greedy choices are well defined."""
    tokenizer = build_tokenizer(TEXTS, text_entries=500, codes=codes)
    torch.manual_seed(seed)
    end = tokenizer.token_to_id(END_TURN)
    config = Qwen3Config(
        vocab_size=-(-tokenizer.get_vocab_size() // 64) * 64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        initializer_range=0.3,
        eos_token_id=end,
        pad_token_id=0,
        bos_token_id=None,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder, max_length=4096)
    return folder


@functools.cache
def random_lm_folder() -> Path:
    """One folder for the whole test run."""
    return write_random_lm(Path(tempfile.mkdtemp(prefix="lm-")) / "tiny-5Hz-lm")


@functools.cache
def random_lm() -> LoadedLM:
    return load_lm(random_lm_folder(), backend="pt", device="cpu")
