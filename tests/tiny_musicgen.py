"""Tiny random MusicGen checkpoints as `save_pretrained` writes them: for tests of shapes and promises only."""

from __future__ import annotations

from pathlib import Path

import torch

RATE = 32000
HOP = 640
CODEBOOK = 64
LOUDER = 8.0
"""Factor on all matrices: at their initial size words and melodies would not move the logits enough to be detected."""

_TEXT = {"vocab_size": 128, "d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 1, "model_type": "t5"}
_CODEC = {
    "model_type": "encodec",
    "sampling_rate": RATE,
    "audio_channels": 1,
    "num_filters": 4,
    "hidden_size": 8,
    "codebook_size": CODEBOOK,
    "codebook_dim": 8,
    "upsampling_ratios": [8, 5, 4, 4],
    "num_lstm_layers": 1,
    "target_bandwidths": [1.2],
    "use_causal_conv": False,
    "use_conv_shortcut": False,
}
_DECODER = {
    "vocab_size": CODEBOOK,
    "hidden_size": 16,
    "ffn_dim": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "pad_token_id": CODEBOOK,
    "bos_token_id": CODEBOOK,
}


def save_musicgen(
    folder: Path, *, melody: bool = False, channels: int = 1, window_tokens: int = 150, seed: int = 0
) -> Path:
    """Write a checkpoint of 50 frames a second, four codebooks a channel, and a window of 3 s unless told otherwise."""
    from transformers import (
        MusicgenConfig,
        MusicgenForConditionalGeneration,
        MusicgenMelodyConfig,
        MusicgenMelodyForConditionalGeneration,
    )

    parts = {
        "text_encoder": _TEXT,
        "audio_encoder": _CODEC,
        "decoder": _DECODER | {"num_codebooks": 4 * channels, "audio_channels": channels},
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (
            MusicgenMelodyForConditionalGeneration(MusicgenMelodyConfig(**parts, num_chroma=12, chroma_length=24))
            if melody
            else MusicgenForConditionalGeneration(MusicgenConfig(**parts))
        )
        with torch.no_grad():
            for layer in model.audio_encoder.quantizer.layers:  # zero when new: every token would sound alike
                layer.codebook.embed.normal_()
            for name, weight in model.named_parameters():
                if weight.dim() == 2 and not name.startswith("audio_encoder."):
                    weight.mul_(LOUDER)
    for name in ("decoder_start_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, CODEBOOK)
    model.generation_config.update(do_sample=True, guidance_scale=3.0, max_length=window_tokens)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer():
    from transformers import T5Tokenizer

    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789-"]
    return T5Tokenizer(vocab=marks + letters, extra_ids=0, model_max_length=32)
