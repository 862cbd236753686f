"""Grammar-constrained decoding of one sequence, on xgrammar; every sequence has its own state.

`xgrammar` is imported when the first grammar is compiled.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


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
        self._compiler = xgrammar.GrammarCompiler(self._info, max_threads=1)

    def start(self, ebnf: str, *, debug: bool = False) -> GrammarState:
        """The state of one new sequence."""
        compiled = self._compiler.compile_grammar(ebnf)
        matcher = self._xgrammar.GrammarMatcher(compiled)
        return GrammarState(self, matcher, self._xgrammar.allocate_token_bitmask(1, self._info.vocab_size), debug)

    def apply_bitmask(self, logits: torch.Tensor, bitmask: torch.Tensor) -> None:
        self._xgrammar.apply_token_bitmask_inplace(logits, bitmask.to(logits.device))


class GrammarState:
    """Where one sequence stands in its grammar."""

    def __init__(self, compiler: GrammarCompiler, matcher: Any, bitmask: torch.Tensor, debug: bool) -> None:
        self._compiler, self._matcher, self._bitmask, self._debug = compiler, matcher, bitmask, debug
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
            text = self._literal()
            if text:
                ids = self._compiler.tokenizer.encode(text, add_special_tokens=False)
                if ids and ids[-1] not in self._compiler.added:
                    ids = ids[:-1]
                self._forced.extend(ids)
        return self._forced.popleft() if self._forced else None

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
