"""Long signals in tiles: each tile is computed with its receptive field around it, and only its core is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def tile_spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Fixed grid over `length`: first and end of each tile."""
    for first in range(0, length, tile):
        yield first, min(first + tile, length)


def overlap_discard(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    tile: int,
    overlap: int,
    numerator: int = 1,
    denominator: int = 1,
) -> Tensor:
    """Apply a local function along the last axis, tile by tile.

    Equal to `function(x)` up to rounding when `overlap` covers the function's receptive field and the function pads
    the ends of its input with zeros.

    Args:
        function: `[..., n]` to `[..., n * numerator / denominator]`.
        x: `[..., N]`; N, `tile` and `overlap` are multiples of `denominator`.
        tile: input length of a core.
        overlap: input length of the context on either side of a core.
    """
    length = x.shape[-1]
    if length <= tile + overlap:
        return function(x)
    parts = []
    for first, end in tile_spans(length, tile):
        left, right = max(0, first - overlap), min(length, end + overlap)
        out = function(x[..., left:right])
        start = (first - left) * numerator // denominator
        parts.append(out[..., start : start + (end - first) * numerator // denominator])
    return torch.cat(parts, dim=-1)
