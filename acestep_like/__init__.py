"""acestep_like: music generation in the style of ACE-Step 1.5.

The public names below are loaded on first use, so that `import acestep_like` costs milliseconds and no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "AceStepHandler": "handler",
    "LLMHandler": "llm_inference",
    "GenerationParams": "params",
    "GenerationConfig": "params",
    "GenerationResult": "results",
    "AudioResult": "results",
    "UnderstandResult": "results",
    "CreateSampleResult": "results",
    "FormatSampleResult": "results",
    "generate_music": "inference",
    "understand_music": "inference",
    "create_sample": "inference",
    "format_sample": "inference",
    "understand_audio": "inference",
    "plan": "planning",
    "Plan": "planning",
    "cover": "editing",
    "repaint": "editing",
    "extend": "editing",
    "extract": "editing",
    "lego": "editing",
    "complete": "editing",
    "AudioClient": "client",
    "audio_client": "client",
    "generate_audio": "client",
    "Clip": "clip",
    "CancelToken": "progress",
    "StepEvent": "progress",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
