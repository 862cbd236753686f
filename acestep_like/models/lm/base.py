"""The contract of LM backends: token requests in, token results out. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from acestep_like.models.lm.requests import DEFAULT_SAMPLING, Sampling
from acestep_like.types.progress import CancelToken


@dataclass(frozen=True)
class TextLimit:
    """A field of free text that ends after so many tokens at the latest, with what must then follow its value."""

    field: str
    max_tokens: int
    closing: str


@dataclass(frozen=True)
class Grammar:
    """Output must match an EBNF grammar (xgrammar's dialect) whose start rule is `root`.

    `limits` bound its fields of free text: an EBNF can count characters, but not tokens.
    """

    ebnf: str
    limits: tuple[TextLimit, ...] = ()


@dataclass(frozen=True)
class CodeRange:
    """Output is token ids in `[first, last)` only; the end-of-turn token is forced by `exact_tokens`."""

    first: int
    last: int


@dataclass(frozen=True)
class LMRequest:
    """One sequence to continue.

    `uncond_ids` is the prompt of the unguided branch (None: no guidance). With `exact_tokens` exactly `max_tokens`
    tokens are drawn and no stop id ends the sequence early; otherwise it ends at a stop id, which is not answered.
    """

    cond_ids: tuple[int, ...]
    max_tokens: int
    seed: int
    sampling: Sampling = DEFAULT_SAMPLING
    uncond_ids: tuple[int, ...] | None = None
    constraint: Grammar | CodeRange | None = None
    exact_tokens: bool = False
    stop_ids: tuple[int, ...] = ()
    debug: bool = False

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """The rows that the network runs: the guided one, and the unguided one if there is guidance."""
        return (self.cond_ids,) if self.uncond_ids is None else (self.cond_ids, self.uncond_ids)


@dataclass(frozen=True)
class LMResult:
    """Tokens drawn, without prompt and stop token. `finished` is False when `max_tokens` ended the sequence."""

    ids: tuple[int, ...]
    finished: bool


TokenObserver = Callable[[int, int], None]
"""Called as `(tokens_done, tokens_at_most)` once per step of a batch."""


class LMBackend(Protocol):
    """Runs a batch. Item k of the answer is the same whatever else is in the batch.

    Attributes:
        max_length: tokens of prompt and answer that the context holds.
        vocab_size: width of the logits; may exceed the tokenizer's entries.
    """

    name: str
    max_length: int
    vocab_size: int

    def generate(
        self,
        requests: Sequence[LMRequest],
        observer: TokenObserver | None = None,
        cancel: CancelToken | None = None,
    ) -> list[LMResult]: ...

    def move(self, device: str) -> None:
        """Take the weights to another device, where the backend can."""
        ...
