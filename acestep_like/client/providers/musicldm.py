"""MusicLDM (Chen et al. 2023, arXiv:2308.01546): music from words, mono at 16 kHz, through `MusicLDMPipeline`."""

from __future__ import annotations

from typing import Any

import torch

from acestep_like.client.providers.base import Family, ModelOptions, Provider, loading
from acestep_like.client.providers.spectrogram_diffusion import (
    FIELDS,
    RANGES,
    SAMPLERS,
    SpectrogramDiffusion,
    load_pipeline,
    read_index,
)
from acestep_like.client.request import AudioRequest
from acestep_like.errors import CheckpointError

_LABEL = "MusicLDM"


class MusicLDM(SpectrogramDiffusion):
    """A loaded `MusicLDMPipeline`, which is given embeddings of the words: its own way of making them takes CLAP's
    features for a tensor, which transformers 5 wraps into an output."""

    def _words(self, request: AudioRequest, guidance: float) -> dict[str, Any]:
        unguided = {"negative_prompt_embeds": self._embed(request.negative_prompt or "")} if guidance > 1 else {}
        return {"prompt_embeds": self._embed(request.prompt), **unguided}

    @torch.no_grad()
    def _embed(self, text: str) -> torch.Tensor:
        """CLAP's features [1, C] of a text."""
        tokenizer, encoder = self._pipe.tokenizer, self._pipe.text_encoder
        tokens = tokenizer(
            text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        ).to(self._pipe.device)
        features = encoder.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask)
        embedding: torch.Tensor = getattr(features, "pooler_output", features)
        return embedding


def load(options: ModelOptions) -> Provider:
    """A MusicLDM checkpoint in the layout of diffusers.

    Raises:
        CheckpointError: not such a checkpoint, or an installed diffusers that has the pipeline no more.
        DeviceMemoryError: it does not fit the device.
    """
    with loading(_LABEL, options):
        pipeline = _pipeline()
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import ClapModel, SpeechT5HifiGan

        read_index(pipeline, options, _LABEL)
        networks = {
            "text_encoder": ClapModel,
            "unet": UNet2DConditionModel,
            "vae": AutoencoderKL,
            "vocoder": SpeechT5HifiGan,
        }
        return MusicLDM(load_pipeline(pipeline, networks, options))


def _pipeline() -> Any:
    try:
        from diffusers import MusicLDMPipeline
    except ImportError as error:
        remedy = "load an AudioLDM 2 checkpoint such as 'cvssp/audioldm2-music' instead"
        raise CheckpointError(f"The installed diffusers has no MusicLDMPipeline any more; {remedy}.") from error
    return MusicLDMPipeline


FAMILY = Family(
    name="musicldm",
    label=_LABEL,
    fields=FIELDS,
    load=load,
    defaults={"duration_s": 10.0, "num_inference_steps": 200, "guidance_scale": 2.0},
    ranges=RANGES,
    samplers=SAMPLERS,
)
