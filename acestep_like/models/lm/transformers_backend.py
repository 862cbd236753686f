"""The `pt` backend: batches of (guided, unguided) pairs through one KV cache, weights from a transformers folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from acestep_like.models.checkpoints.qwen3_folder import load_language_model
from acestep_like.models.lm.base import CodeRange, LMRequest, LMResult, TokenObserver
from acestep_like.models.lm.qwen3 import Qwen3Decoder
from acestep_like.models.lm.sequence import StreamOpener, draw_tokens
from acestep_like.types.progress import CancelToken


class TransformersBackend:
    """Runs a Qwen3 on any torch device.

    Both rows of a pair live in one batch and are fed the same token in the same step: they cannot fall out of step.
    """

    name = "pt"

    def __init__(self, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerBase, stop_id: int) -> None:
        self.vocab_size = int(model.config.vocab_size)
        self.decoder = Qwen3Decoder(model)
        self.max_length = self.decoder.max_length
        self.streams = StreamOpener(tokenizer, stop_id, self.vocab_size, self.max_length)

    @classmethod
    def load(
        cls, folder: Path, tokenizer: PreTrainedTokenizerBase, stop_id: int, *, device: str, dtype: torch.dtype
    ) -> TransformersBackend:
        """Read a folder in the transformers layout.

        Raises:
            CheckpointError: it is not a Qwen3 language model, or broken.
        """
        return cls(load_language_model(folder, device=torch.device(device), dtype=dtype), tokenizer, stop_id)

    def generate(
        self,
        requests: Sequence[LMRequest],
        observer: TokenObserver | None = None,
        cancel: CancelToken | None = None,
    ) -> list[LMResult]:
        """Continue every request; requests that can share a batch do.

        Raises:
            LMError: a prompt and its answer do not fit the model's context.
            Cancelled: `cancel` was set.
        """
        results: dict[int, LMResult] = {}
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, request in enumerate(requests):
            kind = request.constraint if isinstance(request.constraint, CodeRange) else None
            groups.setdefault((request.sampling, request.uncond_ids is None, kind), []).append(index)
        for indices in groups.values():
            batch = _Batch(self, [requests[index] for index in indices])
            results.update(zip(indices, batch.run(observer, cancel), strict=True))
        return [results[index] for index in range(len(requests))]

    def move(self, device: str) -> None:
        """Take the weights to another device."""
        self.decoder.move(device)


class _Batch:
    """One batch from prompt to end: the guided rows first, then the unguided rows in the same order."""

    def __init__(self, backend: TransformersBackend, requests: list[LMRequest]) -> None:
        self.decoder = backend.decoder
        self.streams = [backend.streams.open(request) for request in requests]
        prompts = [request.cond_ids for request in requests]
        prompts += [request.uncond_ids for request in requests if request.uncond_ids is not None]
        self.guided = len(prompts) > len(requests)
        longest = max(len(prompt) for prompt in prompts)
        self.steps = max(request.max_tokens for request in requests)
        rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        padding = torch.tensor([longest - len(prompt) for prompt in prompts], device=self.decoder.device)
        self.prompt = torch.tensor(rows, device=self.decoder.device)
        self.cache = self.decoder.new_cache(padding, longest + self.steps)

    @torch.inference_mode()
    def run(self, observer: TokenObserver | None, cancel: CancelToken | None) -> list[LMResult]:
        """Draw until every stream is finished."""
        first, last = self.streams[0].first, self.streams[0].last
        ids = self.prompt
        for step in range(self.steps):
            if cancel is not None:
                cancel.raise_if_cancelled()
            tokens = self._next(self.decoder.logits(self.decoder.forward(ids, self.cache), first, last))
            if observer is not None:
                observer(step + 1, self.steps)
            if all(stream.finished for stream in self.streams):
                break
            column = torch.tensor(tokens, device=self.decoder.device)
            ids = (torch.cat([column, column]) if self.guided else column).unsqueeze(1)
        return [stream.result() for stream in self.streams]

    def _next(self, logits: torch.Tensor) -> list[int]:
        """The next token of every stream; finished ones go on with any token, which nobody reads."""
        tokens = [0] * len(self.streams)
        free = []
        for row, stream in enumerate(self.streams):
            if stream.finished:
                continue
            forced = stream.forced()
            if forced is None:
                free.append(row)
            else:
                tokens[row] = forced
        if free:
            index = torch.tensor(free, device=logits.device)
            count = len(self.streams)
            uncond = logits[count:][index] if self.guided else None
            drawn = draw_tokens([self.streams[row] for row in free], logits[:count][index], uncond)
            for row, token in zip(free, drawn, strict=True):
                tokens[row] = token
        for token, stream in zip(tokens, self.streams, strict=True):
            if not stream.finished:
                stream.take(token)
        return tokens
