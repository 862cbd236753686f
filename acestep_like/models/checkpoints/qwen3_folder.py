"""Qwen3 networks and their tokenizers from folders in the transformers layout: text encoders and language models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.errors import CheckpointError
from acestep_like.models.checkpoints.config_fields import QWEN3, check_dit_config
from acestep_like.models.checkpoints.files import FETCH_AGAIN, read_json
from acestep_like.models.checkpoints.remote_code import refuse_remote_code
from acestep_like.models.checkpoints.weights import Weights, build_module, meta_module, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

_HEAD = "lm_head.weight"


def load_text_encoder(folder: Path, *, device: torch.device, dtype: torch.dtype | None) -> Qwen3Model:
    """Load a Qwen3 network without its language head.

    Args:
        dtype: of the weights; None keeps the stored one.

    Raises:
        CheckpointError: the config is no Qwen3's, or the weights do not fit it, are damaged or are not finite.
        UnsafeFileError: the folder asks for code of its own.
    """
    from transformers import Qwen3Model

    config = _config(folder)
    weights = Weights(weight_files(folder), _without_head)
    what = f"the text encoder in {folder}"
    return build_module(lambda: Qwen3Model(config), weights, device=device, dtype=dtype, what=what)


def load_language_model(folder: Path, *, device: torch.device, dtype: torch.dtype | None) -> Qwen3ForCausalLM:
    """Load a Qwen3 network with its language head, tied to the embedding or not; arguments and errors as above."""
    from transformers import Qwen3ForCausalLM

    config = _config(folder)
    tied = bool(config.tie_word_embeddings)
    weights = Weights(weight_files(folder), _without_tied_head if tied else _as_stored)
    what = f"the language model in {folder}"

    def make() -> Qwen3ForCausalLM:
        model = Qwen3ForCausalLM(config)
        if tied:
            del model.lm_head.weight  # it is the embedding's, and is not stored
        return model

    model = build_module(make, weights, device=device, dtype=dtype, what=what)
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model


def text_encoder_cost_model(folder: Path) -> Qwen3Model:
    """The text encoder made from its config without memory or weights, on the device "meta"; raises as above."""
    from transformers import Qwen3Model

    config = _config(folder)
    encoder = meta_module(lambda: Qwen3Model(config), f"text encoder in {folder}")
    return encoder.eval().requires_grad_(False)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load a tokenizer.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown class.
        UnsafeFileError: the folder asks for code of its own.
    """
    from transformers import AutoTokenizer

    refuse_remote_code(folder)
    try:
        with _quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what the Rust tokenizers raise is a bare Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {reason}. {FETCH_AGAIN}") from error
    return tokenizer


def _config(folder: Path) -> Qwen3Config:
    from transformers import Qwen3Config

    refuse_remote_code(folder)
    file = folder / "config.json"
    values = read_json(file)
    check_dit_config(values, QWEN3, file)
    try:
        return Qwen3Config.from_dict(values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file} is no config of a Qwen3 network: {reason}. {FETCH_AGAIN}") from error


def _without_head(key: str) -> str | None:
    """A stored key as `Qwen3Model` has it. Encoders that were saved as a language model have a prefix, and a head."""
    return None if key == _HEAD else key.removeprefix("model.")


def _without_tied_head(key: str) -> str | None:
    return None if key == _HEAD else key


def _as_stored(key: str) -> str | None:
    return key


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers inside the block."""
    from transformers.utils import logging

    logger: Any = logging
    shown = logger.is_progress_bar_enabled()
    logger.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logger.enable_progress_bar()
