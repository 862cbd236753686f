"""The `vllm` backend: the same streams as `pt`, with vLLM's engine as the network.

vLLM has no classifier-free guidance. A guided request is two vLLM requests; a logits processor sees both rows, draws
the next token with the function that `pt` uses, and leaves vLLM a one-hot row each, of which it takes the maximum.
The pair must advance together: the engine runs in this process, without chunked prefill, prefix caching and
asynchronous scheduling, and a batch is admitted only when all of it fits (rows, prompt tokens, cache blocks). A pair
that falls out of step raises.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_like.errors import CheckpointError, DependencyError, LMError
from acestep_like.lm.base import Grammar, LMRequest, LMResult, TokenObserver
from acestep_like.lm.constraint import GrammarCompiler
from acestep_like.lm.stream import Stream
from acestep_like.progress import CancelToken

if TYPE_CHECKING:
    import torch

MAX_ROWS, MAX_LENGTH, MAX_PROMPT_TOKENS = 16, 4096, 16384
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the processor shares its streams with this process
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the second runner refuses processors of the first kind
    "VLLM_NO_USAGE_STATS": "1",
}


class VLLMBackend:
    """Runs a Qwen3 on vLLM 0.32."""

    name = "vllm"

    def __init__(self, engine: Any, tokenizer: Any, stop_id: int) -> None:
        self._engine, self._tokenizer, self._stop_id = engine, tokenizer, stop_id
        config = engine.vllm_config
        self.max_length = int(config.model_config.max_model_len)
        self.vocab_size = int(config.model_config.get_vocab_size())
        self._blocks, self._block_size = int(config.cache_config.num_gpu_blocks), int(config.cache_config.block_size)
        self._compiler: GrammarCompiler | None = None
        self._served = 0

    @classmethod
    def load(cls, folder: Path, tokenizer: Any, stop_id: int, *, device: str, dtype: torch.dtype) -> VLLMBackend:
        """Start an engine on a folder in the transformers layout.

        Raises:
            DependencyError: vLLM is not installed.
            CheckpointError: the engine did not start.
        """
        if importlib.util.find_spec("vllm") is None:
            raise DependencyError("vllm", "vllm", "The vllm backend of the 5 Hz LM")
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm import LLM

        from acestep_like.lm.vllm_processor import PairProcessor

        try:
            llm = LLM(
                model=str(folder),
                dtype=str(dtype).removeprefix("torch."),
                max_model_len=MAX_LENGTH,
                max_num_seqs=MAX_ROWS,
                max_num_batched_tokens=MAX_PROMPT_TOKENS,
                enable_chunked_prefill=False,
                enable_prefix_caching=False,
                async_scheduling=False,
                enforce_eager=device == "cpu",
                logits_processors=[PairProcessor],
                disable_log_stats=True,
            )
        except (RuntimeError, ValueError, OSError, AssertionError) as error:
            raise CheckpointError(
                f"vLLM did not start on {folder.name}: {error}. Use backend='pt', which needs no vLLM."
            ) from error
        return cls(llm.llm_engine, tokenizer, stop_id)

    def generate(
        self,
        requests: Sequence[LMRequest],
        observer: TokenObserver | None = None,
        cancel: CancelToken | None = None,
    ) -> list[LMResult]:
        """Continue every request, as many at once as surely stay in step.

        Raises:
            LMError: a request does not fit the context, or a pair fell out of step.
            Cancelled: `cancel` was set.
        """
        results = []
        for batch in self._admit(requests):
            results += self._run(batch, observer, cancel)
        return results

    def move(self, device: str) -> None:
        raise LMError("vLLM keeps its weights on the device; use backend='pt' to offload them.")

    def _admit(self, requests: Sequence[LMRequest]) -> Iterator[list[LMRequest]]:
        """Batches of which no row has to wait: rows, prompt tokens and cache blocks all fit."""
        batch: list[LMRequest] = []
        for request in requests:
            rows, tokens, blocks = self._needs([request])
            if max(len(prompt) for prompt in _prompts(request)) + request.max_tokens > self.max_length:
                raise LMError(
                    f"The prompt has {len(request.cond_ids)} tokens and up to {request.max_tokens} more were asked"
                    f" for; the model's context holds {self.max_length}. Shorten lyrics, codes or duration."
                )
            if tokens > MAX_PROMPT_TOKENS or blocks > self._blocks:
                raise LMError(f"The request needs {blocks} cache blocks; vLLM has {self._blocks}. Use backend='pt'.")
            rows, tokens, blocks = self._needs([*batch, request])
            if batch and (rows > MAX_ROWS or tokens > MAX_PROMPT_TOKENS or blocks > self._blocks):
                yield batch
                batch = []
            batch.append(request)
        if batch:
            yield batch

    def _needs(self, requests: Sequence[LMRequest]) -> tuple[int, int, int]:
        """Rows, prompt tokens and cache blocks of a batch."""
        lengths = [(len(prompt), request.max_tokens) for request in requests for prompt in _prompts(request)]
        blocks = sum(-(-(prompt + answer) // self._block_size) for prompt, answer in lengths)
        return len(lengths), sum(prompt for prompt, _ in lengths), blocks

    def _run(
        self, requests: list[LMRequest], observer: TokenObserver | None, cancel: CancelToken | None
    ) -> list[LMResult]:
        from acestep_like.lm.vllm_processor import STREAMS

        names = []
        streams = {}
        for request in requests:
            self._served += 1
            streams[f"pair-{self._served}"] = self._open_stream(request)
        STREAMS.update(streams)
        answers: dict[str, list[int]] = {}
        most = max(request.max_tokens for request in requests)
        try:
            for pair, stream in streams.items():
                names += self._add(pair, stream.request)
            step = 0
            while self._engine.has_unfinished_requests():
                if cancel is not None:
                    cancel.raise_if_cancelled()
                for output in self._engine.step():
                    if output.finished:
                        answers[output.request_id] = list(output.outputs[0].token_ids)
                step += 1
                if observer is not None:
                    observer(min(step, most), most)
        finally:
            self._engine.abort_request([name for name in names if name not in answers])
            for pair in streams:
                del STREAMS[pair]
        return [self._result(pair, stream, answers) for pair, stream in streams.items()]

    def _open_stream(self, request: LMRequest) -> Stream:
        grammar = None
        if isinstance(request.constraint, Grammar):
            if self._compiler is None:
                self._compiler = GrammarCompiler(self._tokenizer, self.vocab_size, self._stop_id)
            grammar = self._compiler.start(request.constraint.ebnf, debug=request.debug)
        return Stream(request, grammar, self.vocab_size)

    def _add(self, pair: str, request: LMRequest) -> list[str]:
        """Hand the rows of a pair to the engine, one after the other."""
        from vllm import SamplingParams

        names = []
        for role, prompt in zip(("guided", "unguided"), _prompts(request), strict=False):
            names.append(f"{pair}/{role}")
            params = SamplingParams(
                temperature=0,
                max_tokens=request.max_tokens,
                ignore_eos=True,
                stop_token_ids=None if request.exact_tokens else list(request.stop_ids),
                detokenize=False,
                extra_args={"pair": pair, "role": role},
            )
            self._engine.add_request(names[-1], {"prompt_token_ids": list(prompt)}, params)
        return names

    def _result(self, pair: str, stream: Stream, answers: dict[str, list[int]]) -> LMResult:
        """The stream's tokens, after making sure that vLLM emitted exactly these on every row."""
        expected = stream.drawn
        for role, _ in zip(("guided", "unguided"), _prompts(stream.request), strict=False):
            given = answers.get(f"{pair}/{role}", [])
            if given[: len(expected)] != expected or len(given) > len(expected) + 1:
                raise LMError(f"The {role} row of a pair fell out of step with vLLM. Use backend='pt'.")
        return stream.result()


def _prompts(request: LMRequest) -> tuple[tuple[int, ...], ...]:
    return (request.cond_ids,) if request.uncond_ids is None else (request.cond_ids, request.uncond_ids)
