"""LLMHandler: owns a loaded 5 Hz language model and answers in musical terms."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.errors import AceStepError, CheckpointError, NotLoadedError
from acestep_like.models.checkpoints.resolve import find_lm, list_lms
from acestep_like.models.device import pick_device
from acestep_like.models.lm.describe import format_text, inspire, understand
from acestep_like.models.lm.model import load_lm
from acestep_like.models.lm.requests import (
    NO_USER_INPUT,
    DescribeOptions,
    Description,
    LMObserver,
    LMOutput,
    Metadata,
    Sampling,
    ThinkRequest,
)
from acestep_like.models.lm.think import think
from acestep_like.models.lm.upstream_names import UpstreamNames
from acestep_like.models.loading import exclusive_load
from acestep_like.types.progress import CancelToken, taking_turns

if TYPE_CHECKING:
    from acestep_like.models.lm.model import LoadedLM

logger = logging.getLogger(__name__)

__all__ = ["NO_USER_INPUT", "Description", "LLMHandler", "LMOutput", "Metadata", "Sampling", "ThinkRequest"]


class LLMHandler(UpstreamNames):
    """Plans songs (`think`), describes codes (`understand`), invents and rewrites requests (`inspire`, `format`).

    Any number of threads may use a handler: its calls take turns, and each gives what it gives alone.

    Attributes:
        llm_initialized: a model is loaded.
        name: folder name of the loaded model, "" when none is.
        backend_name: `pt` or `vllm`, "" when none is loaded.
    """

    def __init__(self) -> None:
        self._lm: LoadedLM | None = None

    @property
    def llm_initialized(self) -> bool:
        return self._lm is not None

    @property
    def name(self) -> str:
        return "" if self._lm is None else self._lm.name

    @property
    def backend_name(self) -> str:
        return "" if self._lm is None else self._lm.backend.name

    @property
    def note(self) -> str:
        """What a caller should know about how the model was loaded, such as why another backend runs it; or ""."""
        return "" if self._lm is None else self._lm.note

    @property
    def defers_to_words(self) -> bool:
        """Whether the loaded model is too small to overrule what a caption says (its folder declares it)."""
        return self._lm is not None and self._lm.defers_to_words

    @property
    def longest_s(self) -> int:
        """Seconds of music that the loaded model was trained to read and plan; 0 when none is loaded."""
        return 0 if self._lm is None else self._lm.longest_s

    @property
    def code_count(self) -> int:
        """How many audio codes the loaded model knows; 0 when none is loaded."""
        return 0 if self._lm is None else self._lm.vocabulary.codes

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "mini",
        *,
        backend: str = "auto",
        device: str = "auto",
        dtype: Any = None,
        root: str | Path | None = None,
        offload_to_cpu: bool = False,
        strict: bool = False,
    ) -> LLMHandler:
        """Load a model by name or folder.

        Args:
            name_or_path: `mini` (the embedded model), a folder, or a name below `root` or a `checkpoints` folder.
            backend: `pt`, `vllm`, `mlx`, or `auto` (vLLM on CUDA where it is installed, else `pt`).
            device: `auto`, `cuda`, `mps`, `xpu` or `cpu`.
            offload_to_cpu: the weights live on the CPU and visit the device only while the model works.
            dtype: torch dtype; None takes bfloat16 on CUDA and XPU, float32 elsewhere.
            strict: refuse a backend that cannot be had; else `pt` takes its place, and `note` and the log say why.

        Raises:
            CheckpointError: no such model, or a broken one.
            UnsafeFileError: the folder asks for code of its own to be run.
            DependencyError: the backend is not installed.
            InputError: unknown backend or device.
        """
        handler = cls()
        handler._load(name_or_path, backend, device, dtype, root, offload_to_cpu, strict)
        return handler

    def initialize(
        self,
        checkpoint_dir: str | Path | None = None,
        lm_model_path: str = "mini",
        backend: str = "auto",
        device: str = "auto",
        offload_to_cpu: bool = False,
        dtype: Any = None,
        *,
        strict: bool = False,
    ) -> tuple[str, bool]:
        """Load `checkpoint_dir/lm_model_path`, upstream's way: answers `(message, ok)` and raises nothing expected.

        With `offload_to_cpu` the weights live on the CPU and visit the device only while the model works. Where the
        backend cannot be had `pt` takes its place and the message says why; with `strict` that is refused.
        """
        try:
            self._load(lm_model_path, backend, device, dtype, checkpoint_dir, offload_to_cpu, strict)
        except CheckpointError as error:
            place = Path(checkpoint_dir or "checkpoints") / lm_model_path
            missing = not place.exists() and "no language model" in str(error)
            return (f"❌ 5Hz LM model not found at {place}: {error}" if missing else f"❌ {error}"), False
        except AceStepError as error:
            return f"❌ {error}", False
        lm = self._loaded()
        message = (
            f"✅ 5Hz LM initialized successfully\nModel: {lm.name}\nBackend: {lm.backend.name}\nDevice: {lm.device}"
        )
        return (f"{message}\n{lm.note}" if lm.note else message), True

    def get_available_5hz_lm_models(self, root: str | Path | None = None) -> list[str]:
        """Names of the language models that `lm_model_path` may have, by upstream's name of the method.

        Args:
            root: searched first, see `checkpoints.checkpoint_roots`.
        """
        return [info.name for info in list_lms(root)]

    def unload(self) -> None:
        """Let the model go and free its memory."""
        self._lm = None

    def think(
        self, request: ThinkRequest, cancel: CancelToken | None = None, observer: LMObserver | None = None
    ) -> list[LMOutput]:
        """Phases 1 and 2 for every seed of the request; one thought per seed, in order.

        Raises:
            NotLoadedError: no model is loaded.
            InputError: codes without a length, or more text than the context holds.
            Cancelled: `cancel` was set.
        """
        with self._reserved(cancel) as lm:
            return think(lm, request, cancel, observer)

    def understand(self, audio_codes: str, **options: Any) -> Description:
        """Describe audio codes.

        Args:
            audio_codes: `<|audio_code_N|>` repeated, five a second.
            options: the fields of `lm.requests.DescribeOptions`: seed, sampling, constrained, debug, cancel, observer.

        Raises:
            NotLoadedError: no model is loaded.
            InputError: no codes, codes out of range, or more than the context holds.
        """
        settings = DescribeOptions(**options)
        with self._reserved(settings.cancel) as lm:
            return understand(lm, audio_codes, settings)

    def inspire(
        self, query: str, *, instrumental: bool = False, vocal_language: str | None = None, **options: Any
    ) -> Description:
        """Invent caption, lyrics and metadata from a request in plain words; an empty query lets it invent freely.

        `options` as in `understand`.

        Raises:
            NotLoadedError: no model is loaded.
            InputError: the query is no text or too long.
        """
        settings = DescribeOptions(**options)
        with self._reserved(settings.cancel) as lm:
            return inspire(lm, query, instrumental, vocal_language, settings)

    def format(
        self, caption: str, lyrics: str, *, user_metadata: Metadata | None = None, **options: Any
    ) -> Description:
        """Rewrite caption and lyrics in the model's own form and add metadata; `user_metadata` is kept as given.

        `options` as in `understand`.

        Raises:
            NotLoadedError: no model is loaded.
            InputError: caption or lyrics are no text or too long.
        """
        settings = DescribeOptions(**options)
        with self._reserved(settings.cancel) as lm:
            return format_text(lm, caption, lyrics, user_metadata, settings)

    def _load(
        self,
        name_or_path: str | Path,
        backend: str,
        device: str,
        dtype: Any,
        root: str | Path | None,
        offload: bool,
        strict: bool,
    ) -> None:
        folder, where = find_lm(name_or_path, root).path, pick_device(device)
        with exclusive_load():
            lm = load_lm(folder, backend=backend, device=where, dtype=dtype, offload=offload, strict=strict)
        if lm.note:
            logger.warning(lm.note)
        self._lm = lm

    @contextmanager
    def _reserved(self, cancel: CancelToken | None) -> Iterator[LoadedLM]:
        """Have the loaded model to oneself inside the block; calls of other threads wait, and can be cancelled."""
        lm = self._loaded()
        with taking_turns(lm.turn, cancel):
            yield lm

    def _loaded(self) -> LoadedLM:
        if self._lm is None:
            raise NotLoadedError(
                "5Hz LM not initialized. Please initialize it first: LLMHandler.from_pretrained('mini')."
            )
        return self._lm
