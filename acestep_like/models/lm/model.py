"""A loaded 5 Hz LM: backend, tokenizer, and what its folder says about it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.errors import CheckpointError, DependencyError, InputError, LMError
from acestep_like.models.analysis.code_tagger import CodeTaggers
from acestep_like.models.checkpoints.qwen3_folder import load_tokenizer
from acestep_like.models.device import release_memory
from acestep_like.models.lm.base import LMBackend, LMRequest, LMResult, TokenObserver
from acestep_like.models.lm.prompts import chat
from acestep_like.models.lm.requests import Sampling
from acestep_like.models.lm.sidecar import read_lm_sidecar
from acestep_like.models.lm.transformers_backend import TransformersBackend
from acestep_like.models.lm.vllm_backend import VLLMBackend
from acestep_like.types.audio_codes import CODE
from acestep_like.types.progress import CancelToken

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BACKENDS = ("auto", "pt", "vllm", "mlx")
"""Names that upstream knows. `mlx` is not built here: `pt` runs on Apple's GPUs through Metal."""
VALID_CODES = 64_000
"""Codes that ACE-Step's quantiser knows; the published vocabularies hold tokens beyond it."""


@dataclass(frozen=True)
class Vocabulary:
    """The token ids that matter: codes 0 to `codes - 1` are `first_code` and on."""

    first_code: int
    codes: int
    end_turn: int
    end_thought: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, name: str) -> Vocabulary:
        """Find the tokens by scanning the vocabulary.

        Raises:
            CheckpointError: control or code tokens are missing, or the codes are not in one row.
        """
        vocabulary = tokenizer.get_vocab()
        missing = [token for token in ("<|im_end|>", "<think>", "</think>") if token not in vocabulary]
        if missing:
            raise CheckpointError(f"The tokenizer of {name} lacks {', '.join(missing)}: it is not one of a 5 Hz LM.")
        ids = {int(match.group(1)): id_ for token, id_ in vocabulary.items() if (match := CODE.fullmatch(token))}
        ids = {code: id_ for code, id_ in ids.items() if code < VALID_CODES}
        if not ids:
            raise CheckpointError(f"The tokenizer of {name} has no <|audio_code_N|> tokens: it is not a 5 Hz LM.")
        first = ids.get(0, -1)
        if sorted(ids) != list(range(len(ids))) or any(id_ != first + code for code, id_ in ids.items()):
            raise CheckpointError(f"The audio code tokens of {name} are not numbered in one row from 0.")
        return cls(first, len(ids), vocabulary["<|im_end|>"], vocabulary["</think>"])


@dataclass(frozen=True)
class LoadedLM:
    """Everything the uses of the model need.

    Attributes:
        longest_s, metadata_temperature, defers_to_words, lyric_languages: see `LMSidecar`.
        taggers: detect tempo, style, key and meter of codes for a model that is too small to; others have none.
        offloaded: the weights live on the CPU and visit `device` while they work.
        note: what a caller should know about how it was loaded, or "".
        turn: held by the call that uses the model. Tokenizer, grammar compiler and offloaded weights serve one call at
            a time; a call that waits gives what it gives alone.
    """

    name: str
    backend: LMBackend
    tokenizer: Any
    vocabulary: Vocabulary
    device: str
    longest_s: int = 600
    metadata_temperature: float = 1.0
    defers_to_words: bool = False
    lyric_languages: tuple[str, ...] = ()
    taggers: CodeTaggers = field(default_factory=CodeTaggers)
    offloaded: bool = False
    note: str = ""
    turn: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def generate(
        self, requests: Sequence[LMRequest], observer: TokenObserver | None, cancel: CancelToken | None
    ) -> list[LMResult]:
        """Run the backend; offloaded weights are on the device only meanwhile."""
        if not self.offloaded:
            return self.backend.generate(requests, observer, cancel)
        self.backend.move(self.device)
        try:
            return self.backend.generate(requests, observer, cancel)
        finally:
            self.backend.move("cpu")
            release_memory(torch.device(self.device))

    def prompt(self, instruction: str, user: str) -> str:
        return chat(instruction, user)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text that already has its control tokens."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def writes_lyrics_in(self, language: str) -> bool:
        """Whether the model can write lyrics in a language."""
        return not self.lyric_languages or language in self.lyric_languages

    def cooled(self, sampling: Sampling) -> Sampling:
        """The sampling of metadata: without guidance (as upstream since April 2026) and colder where declared."""
        return replace(sampling, cfg_scale=1.0, temperature=sampling.temperature * self.metadata_temperature)


def load_lm(
    folder: Path,
    *,
    backend: str = "auto",
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    offload: bool = False,
    strict: bool = False,
) -> LoadedLM:
    """Load a folder in the transformers layout.

    Args:
        backend: `pt`, `vllm`, `mlx`, or `auto`: vLLM where it is installed and the device is CUDA, else `pt`. Where
            `vllm` or `mlx` cannot be had `pt` takes its place, and the answer's `note` says why.
        offload: keep the weights on the CPU between calls (`pt` only).
        strict: refuse a backend that cannot be had instead.

    Raises:
        CheckpointError: the folder is broken or not a 5 Hz LM.
        UnsafeFileError: the folder asks for code of its own to be run.
        DependencyError: `strict`, and `vllm` was asked for and is not installed.
        LMError: `strict`, and `vllm` was asked for and its engine did not start.
        InputError: an unknown backend, or, with `strict`, one that does not go with the rest.
    """
    if backend not in BACKENDS:
        raise InputError("backend", backend, "one of " + ", ".join(BACKENDS))
    device = torch.device(device)
    declared = read_lm_sidecar(folder)
    dtype = dtype or (torch.bfloat16 if device.type in ("cuda", "xpu") else torch.float32)
    tokenizer: Any = load_tokenizer(folder)
    vocabulary = Vocabulary.of(tokenizer, folder.name)
    resting = torch.device("cpu") if offload else device
    backend, note = _available(backend, device, offload, strict)
    if backend == "vllm":
        try:
            engine: LMBackend = VLLMBackend.load(
                folder, tokenizer, vocabulary.end_turn, device=str(device), dtype=dtype
            )
        except (DependencyError, LMError) as error:
            if strict:
                raise
            backend, note = "pt", f"Backend pt is used instead of vllm: {error}"
    if backend == "pt":
        engine = TransformersBackend.load(folder, tokenizer, vocabulary.end_turn, device=str(resting), dtype=dtype)
    if engine.vocab_size < vocabulary.first_code + vocabulary.codes:
        raise CheckpointError(
            f"{folder.name} has {engine.vocab_size} token vectors, but its tokenizer's codes end at"
            f" {vocabulary.first_code + vocabulary.codes}: the tokenizer belongs to another model."
        )
    taggers = CodeTaggers.find(folder, vocabulary.codes)
    return LoadedLM(
        folder.name,
        engine,
        tokenizer,
        vocabulary,
        str(device),
        taggers=taggers,
        offloaded=offload,
        note=note,
        **vars(declared),
    )


def _available(name: str, device: torch.device, offload: bool, strict: bool) -> tuple[str, str]:
    """The backend to try for a name, `vllm` or `pt`, and a sentence where it is another than the one asked for.

    Raises:
        InputError: `strict`, and the backend asked for cannot be used.
    """
    if name == "auto":
        return ("vllm" if device.type == "cuda" and not offload else "pt"), ""
    if name == "mlx":
        reason = "mlx is not built here; on Apple's GPUs pt runs through Metal."
    elif name == "vllm" and offload:
        reason = "vLLM keeps its weights on the device, which offload_to_cpu forbids."
    else:
        return name, ""
    if strict:
        raise InputError("backend", name, "pt or auto", reason)
    return "pt", f"Backend pt is used instead of {name}: {reason}"
