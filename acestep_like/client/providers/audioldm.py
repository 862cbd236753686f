"""AudioLDM: sounds and music from words, mono at 16 kHz, through `AudioLDMPipeline` of diffusers."""

from __future__ import annotations

from typing import Any

from acestep_like.client.providers.base import Family, ModelOptions, Provider, loading
from acestep_like.client.providers.spectrogram_diffusion import (
    FIELDS,
    RANGES,
    SAMPLERS,
    SpectrogramDiffusion,
    load_pipeline,
    read_index,
)
from acestep_like.errors import CheckpointError

_LABEL = "AudioLDM"


def load(options: ModelOptions) -> Provider:
    """An AudioLDM checkpoint in the layout of diffusers.

    Raises:
        CheckpointError: not such a checkpoint, or an installed diffusers that has the pipeline no more.
        DeviceMemoryError: it does not fit the device.
    """
    with loading(_LABEL, options):
        pipeline = _pipeline()
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import ClapTextModelWithProjection, SpeechT5HifiGan

        read_index(pipeline, options, _LABEL)
        networks = {
            "text_encoder": ClapTextModelWithProjection,
            "unet": UNet2DConditionModel,
            "vae": AutoencoderKL,
            "vocoder": SpeechT5HifiGan,
        }
        return SpectrogramDiffusion(load_pipeline(pipeline, networks, options))


def _pipeline() -> Any:
    try:
        from diffusers import AudioLDMPipeline
    except ImportError as error:
        remedy = "load an AudioLDM 2 checkpoint such as 'cvssp/audioldm2' instead"
        raise CheckpointError(f"The installed diffusers has no AudioLDMPipeline any more; {remedy}.") from error
    return AudioLDMPipeline


FAMILY = Family(
    name="audioldm",
    label=_LABEL,
    fields=FIELDS,
    load=load,
    defaults={"duration_s": 10.0, "num_inference_steps": 10, "guidance_scale": 2.5},
    ranges=RANGES,
    samplers=SAMPLERS,
)
