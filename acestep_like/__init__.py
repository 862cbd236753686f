"""acestep_like: music generation in the style of ACE-Step 1.5.

The public names below are loaded on first use, so that `import acestep_like` costs milliseconds and no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from acestep_like._lazy import lazy_names

if TYPE_CHECKING:
    from acestep_like.client.client import AudioClient, audio_client, generate_audio
    from acestep_like.client.clip import Clip
    from acestep_like.editing.covering import cover
    from acestep_like.editing.layers import complete, lego
    from acestep_like.editing.repainting import extend, repaint
    from acestep_like.editing.stems import extract
    from acestep_like.errors import (
        AceStepError,
        Cancelled,
        CheckpointError,
        DependencyError,
        DeviceMemoryError,
        InputError,
        LMError,
        NotLoadedError,
        OutputError,
        UnsupportedTaskError,
    )
    from acestep_like.handler import AceStepHandler
    from acestep_like.inference.api import (
        create_sample,
        format_sample,
        generate_music,
        understand_audio,
        understand_music,
    )
    from acestep_like.inference.estimate import Plan, plan
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.types.audio_source import AudioSource
    from acestep_like.types.params import GenerationConfig, GenerationParams
    from acestep_like.types.progress import CancelToken, StepEvent
    from acestep_like.types.results import (
        AudioResult,
        CreateSampleResult,
        FormatSampleResult,
        GenerationResult,
        UnderstandResult,
    )

__all__ = [
    "AceStepError",
    "AceStepHandler",
    "AudioClient",
    "AudioResult",
    "AudioSource",
    "CancelToken",
    "Cancelled",
    "CheckpointError",
    "Clip",
    "CreateSampleResult",
    "DependencyError",
    "DeviceMemoryError",
    "FormatSampleResult",
    "GenerationConfig",
    "GenerationParams",
    "GenerationResult",
    "InputError",
    "LLMHandler",
    "LMError",
    "NotLoadedError",
    "OutputError",
    "Plan",
    "StepEvent",
    "UnderstandResult",
    "UnsupportedTaskError",
    "__version__",
    "audio_client",
    "complete",
    "cover",
    "create_sample",
    "extend",
    "extract",
    "format_sample",
    "generate_audio",
    "generate_music",
    "lego",
    "plan",
    "repaint",
    "understand_audio",
    "understand_music",
]

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "acestep_like.handler": ["AceStepHandler"],
        "acestep_like.errors": [
            "AceStepError",
            "Cancelled",
            "CheckpointError",
            "DependencyError",
            "DeviceMemoryError",
            "InputError",
            "LMError",
            "NotLoadedError",
            "OutputError",
            "UnsupportedTaskError",
        ],
        "acestep_like.llm_inference": ["LLMHandler"],
        "acestep_like.types.params": ["GenerationConfig", "GenerationParams"],
        "acestep_like.types.results": [
            "AudioResult",
            "CreateSampleResult",
            "FormatSampleResult",
            "GenerationResult",
            "UnderstandResult",
        ],
        "acestep_like.inference.api": [
            "create_sample",
            "format_sample",
            "generate_music",
            "understand_audio",
            "understand_music",
        ],
        "acestep_like.inference.estimate": ["Plan", "plan"],
        "acestep_like.editing.covering": ["cover"],
        "acestep_like.editing.layers": ["complete", "lego"],
        "acestep_like.editing.repainting": ["extend", "repaint"],
        "acestep_like.editing.stems": ["extract"],
        "acestep_like.client.client": ["AudioClient", "audio_client", "generate_audio"],
        "acestep_like.client.clip": ["Clip"],
        "acestep_like.types.audio_source": ["AudioSource"],
        "acestep_like.types.progress": ["CancelToken", "StepEvent"],
    },
)
