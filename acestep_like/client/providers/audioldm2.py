"""AudioLDM 2: sounds and music from words, mono at 16 or 48 kHz, through `AudioLDM2Pipeline` of diffusers."""

from __future__ import annotations

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

_LABEL = "AudioLDM 2"


def load(options: ModelOptions) -> Provider:
    """An AudioLDM 2 checkpoint in the layout of diffusers.

    Raises:
        CheckpointError: not such a checkpoint, or one that speaks a transcription instead of following words.
        DeviceMemoryError: it does not fit the device.
    """
    with loading(_LABEL, options):
        from diffusers import (
            AudioLDM2Pipeline,
            AudioLDM2ProjectionModel,
            AudioLDM2UNet2DConditionModel,
            AutoencoderKL,
        )
        from transformers import ClapModel, GPT2LMHeadModel, SpeechT5HifiGan, T5EncoderModel

        index = read_index(AudioLDM2Pipeline, options, _LABEL)
        if "Vits" in str(index.get("text_encoder_2")):
            raise CheckpointError(
                f"{options.source!r} reads a transcription aloud, which this client has no field for; load a "
                "checkpoint for sound or music, such as 'cvssp/audioldm2'."
            )
        networks = {
            "text_encoder": ClapModel,
            "text_encoder_2": T5EncoderModel,
            "projection_model": AudioLDM2ProjectionModel,
            # The published checkpoints name GPT2Model. The pipeline uses no head, but its loop calls methods that
            # transformers 5 gives only to models with one (https://github.com/huggingface/diffusers/issues/12630). The
            # head is tied to the embeddings, so that no weight is made up.
            "language_model": GPT2LMHeadModel,
            "unet": AudioLDM2UNet2DConditionModel,
            "vae": AutoencoderKL,
            "vocoder": SpeechT5HifiGan,
        }
        return SpectrogramDiffusion(load_pipeline(AudioLDM2Pipeline, networks, options))


FAMILY = Family(
    name="audioldm2",
    label=_LABEL,
    fields=FIELDS,
    load=load,
    defaults={"duration_s": 10.0, "num_inference_steps": 200, "guidance_scale": 3.5},
    ranges=RANGES,
    samplers=SAMPLERS,
)
