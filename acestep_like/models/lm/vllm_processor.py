"""The logits processor that draws for guided pairs inside vLLM. Imported only where vLLM is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from acestep_like.errors import LMError
from acestep_like.models.lm.sequence import TokenSequence, draw_tokens

SEQUENCES: dict[str, TokenSequence] = {}
"""Open streams by pair; the engine runs in this process, so both sides see the same objects."""


@dataclass
class _Row:
    pair: str
    role: str
    emitted: list[int]
    """vLLM's own list of the tokens of this row; it grows as the engine goes on."""


class PairProcessor(LogitsProcessor):
    """Replaces every row of a pair by a one-hot row at the token that the pair's stream draws."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self._rows, batch_update, _new_row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        pairs: dict[str, dict[str, int]] = {}
        for index, row in self._rows.items():
            pairs.setdefault(row.pair, {})[row.role] = index
        for pair, indices in pairs.items():
            stream = SEQUENCES[pair]
            token = self._token(pair, stream, indices, logits)
            for index in indices.values():
                logits[index] = -torch.inf
                logits[index, token] = 0
        return logits

    def _token(self, pair: str, stream: TokenSequence, indices: dict[str, int], logits: torch.Tensor) -> int:
        guided = stream.request.uncond_ids is not None
        lengths = {role: len(self._rows[index].emitted) for role, index in indices.items()}
        if len(indices) != 1 + guided or any(length != len(stream.drawn) for length in lengths.values()):
            raise LMError(f"The rows of {pair} are out of step: {lengths}, {len(stream.drawn)} tokens drawn.")
        token = stream.forced()
        if token is None:
            cond = logits[indices["guided"], stream.first : stream.last].unsqueeze(0)
            uncond = logits[indices["unguided"], stream.first : stream.last].unsqueeze(0) if guided else None
            (token,) = draw_tokens([stream], cond, uncond)
        stream.take(token)
        return token


def _new_row(params: Any, prompt: list[int] | None, emitted: list[int]) -> _Row | None:  # noqa: ARG001
    extra = params.extra_args or {}
    return _Row(extra["pair"], extra["role"], emitted) if "pair" in extra else None
