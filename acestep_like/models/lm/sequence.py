"""One sequence while it is drawn: what every backend keeps beside the network's own state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from acestep_like.errors import LMError
from acestep_like.models.lm.base import CodeRange, Grammar, LMRequest, LMResult
from acestep_like.models.lm.constraint import GrammarCompiler, GrammarState
from acestep_like.models.lm.sampling import draw

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TokenSequence:
    """A request, its own random generator, its place in the grammar, and the tokens so far."""

    def __init__(self, request: LMRequest, grammar: GrammarState | None, vocab_size: int) -> None:
        self.request, self.grammar = request, grammar
        code_range = request.constraint if isinstance(request.constraint, CodeRange) else None
        self.first, self.last = (code_range.first, code_range.last) if code_range else (0, vocab_size)
        self.generator = torch.Generator().manual_seed(request.seed)
        self.drawn: list[int] = []
        self.finished = False

    def forced(self) -> int | None:
        """The next token where the grammar leaves no choice."""
        return None if self.grammar is None else self.grammar.forced()

    def take(self, token: int) -> None:
        """Record a token and see whether it ends the sequence."""
        if self.grammar is not None:
            self.grammar.accept(token)
        if token in self.request.stop_ids and not self.request.exact_tokens:
            self.finished = True
            return
        self.drawn.append(token)
        self.finished = len(self.drawn) >= self.request.max_tokens

    def result(self) -> LMResult:
        """`finished` is False for a sequence that only ran out of tokens."""
        complete = self.request.exact_tokens or len(self.drawn) < self.request.max_tokens
        return LMResult(tuple(self.drawn), complete)


class StreamOpener:
    """Opens the streams of one model; its grammars are compiled once, and none before the first is needed.

    Args:
        vocab_size: width of the model's logits.
        stop_id: the end-of-turn token.
        max_length: tokens of prompt and answer that the model's context holds.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_id: int, vocab_size: int, max_length: int) -> None:
        self._tokenizer, self._stop_id = tokenizer, stop_id
        self._vocab_size, self._max_length = vocab_size, max_length
        self._compiler: GrammarCompiler | None = None

    def open(self, request: LMRequest) -> TokenSequence:
        """The state of a new sequence.

        Raises:
            LMError: prompt and answer do not fit the context.
        """
        longest = max(len(prompt) for prompt in request.prompts)
        if longest + request.max_tokens > self._max_length:
            raise LMError(
                f"The prompt has {longest} tokens and up to {request.max_tokens} more were asked for; the model's"
                f" context holds {self._max_length}. Shorten lyrics, codes or duration."
            )
        grammar = None
        if isinstance(request.constraint, Grammar):
            if self._compiler is None:
                self._compiler = GrammarCompiler(self._tokenizer, self._vocab_size, self._stop_id)
            grammar = self._compiler.start(request.constraint, debug=request.debug)
        return TokenSequence(request, grammar, self._vocab_size)


def draw_tokens(streams: Sequence[TokenSequence], cond: torch.Tensor, uncond: torch.Tensor | None) -> list[int]:
    """The next token of each stream by its own generator.

    Args:
        streams: of one sampling and one token range.
        cond, uncond: logits [B, last - first] of that range.
    """

    def mask(logits: torch.Tensor) -> None:
        for row, stream in zip(logits, streams, strict=True):
            if stream.grammar is not None:
                stream.grammar.mask(row)

    first = streams[0].first
    previous = [[token - first for token in stream.drawn] for stream in streams]
    generators = [stream.generator for stream in streams]
    columns = draw(cond, uncond, streams[0].request.sampling, previous, generators, mask)
    return [column + first for column in columns]
