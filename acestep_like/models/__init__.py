"""Models: devices, checkpoints, codec, diffusion, language model, analysis; and which audio models there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acestep_like._lazy import lazy_names

if TYPE_CHECKING:
    from acestep_like.models.catalog import (
        FAMILIES,
        MODEL_VARIABLE,
        AudioModel,
        HuggingFaceAudioModel,
        HuggingFaceAudioSpec,
        available_audio_models,
        family_of_folder,
        resolve_audio_model,
    )

__all__ = [
    "FAMILIES",
    "MODEL_VARIABLE",
    "AudioModel",
    "HuggingFaceAudioModel",
    "HuggingFaceAudioSpec",
    "available_audio_models",
    "family_of_folder",
    "resolve_audio_model",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "acestep_like.models.catalog": [
            "FAMILIES",
            "MODEL_VARIABLE",
            "AudioModel",
            "HuggingFaceAudioModel",
            "HuggingFaceAudioSpec",
            "available_audio_models",
            "family_of_folder",
            "resolve_audio_model",
        ],
    },
)
