"""One client for every family of audio models: `audio_client("mini").generate("a lo-fi beat")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acestep_like._lazy import lazy_names

if TYPE_CHECKING:
    from acestep_like.client.client import OPTIONS, AudioClient, audio_client, generate_audio
    from acestep_like.client.clip import Clip
    from acestep_like.client.events import ClipReady, StepDone
    from acestep_like.client.output import FORMS, OUTPUT_VARIABLE, encoder
    from acestep_like.client.request import AudioRequest

__all__ = [
    "FORMS",
    "OPTIONS",
    "OUTPUT_VARIABLE",
    "AudioClient",
    "AudioRequest",
    "Clip",
    "ClipReady",
    "StepDone",
    "audio_client",
    "encoder",
    "generate_audio",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "acestep_like.client.client": ["OPTIONS", "AudioClient", "audio_client", "generate_audio"],
        "acestep_like.client.clip": ["Clip"],
        "acestep_like.client.events": ["ClipReady", "StepDone"],
        "acestep_like.client.output": ["FORMS", "OUTPUT_VARIABLE", "encoder"],
        "acestep_like.client.request": ["AudioRequest"],
    },
)
