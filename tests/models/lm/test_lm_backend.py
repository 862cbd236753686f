"""The transformers backend: the network's own logits, pairs in lockstep, exact counts, items independent of a batch."""

from __future__ import annotations

import pytest
import torch
from lm_models import random_lm, random_lm_folder
from transformers import AutoModelForCausalLM

from acestep_like.errors import Cancelled, LMError
from acestep_like.models.lm.base import CodeRange, LMRequest
from acestep_like.models.lm.requests import Sampling
from acestep_like.types.progress import CancelToken

GREEDY = Sampling(temperature=0, cfg_scale=2.5)
WARM = Sampling(temperature=1.0, top_p=0.95, cfg_scale=2.0)


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(random_lm_folder(), dtype=torch.float32).eval()


def prompt(seed: int, length: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, 300, (length,), generator=generator).tolist())


def codes() -> CodeRange:
    vocabulary = random_lm().vocabulary
    return CodeRange(vocabulary.first_code, vocabulary.first_code + vocabulary.codes)


def request(seed: int, length: int, count: int, sampling: Sampling = WARM, guided: bool = True) -> LMRequest:
    uncond = prompt(99, 12) if guided else None
    return LMRequest(prompt(seed, length), count, seed, sampling, uncond, codes(), exact_tokens=True)


def test_logits_equal_those_of_transformers(reference: torch.nn.Module) -> None:
    """Left-padded rows of different length, prefill and three single steps."""
    decoder = random_lm().backend.decoder
    rows = [prompt(1, 40), prompt(2, 9)]
    padded = torch.tensor([list(rows[0]), [0] * 31 + list(rows[1])])
    cache = decoder.new_cache(torch.tensor([0, 31]), 64)
    fed = [list(row) for row in rows]
    ids = padded
    with torch.inference_mode():
        for step in range(4):
            ours = decoder.logits(decoder.forward(ids, cache))
            for row, sequence in enumerate(fed):
                theirs = reference(torch.tensor([sequence])).logits[0, -1]
                assert torch.allclose(ours[row], theirs, atol=2e-4 * float(theirs.abs().max()))
            ids = torch.tensor([[10 + step], [20 + step]])
            for row, sequence in enumerate(fed):
                sequence.append(int(ids[row, 0]))


def test_head_slice_equals_the_whole_head() -> None:
    decoder = random_lm().backend.decoder
    hidden = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    span = codes()
    whole = decoder.logits(hidden)[:, span.first : span.last]
    assert torch.allclose(decoder.logits(hidden, span.first, span.last), whole, atol=1e-5)


def test_greedy_tokens_equal_transformers_generate(reference: torch.nn.Module) -> None:
    cond, uncond, span = prompt(5, 30), prompt(6, 12), codes()
    allowed = list(range(span.first, span.last))
    theirs = reference.generate(
        torch.tensor([cond]),
        negative_prompt_ids=torch.tensor([uncond]),
        guidance_scale=2.5,
        do_sample=False,
        max_new_tokens=60,
        min_new_tokens=60,
        prefix_allowed_tokens_fn=lambda _, __: allowed,
        renormalize_logits=False,
    )[0, len(cond) :].tolist()
    asked = LMRequest(cond, 60, 0, GREEDY, uncond, span, exact_tokens=True)
    (ours,) = random_lm().backend.generate([asked])
    assert list(ours.ids) == theirs


def test_exactly_the_asked_number_of_valid_codes() -> None:
    span = codes()
    results = random_lm().backend.generate([request(1, 20, 50), request(2, 33, 17), request(3, 5, 1)])
    assert [len(result.ids) for result in results] == [50, 17, 1]
    assert all(span.first <= token < span.last for result in results for token in result.ids)


def test_item_of_a_batch_equals_the_item_alone() -> None:
    requests = [request(seed, 10 + 7 * seed, 40) for seed in range(1, 5)]
    backend = random_lm().backend
    assert backend.generate(requests) == [backend.generate([one])[0] for one in requests]


def test_seed_decides() -> None:
    backend = random_lm().backend
    first, second = request(1, 20, 40), LMRequest(**{**request(1, 20, 40).__dict__, "seed": 2})
    assert backend.generate([first]) == backend.generate([first])
    assert backend.generate([first]) != backend.generate([second])


@pytest.mark.parametrize(
    "change",
    [
        {"cfg_scale": 4.0},
        {"temperature": 0.3},
        {"top_k": 3},
        {"top_p": 0.2},
        {"repetition_penalty": 3.0},
    ],
)
def test_every_sampling_value_matters(change: dict[str, float]) -> None:
    backend = random_lm().backend
    values = {**WARM.__dict__, **change}
    changed = Sampling(**values)
    assert backend.generate([request(1, 20, 60)]) != backend.generate([request(1, 20, 60, changed)])


def test_guided_and_unguided_requests_may_come_together() -> None:
    mixed = [request(1, 20, 10), request(2, 20, 10, guided=False), request(3, 20, 10)]
    backend = random_lm().backend
    assert backend.generate(mixed) == [backend.generate([one])[0] for one in mixed]


def test_stop_token_ends_and_is_not_answered() -> None:
    backend = random_lm().backend
    free = LMRequest(prompt(1, 20), 80, 1, Sampling(temperature=1.0, top_p=1.0))
    (whole,) = backend.generate([free])
    stop = whole.ids[30]
    (cut,) = backend.generate([LMRequest(**{**free.__dict__, "stop_ids": (stop,)})])
    assert cut.ids == whole.ids[: whole.ids.index(stop)] and cut.finished


def test_context_overflow_is_refused() -> None:
    with pytest.raises(LMError, match="context"):
        random_lm().backend.generate([request(1, 20, 5000)])


def test_a_long_prompt_and_a_long_answer_may_share_a_batch() -> None:
    """Together they are longer than the context; each item alone is not."""
    backend = random_lm().backend
    mixed = [request(1, backend.max_length - 10, 5), request(2, 10, 60)]
    assert backend.generate(mixed) == [backend.generate([one])[0] for one in mixed]


def test_cancel_stops_within_one_step() -> None:
    cancel, steps = CancelToken(), []

    def observe(done: int, _: int) -> None:
        steps.append(done)
        if done == 3:
            cancel.cancel()

    with pytest.raises(Cancelled):
        random_lm().backend.generate([request(1, 20, 50)], observe, cancel)
    assert steps == [1, 2, 3]
