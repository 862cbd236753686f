"""LLMHandler: owns a loaded 5 Hz language model and answers in musical terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acestep_like.errors import NotLoadedError
from acestep_like.lm.base import LMBackend
from acestep_like.lm.requests import (
    DEFAULT_SAMPLING,
    NO_USER_INPUT,
    Description,
    LMObserver,
    Metadata,
    Sampling,
    ThinkRequest,
    Thought,
)
from acestep_like.progress import CancelToken

__all__ = ["NO_USER_INPUT", "Description", "LLMHandler", "Metadata", "Sampling", "ThinkRequest", "Thought"]


class LLMHandler:
    """Plans songs (`think`), describes codes (`understand`), invents and rewrites requests (`inspire`, `format`).

    Attributes:
        llm_initialized: a model is loaded.
        name: folder name of the loaded model, "" when none is.
        backend_name: `pt` or `vllm`, "" when none is loaded.
    """

    def __init__(self) -> None:
        self._backend: LMBackend | None = None
        self.llm_initialized = False
        self.name = ""
        self.backend_name = ""

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path = "mini", *, backend: str = "auto", device: str = "auto",
                        dtype: Any = None) -> LLMHandler:
        """Load a model by name, Hub id or folder; raises instead of answering a message."""
        raise NotLoadedError("The 5 Hz LM cannot be loaded yet.")

    def initialize(
        self,
        checkpoint_dir: str | Path,
        lm_model_path: str,
        backend: str = "vllm",
        device: str = "auto",
        offload_to_cpu: bool = False,
        dtype: Any = None,
    ) -> tuple[str, bool]:
        """Load `checkpoint_dir/lm_model_path`, upstream's way: answers `(message, ok)` and raises nothing."""
        return "❌ The 5 Hz LM cannot be loaded yet.", False

    def think(
        self, request: ThinkRequest, cancel: CancelToken | None = None, observer: LMObserver | None = None
    ) -> list[Thought]:
        """Phases 1 and 2 for every seed of the request; one thought per seed, in order."""
        raise NotLoadedError("The 5 Hz LM is not loaded.")

    def understand(
        self,
        audio_codes: str,
        *,
        seed: int = 0,
        sampling: Sampling = DEFAULT_SAMPLING,
        constrained: bool = True,
        debug: bool = False,
        cancel: CancelToken | None = None,
        observer: LMObserver | None = None,
    ) -> Description:
        """Describe audio codes. Empty codes are refused with `InputError`."""
        raise NotLoadedError("The 5 Hz LM is not loaded.")

    def inspire(
        self,
        query: str,
        *,
        instrumental: bool = False,
        vocal_language: str | None = None,
        seed: int = 0,
        sampling: Sampling = DEFAULT_SAMPLING,
        constrained: bool = True,
        debug: bool = False,
        cancel: CancelToken | None = None,
        observer: LMObserver | None = None,
    ) -> Description:
        """Invent caption, lyrics and metadata from a request in plain words; an empty query lets it invent freely."""
        raise NotLoadedError("The 5 Hz LM is not loaded.")

    def format(
        self,
        caption: str,
        lyrics: str,
        *,
        user_metadata: Metadata | None = None,
        seed: int = 0,
        sampling: Sampling = DEFAULT_SAMPLING,
        constrained: bool = True,
        debug: bool = False,
        cancel: CancelToken | None = None,
        observer: LMObserver | None = None,
    ) -> Description:
        """Rewrite caption and lyrics in the model's own form and add metadata; `user_metadata` is kept as given."""
        raise NotLoadedError("The 5 Hz LM is not loaded.")
