"""The `vllm` backend: the same streams as `pt`, with vLLM's engine as the network.

vLLM has no classifier-free guidance. A guided request is two vLLM requests; a logits processor sees both rows, draws
the next token with the function that `pt` uses, and leaves vLLM a one-hot row each, of which it takes the maximum.
The pair must advance together: the engine runs in this process, without chunked prefill, prefix caching and
asynchronous scheduling, and a batch is admitted only when all of it fits (rows, prompt tokens, cache blocks). A pair
that falls out of step raises.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from acestep_like.errors import DependencyError, LMError
from acestep_like.models.lm.base import LMRequest, LMResult, TokenObserver
from acestep_like.models.lm.sequence import StreamOpener, TokenSequence
from acestep_like.types.progress import CancelToken

if TYPE_CHECKING:
    import torch

VERSION = "0.32"
"""The minor of vLLM whose inner interfaces are used here; `pyproject.toml` asks for the same."""
MAX_ROWS, MAX_LENGTH, MAX_PROMPT_TOKENS = 16, 8192, 16384
MAX_CACHE_BYTES = 4 * 2**30
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the processor shares its streams with this process
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the second runner refuses processors of the first kind
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
_ROLES = ("guided", "unguided")


class VLLMBackend:
    """Runs a Qwen3 on vLLM 0.32."""

    name = "vllm"

    def __init__(self, engine: Any, tokenizer: Any, stop_id: int) -> None:
        config = engine.vllm_config
        self.max_length = int(config.model_config.max_model_len)
        self.vocab_size = int(config.model_config.get_vocab_size())
        self.streams = StreamOpener(tokenizer, stop_id, self.vocab_size, self.max_length)
        self._engine = engine
        self._blocks = int(config.cache_config.num_gpu_blocks) - 1  # vLLM keeps one for itself
        self._block_size = int(config.cache_config.block_size)
        self._served = 0

    @classmethod
    def load(cls, folder: Path, tokenizer: Any, stop_id: int, *, device: str, dtype: torch.dtype) -> VLLMBackend:
        """Start an engine on a folder in the transformers layout.

        Raises:
            DependencyError: vLLM is not installed, of another version, or cannot be imported.
            LMError: the engine did not start.
        """
        engine_class = _import_vllm().LLM
        from acestep_like.models.lm.vllm_processor import PairProcessor  # it imports vLLM, an extra

        try:
            shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            length = min(MAX_LENGTH, int(shape["max_position_embeddings"]))
            with _kept_random_state(), _lm_alone(folder) as place:
                llm = engine_class(
                    model=str(place),
                    dtype=str(dtype).removeprefix("torch."),
                    max_model_len=length,
                    max_num_seqs=MAX_ROWS,
                    max_num_batched_tokens=MAX_PROMPT_TOKENS,
                    kv_cache_memory_bytes=min(MAX_CACHE_BYTES, MAX_ROWS * length * _token_bytes(shape, dtype.itemsize)),
                    gpu_memory_utilization=0.01,  # unused beside a given cache, but must be free: the DiT has the rest
                    enable_chunked_prefill=False,
                    enable_prefix_caching=False,
                    async_scheduling=False,
                    enforce_eager=device == "cpu",
                    logits_processors=[PairProcessor],
                    disable_log_stats=True,
                )
        except (RuntimeError, ValueError, OSError, KeyError, AssertionError) as error:
            raise LMError(
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
        """Batches of which no row has to wait: rows, prompt tokens and cache blocks all fit.

        Raises:
            LMError: a request does not fit alone.
        """
        batch: list[LMRequest] = []
        for request in requests:
            if not self._fits([*batch, request]):
                if not self._fits([request]):
                    raise LMError(
                        f"A prompt of {len(request.cond_ids)} tokens and {request.max_tokens} more do not fit vLLM's"
                        f" cache of {self._blocks * self._block_size} tokens. Use backend='pt'."
                    )
                yield batch
                batch = []
            batch.append(request)
        if batch:
            yield batch

    def _fits(self, requests: Sequence[LMRequest]) -> bool:
        rows = [(len(prompt), request.max_tokens) for request in requests for prompt in request.prompts]
        blocks = sum(-(-(prompt + answer) // self._block_size) for prompt, answer in rows)
        prompt_tokens = sum(prompt for prompt, _ in rows)
        return len(rows) <= MAX_ROWS and prompt_tokens <= MAX_PROMPT_TOKENS and blocks <= self._blocks

    def _run(
        self, requests: list[LMRequest], observer: TokenObserver | None, cancel: CancelToken | None
    ) -> list[LMResult]:
        from acestep_like.models.lm.vllm_processor import SEQUENCES

        streams: dict[str, TokenSequence] = {}
        for request in requests:
            self._served += 1
            streams[f"pair-{self._served}"] = self.streams.open(request)
        names: list[str] = []
        answers: dict[str, list[int]] = {}
        SEQUENCES.update(streams)
        try:
            for pair, stream in streams.items():
                names += self._add(pair, stream.request)
            most = max(request.max_tokens for request in requests)
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
                del SEQUENCES[pair]
        return [_result(pair, stream, answers) for pair, stream in streams.items()]

    def _add(self, pair: str, request: LMRequest) -> list[str]:
        """Hand the rows of a pair to the engine, one after the other."""
        from vllm import SamplingParams

        names = []
        for role, prompt in zip(_ROLES, request.prompts, strict=False):
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


def _import_vllm() -> Any:
    """The module.

    Raises:
        DependencyError: it is missing, of another version, or cannot be imported.
    """
    purpose = "The vllm backend of the 5 Hz LM"
    if importlib.util.find_spec("vllm") is None:
        raise DependencyError(f"vllm {VERSION}", "vllm", purpose)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except (ImportError, RuntimeError, OSError) as error:  # such as torch packages that do not match
        purpose = f"The installed vllm cannot be imported ({error}). {purpose}"
        raise DependencyError(f"vllm {VERSION}", "vllm", purpose) from error
    if not vllm.__version__.startswith(f"{VERSION}."):
        raise DependencyError(f"vllm {VERSION} (not {vllm.__version__})", "vllm", purpose)
    return vllm


@contextmanager
def _lm_alone(folder: Path) -> Iterator[Path]:
    """The folder without weights of other names, of which vLLM would take all for the language model's."""
    with TemporaryDirectory(prefix="lm-") as place:
        for path in folder.iterdir():
            if path.suffix != ".safetensors" or path.name.startswith("model"):
                (Path(place) / path.name).symlink_to(path.resolve())
        yield Path(place)


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Starting an engine seeds the process's generators with 0; callers get theirs back."""
    import numpy as np
    import torch

    plain, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(array)


def _token_bytes(config: dict[str, Any], item_bytes: int) -> int:
    """Keys and values of one token in bytes, by a `Qwen3Config`."""
    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    return 2 * int(config["num_hidden_layers"]) * int(config.get("num_key_value_heads") or heads) * width * item_bytes


def _result(pair: str, stream: TokenSequence, answers: dict[str, list[int]]) -> LMResult:
    """The stream's tokens, after making sure that vLLM emitted exactly these on every row.

    Raises:
        LMError: it did not.
    """
    expected = stream.drawn
    for role, _ in zip(_ROLES, stream.request.prompts, strict=False):
        given = answers.get(f"{pair}/{role}", [])
        stop = given[len(expected) :]
        if given[: len(expected)] != expected or not (stop == [] or stop[0] in stream.request.stop_ids):
            raise LMError(f"The {role} row of a pair fell out of step with vLLM. Use backend='pt'.")
    return stream.result()
