"""Speed of the 5 Hz LM on this machine: `python benchmarks/lm.py [--model mini] [--codes 150] [--batch 1 8]`.

Codes a second with guidance, ours beside `transformers.generate(guidance_scale=...)` on the same weights, prompts and
number of tokens, in turns in one process; the greedy tokens must be the same. With vLLM installed its backend is
measured too. Then what the grammar costs per token. Medians of wall and of CPU seconds; the latter also mean
something on a machine that others use.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM

from acestep_like.errors import DependencyError
from acestep_like.models.checkpoints.resolve import find_lm
from acestep_like.models.lm import prompts
from acestep_like.models.lm.base import CodeRange, LMRequest
from acestep_like.models.lm.constraint import GrammarCompiler
from acestep_like.models.lm.grammar import metadata_grammar
from acestep_like.models.lm.model import LoadedLM, load_lm
from acestep_like.models.lm.requests import Sampling

SCALE = 2.0
THEIRS = "transformers.generate"


@dataclass(frozen=True)
class Seconds:
    """Wall time, and CPU time of the process."""

    wall: float
    cpu: float


def medians(runs: int, functions: Sequence[Callable[[], object]]) -> list[Seconds]:
    """Medians of each function over several rounds in which they take turns."""
    taken: list[list[Seconds]] = [[] for _ in functions]
    for _ in range(runs):
        for function, times in zip(functions, taken, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            times.append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))
    return [
        Seconds(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times)) for times in taken
    ]


def code_requests(lm: LoadedLM, batch: int, codes: int) -> list[LMRequest]:
    """Phase 2 of one song, greedy, `batch` times."""
    metadata = {"bpm": 90, "caption": "A mellow lo-fi track with piano", "duration": codes // 5, "keyscale": "A minor"}
    prompt = lm.prompt(prompts.GENERATE, prompts.song_user("lo-fi hip hop with soft piano", prompts.INSTRUMENTAL))
    bare = lm.prompt(prompts.GENERATE, prompts.codes_uncond_user(""))
    cond, uncond = lm.encode(prompts.open_turn(prompt, metadata)), lm.encode(prompts.open_turn(bare, None))
    span = CodeRange(lm.vocabulary.first_code, lm.vocabulary.first_code + lm.vocabulary.codes)
    sampling = Sampling(temperature=0, cfg_scale=SCALE)
    return [LMRequest(cond, codes, seed, sampling, uncond, span, exact_tokens=True) for seed in range(batch)]


def transformers_codes(model: torch.nn.Module, request: LMRequest, batch: int) -> Callable[[], list[list[int]]]:
    """The same work by transformers: greedy with guidance, the other tokens suppressed."""
    assert isinstance(request.constraint, CodeRange)
    first, last, codes = request.constraint.first, request.constraint.last, request.max_tokens
    others = [token for token in range(model.config.vocab_size) if not first <= token < last]

    @torch.inference_mode()
    def run() -> list[list[int]]:
        out = model.generate(
            torch.tensor([request.cond_ids] * batch),
            negative_prompt_ids=torch.tensor([request.uncond_ids] * batch),
            guidance_scale=SCALE,
            do_sample=False,
            max_new_tokens=codes,
            min_new_tokens=codes,
            suppress_tokens=others,
        )
        return out[:, len(request.cond_ids) :].tolist()

    return run


def our_codes(lm: LoadedLM, requests: list[LMRequest]) -> Callable[[], list[list[int]]]:
    return lambda: [list(result.ids) for result in lm.backend.generate(requests)]


def measure_codes(lms: Sequence[LoadedLM], folder: Path, batches: Sequence[int], codes: int, runs: int) -> None:
    """The table of codes a second.

    Raises:
        AssertionError: someone's greedy tokens differ.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    print(f"| batch | who | codes a second | codes a CPU second | times {THEIRS}, wall / CPU |\n|---|---|---|---|---|")
    for batch in batches:
        requests = code_requests(lms[0], batch, codes)
        names = [THEIRS, *(lm.backend.name for lm in lms)]
        functions = [transformers_codes(model, requests[0], batch), *(our_codes(lm, requests) for lm in lms)]
        answers = [function() for function in functions]  # warms up, too
        for name, answer in zip(names, answers, strict=True):
            assert answer == answers[0], f"the greedy tokens of {name} differ from those of {THEIRS}"
        times = medians(runs, functions)
        for name, own in zip(names, times, strict=True):
            ratios = f"{times[0].wall / own.wall:.1f} / {times[0].cpu / own.cpu:.1f}"
            print(f"| {batch} | {name} | {batch * codes / own.wall:.0f} | {batch * codes / own.cpu:.0f} | {ratios} |")


def measure_grammar(lm: LoadedLM, runs: int) -> None:
    """A thought with its grammar beside the same number of tokens without, and the grammar's work alone."""
    ids = lm.encode(lm.prompt(prompts.GENERATE, prompts.song_user("lo-fi hip hop", prompts.INSTRUMENTAL)))
    stop = (lm.vocabulary.end_thought, lm.vocabulary.end_turn)
    grammar = metadata_grammar({}, skip={"genres"}, longest_s=lm.longest_s)
    bound = LMRequest(ids, 400, 1, Sampling(), constraint=grammar, stop_ids=stop)
    (thought,) = lm.backend.generate([bound])
    tokens = (*thought.ids, lm.vocabulary.end_thought)
    free = LMRequest(ids, len(tokens), 1, Sampling(), exact_tokens=True)
    compiler = GrammarCompiler(lm.tokenizer, lm.backend.vocab_size, lm.vocabulary.end_turn)
    masked = 0

    def walk() -> None:
        nonlocal masked
        state, masked = compiler.start(grammar.ebnf), 0
        logits = torch.zeros(lm.backend.vocab_size)
        for token in tokens:
            if state.forced() is None:
                state.mask(logits)
                masked += 1
            state.accept(token)

    walk()
    with_grammar, without, alone = medians(
        runs, [lambda: lm.backend.generate([bound]), lambda: lm.backend.generate([free]), walk]
    )
    per_token = [1e3 * seconds.cpu / len(tokens) for seconds in (with_grammar, without, alone)]
    print(
        f"\nA thought of {len(tokens)} tokens, of which the grammar left {masked} to the model:"
        f" {per_token[0]:.2f} CPU ms a token with the grammar, {per_token[1]:.2f} without;"
        f" the grammar's own work (forced text, masks, state) is {per_token[2]:.3f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--codes", type=int, default=150)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    folder = find_lm(options.model).path
    lms = [load_lm(folder, backend="pt", dtype=torch.float32)]
    try:
        lms.append(load_lm(folder, backend="vllm", dtype=torch.float32))
    except DependencyError as error:
        print(f"Without vLLM: {error}\n")
    torch.set_num_threads(options.threads)
    print(
        f"{lms[0].name}, {platform.machine()}, torch {torch.__version__}, transformers {transformers.__version__},"
        f" {torch.get_num_threads()} thread(s), {options.codes} codes, guidance {SCALE}, medians of {options.runs}\n"
    )
    measure_codes(lms, folder, options.batch, options.codes, options.runs)
    measure_grammar(lms[0], options.runs)


if __name__ == "__main__":
    main()
