"""Tiny random checkpoints in the published layouts, built in a second: for tests of shapes and promises only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

CHANNELS = 8
HOP = 1920
LEVELS = [4, 4, 4, 4]
_SIZES = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 4}
WORDS = (
    "# Instruction Fill the audio semantic mask based on the given conditions: # Caption # Metas bpm timesignature "
    "keyscale duration seconds N/A C major A minor # Languages unknown en # Lyric [Instrumental] lo-fi piano drums"
)


def config(*, turbo: bool = False, xl: bool = False) -> dict[str, Any]:
    """An upstream `config.json` of tiny sizes."""
    values: dict[str, Any] = {
        **_SIZES,
        "model_type": "acestep",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "in_channels": 3 * CHANNELS,
        "audio_acoustic_hidden_dim": CHANNELS,
        "timbre_hidden_dim": CHANNELS,
        "patch_size": 2,
        "pool_window_size": 5,
        "rope_theta": 10000,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "text_hidden_dim": 16,
        "fsq_dim": 32,
        "fsq_input_levels": LEVELS,
        "fsq_input_num_quantizers": 1,
        "num_lyric_encoder_hidden_layers": 1,
        "num_timbre_encoder_hidden_layers": 1,
        "num_attention_pooler_hidden_layers": 1,
        "is_turbo": turbo,
        "model_version": "turbo" if turbo else "base",
    }
    if xl:
        values |= {
            "encoder_hidden_size": 24,
            "encoder_intermediate_size": 40,
            "encoder_num_attention_heads": 3,
            "encoder_num_key_value_heads": 1,
            "fsq_dim": 24,
        }
    return values


def modules(*, guide_channels: int = 0, turbo: bool = False, xl: bool = False, seed: int = 0) -> dict[str, Any]:
    """The four DiT networks with random weights."""
    from acestep_like.models.checkpoints.upstream_layout import part_configs
    from acestep_like.models.diffusion.load import PART_CLASSES

    configs = part_configs(config(turbo=turbo, xl=xl))
    configs["transformer"]["in_channels"] += guide_channels
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = {part: cls.from_config(configs[part]) for part, cls in PART_CLASSES.items()}
        ramp = torch.linspace(0, 40, 15000).view(1, -1, 1)
        built["condition_encoder"].silence_latent.copy_(0.3 * torch.sin(ramp + torch.arange(CHANNELS)))
    return built


def save_text_encoder(folder: Path, tokenizer_folder: Path, seed: int = 0) -> None:
    """A tiny Qwen3 text encoder and a BPE trained on a sentence."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|pad|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([WORDS], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|endoftext|>")
    tokenizer.save_pretrained(tokenizer_folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Qwen3Model(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                use_cache=False,
            )
        )
    encoder.save_pretrained(folder)


def save_vae(folder: Path, seed: int = 0) -> None:
    """A tiny Oobleck codec with the published hop and `CHANNELS` latents."""
    from diffusers import AutoencoderOobleck

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = AutoencoderOobleck(
            encoder_hidden_size=2 * CHANNELS,
            downsampling_ratios=[2, 4, 4, 6, 10],
            channel_multiples=[1, 1, 1, 1, 1],
            decoder_channels=4,
            decoder_input_channels=CHANNELS,
            audio_channels=2,
            sampling_rate=48000,
        )
    # Random weights hardly pass a signal on; latents that move are needed to tell one source from another.
    for name, parameter in vae.encoder.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    vae.encoder.conv2.weight_g.data.mul_(200)
    vae.save_pretrained(folder)


def save_diffusers(
    folder: Path, *, guide: bool = False, tokenizer: bool = True, turbo: bool = False, xl: bool = False, **sidecar: Any
) -> Path:
    """A checkpoint in diffusers layout; `guide` makes it like the mini, with the sidecar's other keys as given."""
    from acestep_like.models.diffusion.guide import GUIDE_CHANNELS, GUIDE_VERSION

    built = modules(guide_channels=GUIDE_CHANNELS if guide else 0, turbo=turbo, xl=xl)
    for part, module in built.items():
        if tokenizer or not part.startswith("audio_token"):
            module.save_pretrained(folder / part)
    save_text_encoder(folder / "text_encoder", folder / "tokenizer")
    save_vae(folder / "vae")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "AceStepPipeline"}))
    if guide:
        facts = {
            "codec": "AutoencoderOobleck",
            "guide_version": GUIDE_VERSION,
            "max_duration_s": 60.0,
            "tasks": ["text2music", "cover", "repaint", "lego", "extract", "complete"],
            "defaults": {"inference_steps": 4, "shift": 1.5, "guidance_scale": 3.0},
            "guidance_mode": "cfg",
            "lm": None,
        }
        (folder / "acestep_like.json").write_text(json.dumps(facts | sidecar))
    return folder


def save_upstream(
    root: Path, name: str = "acestep-v15-base", *, turbo: bool = False, xl: bool = False, shards: int = 1
) -> Path:
    """A checkpoint in upstream layout with its siblings; answers the DiT's folder."""
    from acestep_like.models.checkpoints.upstream_layout import upstream_key

    built = modules(turbo=turbo, xl=xl)
    folder = root / name
    folder.mkdir(parents=True)
    state = {
        upstream_key(part, key): value.to(torch.bfloat16).contiguous()
        for part, module in built.items()
        for key, value in module.state_dict().items()
        if key != "silence_latent"
    }
    if shards == 1:
        save_file(state, folder / "model.safetensors")
    else:
        keys = sorted(state)
        names = [f"model-{k + 1:05d}-of-{shards:05d}.safetensors" for k in range(shards)]
        weight_map = {key: names[index % shards] for index, key in enumerate(keys)}
        for file in names:
            save_file({key: state[key] for key in keys if weight_map[key] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    silence = built["condition_encoder"].silence_latent
    torch.save(silence.transpose(1, 2).contiguous(), folder / "silence_latent.pt")
    (folder / "config.json").write_text(json.dumps(config(turbo=turbo, xl=xl)))
    if not (root / "vae").is_dir():
        save_vae(root / "vae")
        save_text_encoder(root / "Qwen3-Embedding-0.6B", root / "Qwen3-Embedding-0.6B")
    return folder
