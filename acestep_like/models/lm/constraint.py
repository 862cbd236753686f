"""Grammar-constrained decoding of one sequence, on xgrammar; every sequence has its own state.

`xgrammar` is imported when the first grammar is compiled.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.models.lm.base import Grammar, TextLimit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_CACHE_BYTES = 128 * 2**20
"""Compiled grammars that are kept; every caption that a user gives makes a grammar of its own."""


_FIELD_START = re.compile(r"\n(?=\S)")


class GrammarCompiler:
    """Compiles grammars for one tokenizer; a grammar seen before costs nothing.

    Args:
        tokenizer: a transformers tokenizer.
        vocab_size: width of the model's logits (may exceed the tokenizer's entries).
        stop_id: the end-of-turn token, allowed where the grammar may end.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, stop_id: int) -> None:
        import xgrammar

        self.tokenizer, self.stop_id = tokenizer, stop_id
        self.added = frozenset(tokenizer.get_added_vocab().values())
        self._xgrammar = xgrammar
        self._info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size, stop_token_ids=[stop_id])
        self._compiler = xgrammar.GrammarCompiler(self._info, max_threads=1, cache_limit_bytes=_CACHE_BYTES)

    def start(self, grammar: Grammar, *, debug: bool = False) -> GrammarState:
        """The state of one new sequence."""
        matcher = self._xgrammar.GrammarMatcher(self._compiler.compile_grammar(grammar.ebnf))
        bitmask = self._xgrammar.allocate_token_bitmask(1, self._info.vocab_size)
        return GrammarState(self, matcher, bitmask, TextLimiter(grammar.limits), debug)

    def text_of(self, token: int) -> str:
        """The text of a token; a part of a character is a replacement character."""
        return str(self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def apply_bitmask(self, logits: torch.Tensor, bitmask: torch.Tensor) -> None:
        self._xgrammar.apply_token_bitmask_inplace(logits, bitmask.to(logits.device))


class TextLimiter:
    """Counts the tokens of the field that is being written and says how to end it once it has too many."""

    def __init__(self, limits: Sequence[TextLimit]) -> None:
        self._limits = {limit.field: limit for limit in limits}
        self._text, self._tokens = "", 0

    def take(self, text: str) -> None:
        """Go on by the text of a token."""
        self._text += text
        self._tokens += 1
        fields = _FIELD_START.split(self._text)
        if len(fields) > 1:
            self._text, self._tokens = fields[-1], 0

    def closing(self) -> str:
        """The text that ends the value and begins what follows it; "" while nothing must end, or cannot here."""
        name, colon, value = self._text.partition(": ")
        limit = self._limits.get(name)
        if not colon or limit is None or self._tokens < limit.max_tokens or value.endswith("\n"):
            return ""
        if value.startswith("'"):
            return ("'" if value.count("'") % 2 else "") + limit.closing
        if value.startswith('"'):
            inner = value[1:].replace("\\\\", "").replace('\\"', "")
            return "" if inner.endswith("\\") else ("" if inner.endswith('"') else '"') + limit.closing
        return limit.closing


class GrammarState:
    """Where one sequence stands in its grammar."""

    def __init__(
        self, compiler: GrammarCompiler, matcher: Any, bitmask: torch.Tensor, limiter: TextLimiter, debug: bool
    ) -> None:
        self._compiler, self._matcher, self._bitmask, self._debug = compiler, matcher, bitmask, debug
        self._limiter = limiter
        self._forced: deque[int] = deque()

    @property
    def done(self) -> bool:
        """The end of the turn has been accepted."""
        return bool(self._matcher.is_terminated())

    def forced(self) -> int | None:
        """The next token where the grammar leaves no choice of text, in the tokenizer's own spelling; else None.

        Literal text is tokenised as the tokenizer would, not as the model happens to split it, and needs no
        sampling. The last piece of a literal stays open, since it could join what follows it.
        """
        if not self._forced and not self.done:
            text = self._limiter.closing()
            if (text and self._allows(text)) or (text := self._literal()):
                self._forced.extend(self._spelt(text))
        return self._forced.popleft() if self._forced else None

    def _spelt(self, text: str) -> list[int]:
        """Tokens of a literal but for its last piece, which could join what follows."""
        ids = list(self._compiler.tokenizer.encode(text, add_special_tokens=False))
        return ids if ids and ids[-1] in self._compiler.added else ids[:-1]

    def _allows(self, text: str) -> bool:
        """Whether the grammar can go on with a text; its place is left as it was."""
        return bool(self._matcher.fork().accept_string(text))

    def _literal(self) -> str:
        """The text that must come next, "" where there is a choice or the place is inside a character's bytes."""
        try:
            return str(self._matcher.find_jump_forward_string())
        except UnicodeDecodeError:  # xgrammar answers bytes as text; half a character is left to the mask
            return ""

    def mask(self, logits: torch.Tensor) -> None:
        """Forbid, in place, what the grammar does not allow next; logits [V]."""
        self._matcher.fill_next_token_bitmask(self._bitmask)
        self._compiler.apply_bitmask(logits.unsqueeze(0), self._bitmask)
        if self._debug:
            allowed = torch.isfinite(logits).nonzero().squeeze(-1)
            shown = [self._compiler.tokenizer.decode([int(token)]) for token in allowed[:12]]
            logger.info("constrained decoding: %d tokens allowed, such as %r", len(allowed), shown)

    def accept(self, token: int) -> None:
        """Advance by a token.

        Raises:
            ValueError: the grammar does not allow it.
        """
        if not self._matcher.accept_token(token):
            raise ValueError(f"the grammar does not allow token {token}")
        self._limiter.take(self._compiler.text_of(token))
