"""Speed of the 5 Hz LM on this machine: `python benchmarks/lm.py [--model mini] [--codes 150] [--batch 1 8]`.

Codes a second with guidance, ours beside `transformers.generate(guidance_scale=...)` on the same weights, prompts and
number of tokens in one run, whether the greedy tokens agree, and what the grammar costs per token. With vLLM
installed its backend is measured too.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import time
from collections.abc import Callable, Sequence

import torch
from transformers import AutoModelForCausalLM

from acestep_like.checkpoints import find_lm
from acestep_like.lm import prompts
from acestep_like.lm.base import CodeRange, LMRequest
from acestep_like.lm.grammar import metadata_grammar
from acestep_like.lm.model import LoadedLM, load_lm
from acestep_like.lm.requests import Sampling

SCALE = 2.0


def best_of(runs: int, function: Callable[[], object]) -> float:
    """Least wall time of several calls, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def code_requests(lm: LoadedLM, batch: int, codes: int, temperature: float) -> list[LMRequest]:
    """Phase 2 of one song, `batch` seeds."""
    metadata = {"bpm": 90, "caption": "A mellow lo-fi track with piano", "duration": codes // 5, "keyscale": "A minor"}
    prompt = lm.prompt(prompts.GENERATE, prompts.song_user("lo-fi hip hop with soft piano", prompts.INSTRUMENTAL))
    bare = lm.prompt(prompts.GENERATE, prompts.codes_uncond_user(""))
    cond, uncond = lm.encode(prompts.open_turn(prompt, metadata)), lm.encode(prompts.open_turn(bare, None))
    span = CodeRange(lm.vocabulary.first_code, lm.vocabulary.first_code + lm.vocabulary.codes)
    sampling = Sampling(temperature=temperature, top_p=0.9, cfg_scale=SCALE)
    return [LMRequest(cond, codes, seed, sampling, uncond, span, exact_tokens=True) for seed in range(batch)]


def transformers_codes(model: torch.nn.Module, lm: LoadedLM, batch: int, codes: int) -> Callable[[], list[list[int]]]:
    """The same work by transformers: greedy with guidance, the other tokens suppressed."""
    request = code_requests(lm, 1, codes, 0.0)[0]
    first, last = request.constraint.first, request.constraint.last  # type: ignore[union-attr]
    others = [token for token in range(model.config.vocab_size) if not first <= token < last]

    def run() -> list[list[int]]:
        out = model.generate(
            torch.tensor([request.cond_ids] * batch), negative_prompt_ids=torch.tensor([request.uncond_ids] * batch),
            guidance_scale=SCALE, do_sample=False, max_new_tokens=codes, min_new_tokens=codes, suppress_tokens=others,
        )  # fmt: skip
        return out[:, len(request.cond_ids) :].tolist()

    return run


def grammar_cost(lm: LoadedLM) -> tuple[float, float, int]:
    """Seconds of a thought with and without its grammar, per token, and the tokens of the former."""
    ids = lm.encode(lm.prompt(prompts.GENERATE, prompts.song_user("lo-fi hip hop", prompts.INSTRUMENTAL)))
    stop = (lm.vocabulary.end_thought, lm.vocabulary.end_turn)
    constrained = LMRequest(ids, 400, 1, Sampling(), constraint=metadata_grammar({}, skip={"genres"}), stop_ids=stop)
    (thought,) = lm.backend.generate([constrained])
    count = len(thought.ids) + 1
    free = LMRequest(ids, count, 1, Sampling(), exact_tokens=True)
    return (
        best_of(3, lambda: lm.backend.generate([constrained])) / count,
        best_of(3, lambda: lm.backend.generate([free])) / count,
        count,
    )


def measure(lms: Sequence[LoadedLM], folder: str, batches: Sequence[int], codes: int, runs: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    print("| batch | who | codes per second | times transformers | greedy tokens agree |\n|---|---|---|---|---|")
    for batch in batches:
        reference = transformers_codes(model, lms[0], batch, codes)
        with torch.inference_mode():
            expected = reference()
            base = batch * codes / best_of(runs, reference)
        print(f"| {batch} | transformers.generate | {base:.0f} | 1.0 | - |")
        for lm in lms:
            requests = code_requests(lm, batch, codes, 0.0)
            given = [list(result.ids) for result in lm.backend.generate(requests)]
            speed = batch * codes / best_of(runs, lambda lm=lm, requests=requests: lm.backend.generate(requests))
            print(f"| {batch} | {lm.backend.name} | {speed:.0f} | {speed / base:.1f} | {given == expected} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--codes", type=int, default=150)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = find_lm(options.model).path
    lms = [load_lm(folder, backend="pt", dtype=torch.float32)]
    if importlib.util.find_spec("vllm") is not None:
        lms.append(load_lm(folder, backend="vllm", dtype=torch.float32))
    print(f"{lms[0].name}, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    measure(lms, str(folder), options.batch, options.codes, options.runs)
    with_grammar, without, count = grammar_cost(lms[0])
    print(
        f"\nA thought of {count} tokens: {1e3 * with_grammar:.2f} ms a token with its grammar,"
        f" {1e3 * without:.2f} ms without."
    )


if __name__ == "__main__":
    main()
