"""Recordings as source latents, and as 5 Hz codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from acestep_like.audio.level import is_silent
from acestep_like.errors import InputError
from acestep_like.models.device import inference_only, require_finite
from acestep_like.models.diffusion.hints import silence_frames, tokenize
from acestep_like.models.diffusion.networks import Networks
from acestep_like.types.audio_codes import format_codes

if TYPE_CHECKING:
    from diffusers.pipelines.ace_step.modeling_ace_step import AceStepAudioTokenizer


def encode_source(networks: Networks, audio: torch.Tensor, silence: torch.Tensor) -> torch.Tensor:
    """Source latents [1, T, C] of audio [2, N], the posterior's mean; digital silence is the silence latent.

    T frames hold all N samples: silence fills the last one.
    """
    codec = networks.codec
    whole = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % codec.hop))
    if is_silent(audio):
        return silence_frames(silence, whole.shape[-1] // codec.hop)
    return require_finite(codec.encode(whole.unsqueeze(0)).float(), "Encoding the source", networks.codec_dtype)


def source_latents(networks: Networks, audio: torch.Tensor) -> torch.Tensor:
    """Latents [1, T, C], float32, of audio [2, N] at the codec's rate."""
    silence = networks.dit.silence.float().to(networks.device)
    with inference_only(networks.device), networks.residency.use("codec"):
        return encode_source(networks, audio, silence)


def required_tokenizer(networks: Networks) -> AceStepAudioTokenizer:
    """The audio tokenizer; InputError where the checkpoint has none."""
    tokenizer = networks.dit.audio_tokenizer
    if tokenizer is None:
        raise InputError("src_audio", "audio", f"a checkpoint with an audio tokenizer; {networks.info.name} has none")
    return tokenizer


def source_codes(networks: Networks, latents: torch.Tensor) -> str:
    """The code string of latents [1, T, C].

    Raises:
        InputError: the checkpoint has no audio tokenizer, or the audio is too short.
    """
    tokenizer = required_tokenizer(networks)
    silence = networks.dit.silence.to(networks.device, tokenizer.dtype)
    with inference_only(networks.device), networks.residency.use("dit"):
        _, indices = tokenize(tokenizer, latents.to(networks.device), silence)
    return format_codes(indices[0].tolist())
