"""When each token of the lyrics is sung: dynamic time warping over the cross-attention of chosen heads of a DiT.

The procedure and its constants are those of ACE-Step 1.5's own lyric timestamps and lyric score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel

ALIGNMENT_HEADS: Mapping[int, tuple[int, ...]] = {2: (6,), 3: (10, 11), 4: (3,), 5: (8, 9), 6: (8,)}
"""Layers of the published 2B checkpoints to the heads that follow the singing; others name theirs in their config."""
SUNG_ENERGY = 0.1
"""A token whose energy peaks above this is taken to be sung."""
_MEDIANS_SUBTRACTED = 2.0
_CENTROID_ENERGY = 0.01
_BACKWARD_FRAMES = 9


@contextmanager
def recorded_cross_attention(
    transformer: AceStepTransformer1DModel, heads: Mapping[int, Sequence[int]]
) -> Iterator[dict[int, torch.Tensor]]:
    """Record the cross-attention of some layers and heads while the block lasts.

    Yields:
        A dictionary that evaluations fill: layer to [heads, tokens, frames] of the first item, softmaxed over tokens.
        Layers that the DiT lacks stay away, and so do heads.
    """
    weights: dict[int, torch.Tensor] = {}
    layers: Any = transformer.layers

    def recorder(layer: int, chosen: Sequence[int]) -> Any:
        def record(attn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            asking = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            condition = kwargs["encoder_hidden_states"] if "encoder_hidden_states" in kwargs else args[1]
            query = attn.norm_q(attn.to_q(asking[:1]).unflatten(-1, (attn.heads, attn.head_dim)))[0].float()
            key = attn.norm_k(attn.to_k(condition[:1]).unflatten(-1, (attn.kv_heads, attn.head_dim)))[0].float()
            group = attn.heads // attn.kv_heads
            logits = [query[:, head] @ key[:, head // group].T * attn.scaling for head in chosen]
            weights[layer] = torch.stack(logits).softmax(-1).transpose(1, 2).cpu()

        return record

    handles = []
    try:
        for layer, wanted in heads.items():
            if 0 <= layer < len(layers):
                attn = layers[layer].cross_attn
                chosen = [head for head in wanted if 0 <= head < attn.heads]
                if chosen:
                    handles.append(attn.register_forward_pre_hook(recorder(layer, chosen), with_kwargs=True))
        yield weights
    finally:
        for handle in handles:
            handle.remove()


def sharpened(attention: torch.Tensor) -> np.ndarray:
    """What to warp over, [tokens, frames], of attention [heads, tokens, frames]: where a token and a frame agree on
    each other, without what either gives to everything."""
    matrix = attention.double().softmax(-1) * attention.double().softmax(-2)
    matrix = (matrix - _MEDIANS_SUBTRACTED * _median(matrix, -1)).relu()
    matrix = (matrix - _MEDIANS_SUBTRACTED * _median(matrix, -2)).relu()
    return np.asarray(_standardised(matrix.square()).mean(0))


def _median(matrix: torch.Tensor, dim: int) -> torch.Tensor:
    return matrix.median(dim=dim, keepdim=True).values


def _standardised(matrix: torch.Tensor) -> torch.Tensor:
    deviation = matrix.std(correction=0)
    return (matrix - matrix.mean()) / deviation if deviation > 0 else torch.zeros_like(matrix)


def warping_path(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest way through a cost matrix [tokens, frames] from its first to its last corner (dynamic time warping).

    Steps go one token, one frame, or both ahead; of equally cheap ones both, then the token.

    Returns:
        (tokens, frames): the indices of the cells on the path, in order.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    step = np.zeros((rows + 1, columns + 1), np.int8)
    for diagonal in range(2, rows + columns + 1):  # the cells of a diagonal do not depend on each other
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        step[i, j] = choice = before.argmin(0)
        total[i, j] = cost[i - 1, j - 1] + before[choice, np.arange(len(i))]
    path = []
    row, column = rows, columns
    while row > 0 and column > 0:
        path.append((row - 1, column - 1))
        taken = step[row, column]
        row, column = row - (taken != 2), column - (taken != 1)
    tokens, frames = zip(*reversed(path), strict=True)
    return np.array(tokens), np.array(frames)


def token_frames(attention: torch.Tensor) -> np.ndarray:
    """First and last frame of each token, [tokens, 2], of attention [heads, tokens, frames]."""
    tokens, frames = warping_path(-sharpened(attention))
    count = attention.shape[1]
    spans = [frames[tokens == token][[0, -1]] for token in range(count)]
    return np.stack(spans)


def energy_of(attention: torch.Tensor) -> np.ndarray:
    """The mean of the heads [tokens, frames], brought to 0..1; all 0 where attention is the same everywhere."""
    mean = np.asarray(attention.double().mean(0))
    low, high = mean.min(), mean.max()
    return (mean - low) / (high - low) if high > low else np.zeros_like(mean)


def lyric_score(attention: torch.Tensor, counted: Sequence[bool]) -> float:
    """How well lyrics are sung, 0 to 1: coverage^2 * monotonicity^2 * confidence, to four decimals.

    Args:
        attention: [heads, tokens, frames].
        counted: which tokens are words; bracketed tags are not.
    """
    energy = energy_of(attention)
    words = energy[np.asarray(counted, bool)]
    if not len(words):
        return 0.0
    coverage = float((words.max(1) > SUNG_ENERGY).mean())
    weights = np.where(words > _CENTROID_ENERGY, words, 0.0)
    present = weights[weights.sum(1) > 0]
    centroids = (present * np.arange(energy.shape[1])).sum(1) / present.sum(1)
    ahead = np.diff(centroids) >= -_BACKWARD_FRAMES
    monotonicity = float(ahead.mean()) if len(ahead) else 1.0
    confidence = float(energy[warping_path(-(energy**2))].mean())
    return round(min(max(coverage**2 * monotonicity**2 * confidence, 0.0), 1.0), 4)


def outside_tags(texts: Sequence[str]) -> list[bool]:
    """Which tokens are no part of a bracketed tag and no mere white space, of the texts of all tokens in order."""
    depth, words = 0, []
    for text in texts:
        inside = depth > 0 or "[" in text
        depth = max(0, depth + text.count("[") - text.count("]"))
        words.append(not inside and bool(text.strip()))
    return words
