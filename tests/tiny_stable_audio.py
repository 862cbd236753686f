"""Tiny random Stable Audio checkpoints as `StableAudioPipeline.save_pretrained` writes them: for tests of promises."""

from __future__ import annotations

import json
from pathlib import Path

import torch

RATE = 16000
HOP = 256
WINDOW = 63
"""Latent frames of the window: 16128 samples, 1.008 s."""
CHANNELS = 4
LOUDER = 1.5
"""Factor on the transformer's matrices: at their initial size the words would hardly move the sound."""

_CLASSES = {
    "projection_model": ["stable_audio", "StableAudioProjectionModel"],
    "scheduler": ["diffusers", "CosineDPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "StableAudioDiTModel"],
    "vae": ["diffusers", "AutoencoderOobleck"],
}


def save_stable_audio(folder: Path, *, audio_channels: int = 2, seed: int = 0) -> Path:
    """Write a checkpoint. Its scheduler is only named: that one needs torchsde, and the provider needs none."""
    from diffusers import AutoencoderOobleck, StableAudioDiTModel
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel
    from transformers import T5Config, T5EncoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "transformer": StableAudioDiTModel(
                sample_size=WINDOW,
                in_channels=CHANNELS,
                out_channels=CHANNELS,
                num_layers=1,
                attention_head_dim=4,
                num_attention_heads=4,
                num_key_value_attention_heads=2,
                cross_attention_dim=8,
                time_proj_dim=8,
                global_states_input_dim=16,
                cross_attention_input_dim=8,
            ),
            "vae": AutoencoderOobleck(
                encoder_hidden_size=2 * CHANNELS,
                downsampling_ratios=[2, 4, 4, 8],
                decoder_channels=4,
                decoder_input_channels=CHANNELS,
                audio_channels=audio_channels,
                channel_multiples=[1, 1, 2, 2],
                sampling_rate=RATE,
            ),
            "projection_model": StableAudioProjectionModel(16, 8, 0, 512),
            "text_encoder": T5EncoderModel(
                T5Config(vocab_size=128, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1)
            ),
        }
        with torch.no_grad():
            for weight in parts["transformer"].parameters():
                if weight.dim() == 2:
                    weight.mul_(LOUDER)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    _tokenizer().save_pretrained(folder / "tokenizer")
    index = {"_class_name": "StableAudioPipeline", "_diffusers_version": "0.42.1", **_CLASSES}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def _tokenizer():
    from transformers import T5Tokenizer

    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789-"]
    return T5Tokenizer(vocab=marks + letters, extra_ids=0, model_max_length=32)
