"""Tiny random AudioLDM and AudioLDM 2 checkpoints in the published layout: for tests of shapes and promises only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

FRAMES_PER_SECOND = 100
SAMPLE_RATE = 16000
_BELLS = {"upsample_rates": [5, 4, 2, 2, 2], "upsample_kernel_sizes": [16, 16, 8, 4, 4]}
_BLOCKS = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": (8, 16),
}
_TEXT = {
    "vocab_size": 300,
    "hidden_size": 8,
    "num_attention_heads": 1,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}


def build_audioldm(folder: Path) -> Path:
    """Writes an AudioLDM checkpoint (16 kHz, 0.6 MiB) into `folder`."""
    from diffusers import AudioLDMPipeline, UNet2DConditionModel
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            **_BLOCKS,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=8,
            class_embeddings_concat=True,
        )
        text_encoder = ClapTextModelWithProjection(ClapTextConfig(**_TEXT, projection_dim=8))
        pipe = AudioLDMPipeline(
            text_encoder=_lively(text_encoder), tokenizer=_roberta(), unet=_lively(unet), **_sounding()
        )
    pipe.save_pretrained(folder)
    return folder


def build_musicldm(folder: Path) -> Path:
    """Writes a MusicLDM checkpoint (16 kHz, 1 MiB) into `folder`."""
    from diffusers import MusicLDMPipeline, UNet2DConditionModel
    from transformers import ClapModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            **_BLOCKS,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=16,
            class_embeddings_concat=True,
        )
        pipe = MusicLDMPipeline(
            text_encoder=_lively(ClapModel(_clap())),
            tokenizer=_roberta(),
            feature_extractor=_clap_features(),
            unet=_lively(unet),
            **_sounding(),
        )
    pipe.save_pretrained(folder)
    return folder


def _clap() -> Any:
    from transformers import ClapConfig

    taggers = {"spec_size": 16, "window_size": 4, "num_mel_bins": 16, "depths": [1, 1], "num_attention_heads": [1, 1]}
    patches = {"hidden_size": 192, "patch_size": 2, "patch_stride": 2, "patch_embed_input_channels": 4}
    return ClapConfig(
        text_config={**_TEXT, "projection_dim": 16},
        audio_config={**taggers, **patches, "projection_dim": 16},
        projection_dim=16,
    )


def _clap_features() -> Any:
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16000,
        hop_length=1100,
        max_length_s=1,
        fft_window_size=512,
        truncation="fusion",
        frequency_max=8000,
    )


def build_audioldm2(folder: Path, *, headless: bool = False) -> Path:
    """Writes an AudioLDM 2 checkpoint (16 kHz, 3 MiB) into `folder`.

    Args:
        headless: name and save the language model as the published checkpoints do, as `GPT2Model`.
    """
    import transformers as hf
    from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        t5 = hf.T5Config(vocab_size=300, d_model=32, d_ff=32, d_kv=8, num_heads=2, num_layers=1)
        gpt2 = hf.GPT2Config(
            n_embd=16, n_head=1, n_layer=1, vocab_size=100, n_positions=99, bos_token_id=0, eos_token_id=0
        )
        gpt2.max_new_tokens = 8
        pipe = AudioLDM2Pipeline(
            text_encoder=_lively(hf.ClapModel(_clap())),
            text_encoder_2=_lively(hf.T5EncoderModel(t5)),
            projection_model=AudioLDM2ProjectionModel(
                text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16
            ),
            language_model=hf.GPT2LMHeadModel(gpt2),
            tokenizer=_roberta(),
            tokenizer_2=_t5(),
            feature_extractor=_clap_features(),
            unet=_lively(AudioLDM2UNet2DConditionModel(**_BLOCKS)),
            **_sounding(),
        )
    pipe.save_pretrained(folder)
    if headless:
        pipe.language_model.transformer.save_pretrained(folder / "language_model")
        edit_json(folder / "model_index.json", language_model=["transformers", "GPT2Model"])
        edit_json(folder / "language_model" / "config.json", max_new_tokens=8)
    return folder


def edit_json(path: Path, **values: Any) -> None:
    """Sets entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _sounding() -> dict[str, Any]:
    """What both pipelines end in: scheduler, VAE and vocoder."""
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    vae = AutoencoderKL(
        block_out_channels=[8, 16],
        in_channels=1,
        out_channels=1,
        norm_num_groups=8,
        latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
    )
    vocoder = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8,
            sampling_rate=SAMPLE_RATE,
            upsample_initial_channel=32,
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
            **_BELLS,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return {"vae": _lively(vae), "vocoder": _lively(vocoder), "scheduler": scheduler}


def _lively(model: Any) -> Any:
    """Weights as they are initialised hardly let an input through: neither prompt nor seed would be detected."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=(weight[0].numel()) ** -0.5)
    return model.eval()


def _roberta() -> Any:
    from transformers import RobertaTokenizer

    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    letters = [*"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    vocab = special | {letter: len(special) + k for k, letter in enumerate(letters)}
    return RobertaTokenizer(vocab=vocab, merges=[], model_max_length=32)


def _t5() -> Any:
    from transformers import T5Tokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=32)
