"""Heads that name a song's style, key, meter and tracks from the last token of a prompt.

The loss of the answer's tokens says little about what a prompt means: most of a caption's tokens follow from the ones
before. So heads on the token after which the answer begins must name what the prompt says, in words or in codes;
answers then find it there. Nothing of the heads is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from acestep_like.errors import InputError
from acestep_like.music.instruments import TRACK_NAMES
from acestep_like.music.styles import STYLES
from acestep_like.music.theory import TIME_SIGNATURES, parse_keyscale

STYLE, KEY, METER, TRACKS = range(4)
"""Columns of the facts of a sequence, int16; -1 is unknown. A key is twice its tonic, and one more in minor; tracks are
the bits of `TRACK_NAMES`."""
_CLASSES = (len(STYLES), 24, len(TIME_SIGNATURES), len(TRACK_NAMES))
_TRACKS_WEIGHT = 4.0


def facts_of(style: str, tracks: tuple[str, ...], metadata: Mapping[str, Any], *, detected: bool) -> np.ndarray:
    """The facts [4] that a prompt says; key and meter only where the music itself is `detected`."""
    facts = np.full(4, -1, np.int16)
    if style in STYLES:
        facts[STYLE] = STYLES.index(style)
    if tracks:
        facts[TRACKS] = sum(1 << TRACK_NAMES.index(name) for name in tracks if name in TRACK_NAMES)
    if detected:
        facts[KEY] = _key_class(str(metadata.get("keyscale", "")))
        meter = str(metadata.get("timesignature", ""))
        facts[METER] = TIME_SIGNATURES.index(meter) if meter in TIME_SIGNATURES else -1
    return facts


def _key_class(keyscale: str) -> int:
    try:
        key = parse_keyscale(keyscale)
    except InputError:
        return -1
    return 2 * key.tonic + int(key.ace_name.endswith("minor"))


class FactHeads(nn.Module):
    """One linear head a fact on hidden states [B, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in _CLASSES)

    def losses(self, states: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
        """Sum over the facts of the mean loss of the sequences that know them; `facts` int64 [B, 4]."""
        total = states.new_zeros(())
        for column in (STYLE, KEY, METER):
            known = facts[:, column] >= 0
            if bool(known.any()):
                total = total + F.cross_entropy(self.heads[column](states[known]).float(), facts[known, column])
        known = facts[:, TRACKS] >= 0
        if bool(known.any()):
            logits = self.heads[TRACKS](states[known]).float()
            bits = track_bits(facts[known, TRACKS])
            total = total + _TRACKS_WEIGHT * F.binary_cross_entropy_with_logits(logits, bits)
        return total

    @torch.no_grad()
    def accuracies(self, states: torch.Tensor, facts: torch.Tensor) -> dict[str, float]:
        """Share of right style, key and meter of the sequences that know them."""
        found = {}
        for name, column in (("style", STYLE), ("key", KEY), ("meter", METER)):
            known = facts[:, column] >= 0
            if bool(known.any()):
                found[name] = float(
                    (self.heads[column](states[known]).argmax(1) == facts[known, column]).float().mean()
                )
        return found


def track_bits(numbers: torch.Tensor) -> torch.Tensor:
    """The tracks of facts [n] as 0.0 and 1.0 [n, 12]."""
    return (numbers[:, None] >> torch.arange(len(TRACK_NAMES), device=numbers.device) & 1).float()


def prompt_ends(kinds: torch.Tensor) -> torch.Tensor:
    """Index [B] of the last token before the answer, from the kinds [B, L] of the tokens."""
    return ((kinds > 0).int().argmax(dim=1) - 1).clamp(min=0)
