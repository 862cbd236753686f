"""How the next token is drawn: one function for every backend.

Order of ACE-Step 1.5: classifier-free guidance, mask, repetition penalty, top-k, top-p, temperature, draw. The mask
is the caller's (`apply_mask`), since a grammar and a range of codes mask in different ways. Each row draws from its
own CPU generator, so the same seed gives the same token alone, in a batch, and on any device with equal logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from acestep_like.errors import LMError
from acestep_like.models.lm.requests import Sampling

GREEDY_BELOW = 1e-5
"""Temperatures under it mean the most probable token: logits divided by less leave what float32 holds."""


def guide(cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance on logits: `uncond + scale * (cond - uncond)` (Ho and Salimans 2022)."""
    return uncond + scale * (cond - uncond)


def draw(
    cond: torch.Tensor,
    uncond: torch.Tensor | None,
    sampling: Sampling,
    previous: Sequence[Sequence[int]],
    generators: Sequence[torch.Generator],
    apply_mask: Callable[[torch.Tensor], None] | None = None,
) -> list[int]:
    """One token per row.

    Args:
        cond, uncond: logits [B, V] of the guided and unguided branch; no guidance without the latter.
        previous: columns of V drawn so far in each row, for the repetition penalty.
        generators: one CPU generator per row; untouched when the temperature is (nearly) 0.
        apply_mask: sets the logits [B, V] of forbidden columns to -inf, in place.

    Raises:
        LMError: the mask leaves a row without any column, or the logits are no numbers.
    """
    logits = cond.float() if uncond is None else guide(cond.float(), uncond.float(), sampling.cfg_scale)
    if uncond is None and apply_mask is not None and logits.data_ptr() == cond.data_ptr():
        logits = logits.clone()
    if apply_mask is not None:
        apply_mask(logits)
    if sampling.repetition_penalty != 1.0:
        penalise(logits, previous, sampling.repetition_penalty)
    if not bool(torch.isfinite(logits.amax(-1)).all()):
        raise LMError("The language model gives no token a chance, as damaged weights do. Fetch the checkpoint again.")
    if sampling.temperature < GREEDY_BELOW:
        return [int(token) for token in logits.argmax(-1).tolist()]
    values, columns = logits.sort(dim=-1, descending=True, stable=True)
    keep_nucleus(values, sampling.top_k, sampling.top_p)
    # Drawn in the order of the vocabulary: sorted, two tokens that are nearly as likely change places by a rounding,
    # and two backends that agree in all but the last digits would then name different ones.
    kept = torch.empty_like(values).scatter_(-1, columns, values)
    probabilities = (kept / sampling.temperature).softmax(-1)
    cumulative = probabilities.double().cumsum(-1)
    draws = torch.stack([torch.rand((), generator=generator, dtype=torch.float64) for generator in generators])
    # Scaled by the row's own sum, which rounding leaves a little beside 1; never a column of probability 0.
    target = draws.to(cumulative.device).unsqueeze(-1) * cumulative[:, -1:]
    place = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    last = kept.shape[-1] - 1 - (probabilities.flip(-1) > 0).int().argmax(-1)
    return [int(token) for token in torch.minimum(place, last).tolist()]


def penalise(logits: torch.Tensor, previous: Sequence[Sequence[int]], penalty: float) -> None:
    """Repetition penalty in place (Keskar et al. 2019): seen tokens lose by a factor, whatever their sign."""
    for row, seen in zip(logits, previous, strict=True):
        if seen:
            columns = torch.tensor(sorted(set(seen)), device=logits.device)
            values = row[columns]
            row[columns] = torch.where(values > 0, values / penalty, values * penalty)


def keep_nucleus(values: torch.Tensor, top_k: int, top_p: float) -> None:
    """Top-k, then nucleus (Holtzman et al. 2020), on logits [B, V] sorted downwards, in place.

    The nucleus is the smallest head of the distribution whose mass reaches `top_p`; the best token always stays.
    """
    if 0 < top_k < values.shape[-1]:
        values[:, top_k:] = -torch.inf
    if top_p < 1.0:
        mass = values.softmax(-1)
        before = mass.cumsum(-1) - mass
        drop = before >= top_p
        drop[:, 0] = False
        values.masked_fill_(drop, -torch.inf)
