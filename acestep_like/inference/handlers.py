"""The two handlers as the public functions are given them: absent, empty, swapped, or ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acestep_like.errors import InputError, NotLoadedError

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler
    from acestep_like.llm_inference import LLMHandler
    from acestep_like.models.checkpoints.info import CheckpointInfo


def loaded_dit(handler: AceStepHandler | None) -> tuple[AceStepHandler, CheckpointInfo]:
    """The handler and what it has loaded.

    Raises:
        InputError: not such a handler.
        NotLoadedError: none, or one without weights.
    """
    _check(handler, "dit_handler", "checkpoint", "an AceStepHandler")
    if handler is None or handler.checkpoint is None:
        raise NotLoadedError(
            "Model not fully initialized",
            status="❌ Model not fully initialized. Please initialize all components first.",
        )
    return handler, handler.checkpoint


def optional_lm(handler: LLMHandler | None) -> LLMHandler | None:
    """The handler where it has a language model loaded, else None.

    Raises:
        InputError: not such a handler.
    """
    _check(handler, "llm_handler", "llm_initialized", "an LLMHandler, or None")
    return handler if handler is not None and handler.llm_initialized else None


def loaded_lm(handler: LLMHandler | None) -> LLMHandler:
    """The handler, whose language model is loaded.

    Raises:
        InputError: not such a handler.
        NotLoadedError: none, or one without a model.
    """
    ready = optional_lm(handler)
    if ready is None:
        raise NotLoadedError("LLM not initialized", status="5Hz LM not initialized. Please initialize it first.")
    return ready


def _check(handler: Any, argument: str, mark: str, accepted: str) -> None:
    """Refuse what is no handler of a kind; `mark` is an attribute that only its kind has."""
    if handler is None or hasattr(handler, mark):
        return
    swapped = hasattr(handler, "checkpoint") or hasattr(handler, "llm_initialized")
    hint = "The DiT handler comes first, the language model's second." if swapped else ""
    raise InputError(argument, handler, accepted, hint)
