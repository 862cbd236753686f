"""One token at a time: the order of the operations, and a draw that depends on the row's own seed only."""

from __future__ import annotations

import math

import pytest
import torch

from acestep_like.errors import InputError, LMError
from acestep_like.models.lm.requests import Sampling
from acestep_like.models.lm.sampling import draw, guide, keep_nucleus, penalise


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_guidance_formula() -> None:
    cond, uncond = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert guide(cond, uncond, 2.0).tolist() == [[2.0, 0.0]]
    assert guide(cond, uncond, 1.0).tolist() == cond.tolist()


def test_greedy_takes_the_guided_best_and_no_random_number() -> None:
    generator = generators(1)
    before = generator[0].get_state()
    sampling = Sampling(temperature=0, cfg_scale=2.0)
    assert draw(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]), sampling, [[]], generator) == [0]
    assert torch.equal(before, generator[0].get_state())


@pytest.mark.parametrize("temperature", [1e-300, 1e-39, 1e-7])
def test_a_temperature_near_zero_takes_the_best(temperature: float) -> None:
    logits = torch.tensor([[1.0, 2.0, -30.0]])
    for seed in range(5):
        assert draw(logits, None, Sampling(temperature=temperature), [[]], generators(seed)) == [1]


def test_mask_comes_after_guidance() -> None:
    """Masking before guidance would give -inf - -inf."""

    def mask(logits: torch.Tensor) -> None:
        logits[:, 0] = -torch.inf

    sampling = Sampling(temperature=0.8, cfg_scale=3.0, top_p=1.0)
    cond, uncond = torch.tensor([[9.0, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, 1.0]])
    tokens = {draw(cond, uncond, sampling, [[]], generators(seed), mask)[0] for seed in range(30)}
    assert tokens == {1, 2}
    assert cond.tolist() == [[9.0, 1.0, 1.0]]  # the caller's logits stay


def test_repetition_penalty_lowers_either_sign() -> None:
    logits = torch.tensor([[2.0, -2.0, 1.0]])
    penalise(logits, [[0, 1, 0]], 2.0)
    assert logits.tolist() == [[1.0, -4.0, 1.0]]


def test_top_k_and_top_p() -> None:
    values = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    keep_nucleus(values, 2, 1.0)
    assert values[0, 2:].tolist() == [-math.inf, -math.inf]
    masses = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    keep_nucleus(masses, 0, 0.75)
    assert torch.isfinite(masses).tolist() == [[True, True, False, False]]
    single = torch.tensor([[0.9, 0.1]]).log()
    keep_nucleus(single, 0, 0.1)
    assert torch.isfinite(single).tolist() == [[True, False]]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log()
    generator = generators(3)
    sampling = Sampling(temperature=1.0, top_p=1.0)
    counts = torch.bincount(torch.tensor([draw(logits, None, sampling, [[]], generator)[0] for _ in range(3000)]))
    assert torch.allclose(counts / 3000, torch.tensor([0.6, 0.3, 0.1]), atol=0.03)


def test_temperature_sharpens() -> None:
    logits = torch.tensor([[0.6, 0.4]]).log()
    generator = generators(3)
    cold = [draw(logits, None, Sampling(temperature=0.1, top_p=1.0), [[]], generator)[0] for _ in range(300)]
    assert sum(cold) < 15


def test_a_row_draws_the_same_alone_and_in_a_batch() -> None:
    logits = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(temperature=1.0, top_k=50, top_p=0.95)
    together = draw(logits, None, sampling, [[]] * 4, generators(1, 2, 3, 4))
    alone = [draw(logits[row : row + 1], None, sampling, [[]], generators(row + 1))[0] for row in range(4)]
    assert together == alone


def test_nothing_allowed_is_an_error() -> None:
    with pytest.raises(LMError, match="no token"):
        draw(torch.full((1, 3), -torch.inf), None, Sampling(), [[]], generators(0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", math.nan),
        ("temperature", "hot"),
        ("temperature", math.inf),
        ("top_k", -5),
        ("top_p", -0.1),
        ("top_p", 1.5),
        ("repetition_penalty", 0.0),
        ("cfg_scale", -2.0),
        ("cfg_scale", True),
    ],
)
def test_absurd_values_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        Sampling(**{field: value})  # type: ignore[arg-type]


def test_backends_that_differ_in_the_last_digits_draw_the_same_tokens() -> None:
    """Many tokens of nearly one probability: a rounding changes their order by size, not what is drawn."""
    generator = torch.Generator().manual_seed(0)
    logits = 1e-6 * torch.randn(1, 400, generator=generator) + (torch.arange(400) % 5) * 0.5
    rounded = logits + 3e-6 * torch.randn(1, 400, generator=generator)
    assert not torch.equal(logits.argsort(), rounded.argsort())
    sampling = Sampling(temperature=0.85, top_p=1.0)
    ours, theirs = (
        [draw(values, None, sampling, [[]], generators(seed))[0] for seed in range(200)] for values in (logits, rounded)
    )
    assert ours == theirs and len(set(ours)) > 100


def test_the_last_allowed_token_ends_the_draw() -> None:
    """A draw at the very end of the mass never names a forbidden column behind it."""
    logits = torch.tensor([[0.0, 1.0, -math.inf, 0.5, -math.inf]])
    tokens = {draw(logits, None, Sampling(temperature=1.0, top_p=1.0), [[]], generators(s))[0] for s in range(300)}
    assert tokens == {0, 1, 3}
