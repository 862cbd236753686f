"""Making music: the public functions of the API document, and `plan`, which estimates a call before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acestep_like._lazy import lazy_names

if TYPE_CHECKING:
    from acestep_like.inference.api import (
        create_sample,
        format_sample,
        generate_music,
        understand_audio,
        understand_music,
    )
    from acestep_like.inference.estimate import Plan, plan
    from acestep_like.types.params import GenerationConfig, GenerationParams
    from acestep_like.types.results import (
        AudioResult,
        CreateSampleResult,
        FormatSampleResult,
        GenerationResult,
        UnderstandResult,
    )

__all__ = [
    "AudioResult",
    "CreateSampleResult",
    "FormatSampleResult",
    "GenerationConfig",
    "GenerationParams",
    "GenerationResult",
    "Plan",
    "UnderstandResult",
    "create_sample",
    "format_sample",
    "generate_music",
    "plan",
    "understand_audio",
    "understand_music",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "acestep_like.inference.api": [
            "create_sample",
            "format_sample",
            "generate_music",
            "understand_audio",
            "understand_music",
        ],
        "acestep_like.inference.estimate": ["Plan", "plan"],
        "acestep_like.types.params": ["GenerationConfig", "GenerationParams"],
        "acestep_like.types.results": [
            "AudioResult",
            "CreateSampleResult",
            "FormatSampleResult",
            "GenerationResult",
            "UnderstandResult",
        ],
    },
)
