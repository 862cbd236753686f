"""The real vLLM engine beside the pt backend on the embedded language model: the same request, the same tokens.

Needs vLLM, which has its own needs: `make test-vllm` runs this file in an environment of its own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from acestep_like.errors import Cancelled, CheckpointError, DependencyError, LMError
from acestep_like.models.checkpoints.resolve import find_lm
from acestep_like.models.lm import describe, think
from acestep_like.models.lm.base import CodeRange, LMRequest
from acestep_like.models.lm.model import LoadedLM, load_lm
from acestep_like.models.lm.requests import DescribeOptions, Sampling, ThinkRequest
from acestep_like.types.progress import CancelToken

SONG = ThinkRequest("slow jazz with piano", "[Instrumental]", seeds=(1, 2, 3), duration_s=12.0, allow_batch=True)
WARM = Sampling(temperature=0.9, top_k=200, top_p=0.95, repetition_penalty=1.1, cfg_scale=2.5)
GREEDY = Sampling(temperature=0, cfg_scale=2.5)


@pytest.fixture(scope="module")
def folder():
    try:
        return find_lm("mini").path
    except CheckpointError as error:
        pytest.skip(f"the embedded language model is not here: {error}")


@pytest.fixture(scope="module")
def pt(folder) -> LoadedLM:
    return load_lm(folder, backend="pt", dtype=torch.float32)


@pytest.fixture(scope="module")
def vllm(folder) -> Iterator[LoadedLM]:
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # other processes want their cores
    before = (random.getstate(), torch.get_rng_state())
    try:
        lm = load_lm(folder, backend="vllm", dtype=torch.float32, strict=True)
    except DependencyError as error:
        pytest.skip(str(error))
    assert before[0] == random.getstate() and torch.equal(before[1], torch.get_rng_state())
    return lm


def request(
    pt: LoadedLM, seed: int, length: int, count: int, sampling: Sampling = WARM, guided: bool = True
) -> LMRequest:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, pt.vocabulary.first_code, (length + 10,), generator=generator).tolist()
    span = CodeRange(pt.vocabulary.first_code, pt.vocabulary.first_code + pt.vocabulary.codes)
    uncond = tuple(ids[length:]) if guided else None
    return LMRequest(tuple(ids[:length]), count, seed, sampling, uncond, span, exact_tokens=True)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"allow_batch": False},
        {"chunk_size": 2},
        {"constrained": False, "make_codes": False},
        {"sampling": GREEDY},
        {"sampling": Sampling(cfg_scale=1.0)},
        {"negative_prompt": "loud drums"},
        {"bpm": 97, "keyscale": "Bb minor", "timesignature": "3", "use_cot_caption": False},
    ],
    ids=str,
)
def test_both_phases_give_the_same_song(pt: LoadedLM, vllm: LoadedLM, change: dict[str, object]) -> None:
    asked = replace(SONG, **change)  # type: ignore[arg-type]
    for ours, theirs in zip(think.think(pt, asked), think.think(vllm, asked), strict=True):
        assert (ours.metadata, ours.decided, ours.codes) == (theirs.metadata, theirs.decided, theirs.codes)
        assert ours.codes or not asked.make_codes


def test_descriptions_are_the_same(pt: LoadedLM, vllm: LoadedLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "ANSWER_TOKENS", 300)
    options = DescribeOptions(seed=4)
    codes = "<|audio_code_5|>" * 60
    assert describe.understand(pt, codes, options) == describe.understand(vllm, codes, options)
    assert describe.inspire(pt, "a waltz", False, None, options) == describe.inspire(
        vllm, "a waltz", False, None, options
    )


@pytest.mark.parametrize("sampling", [WARM, GREEDY, Sampling(temperature=1.0, top_p=1.0, cfg_scale=2.0)], ids=str)
def test_pairs_of_any_lengths_give_the_same_tokens(pt: LoadedLM, vllm: LoadedLM, sampling: Sampling) -> None:
    lengths = ((35, 80), (125, 40), (5, 120), (64, 1))
    asked = [request(pt, seed, length, count, sampling) for seed, (length, count) in enumerate(lengths)]
    asked.append(request(pt, 9, 20, 50, sampling, guided=False))
    assert pt.backend.generate(asked) == vllm.backend.generate(asked)


def test_stop_tokens_end_both_rows(pt: LoadedLM, vllm: LoadedLM) -> None:
    asked = request(pt, 3, 20, 60)
    (whole,) = pt.backend.generate([asked])
    cut = replace(asked, exact_tokens=False, stop_ids=(whole.ids[25],))
    results = [lm.backend.generate([cut, asked]) for lm in (pt, vllm)]
    assert results[0] == results[1]
    assert len(results[0][0].ids) <= 25 and results[0][0].finished


def test_batches_that_do_not_fit_are_split(pt: LoadedLM, vllm: LoadedLM, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = vllm.backend
    asked = [request(pt, seed, 100 + 20 * seed, 30) for seed in range(10)]
    assert [len(batch) for batch in backend._admit(asked)] == [8, 2]  # 16 rows
    assert backend.generate(asked) == pt.backend.generate(asked)
    monkeypatch.setattr("acestep_like.models.lm.vllm_backend.MAX_PROMPT_TOKENS", 500)
    sizes = [sum(len(prompt) for one in batch for prompt in one.prompts) for batch in backend._admit(asked)]
    assert len(sizes) > 2 and max(sizes) <= 500
    monkeypatch.setattr(backend, "_blocks", 6)
    assert [len(batch) for batch in backend._admit(asked[:3])] == [2, 1]  # 2 + 1 blocks of 128 tokens, 2 + 1, 3 + 1
    monkeypatch.setattr(backend, "_blocks", 2)
    with pytest.raises(LMError, match="do not fit vLLM's cache of 256 tokens"):
        backend.generate(asked[:1])


def test_a_pair_out_of_step_raises_and_the_engine_goes_on(
    pt: LoadedLM, vllm: LoadedLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule of admission the last of nine pairs starts with one row only."""
    asked = [request(pt, seed, 20, 12) for seed in range(8)]
    crowd = [request(pt, 50, 20, 30, guided=False), *asked]
    with monkeypatch.context() as patch:
        patch.setattr(vllm.backend, "_fits", lambda _: True)
        with pytest.raises(LMError, match="out of step"):
            vllm.backend.generate(crowd)
    assert vllm.backend.generate(crowd) == pt.backend.generate(crowd)


def test_a_row_alone_raises_and_the_engine_goes_on(
    pt: LoadedLM, vllm: LoadedLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(pt, 1, 20, 12)
    original = vllm.backend._add
    with monkeypatch.context() as patch:
        patch.setattr(vllm.backend, "_add", lambda pair, one: original(pair, replace(one, uncond_ids=None)))
        with pytest.raises(LMError, match="out of step"):
            vllm.backend.generate([asked])
    assert vllm.backend.generate([asked]) == pt.backend.generate([asked])


def test_cancel_stops_within_one_step_and_the_engine_goes_on(pt: LoadedLM, vllm: LoadedLM) -> None:
    cancel, steps = CancelToken(), []

    def observe(done: int, most: int) -> None:
        steps.append((done, most))
        if done == 3:
            cancel.cancel()

    asked = [request(pt, 1, 20, 40), request(pt, 2, 30, 40)]
    with pytest.raises(Cancelled):
        vllm.backend.generate(asked, observe, cancel)
    assert steps == [(1, 40), (2, 40), (3, 40)]
    assert vllm.backend.generate(asked) == pt.backend.generate(asked)


def test_more_than_the_context_is_refused(pt: LoadedLM, vllm: LoadedLM) -> None:
    with pytest.raises(LMError, match="context"):
        vllm.backend.generate([request(pt, 1, 20, vllm.backend.max_length)])
    with pytest.raises(LMError, match="backend='pt'"):
        vllm.backend.move("cpu")
