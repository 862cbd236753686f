"""The mini LM's own tokenizer: byte-level BPE, code tokens and a Qwen3-style chat template."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, TURN, END_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
# Qwen's split, but numbers stay whole up to three digits: 120 is one token in captions and metadata alike, so that
# copying a tempo is one step.
_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def build_tokenizer(texts: Iterable[str], *, text_entries: int, codes: int) -> Tokenizer:
    """Train the BPE on `texts`, then append the thinking tags and `codes` code tokens.

    The numbers 0 to 600 (tempi, durations) are given often enough to become one token each.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = list(texts)
    numbers = " ".join(str(number) for number in range(601))
    weight = max(20, len(texts) // 40)
    trainer = trainers.BpeTrainer(
        vocab_size=text_entries,
        special_tokens=[PAD, TURN, END_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *[numbers] * weight], trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    tokenizer.add_tokens([AddedToken(f"<|audio_code_{code}|>", normalized=False) for code in range(codes)])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, *, max_length: int) -> None:
    """Write the tokenizer in the transformers layout."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_TURN, pad_token=PAD, model_max_length=max_length
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
