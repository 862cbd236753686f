"""Which seed each item of a batch gets. Standard library only."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence

SEED_BITS = 32
"""Of seeds that are drawn."""
MAX_SEED_BITS = 63
"""Of seeds that are given; after the largest one comes 0."""


def item_seeds(batch_size: int, seeds: Sequence[int], seed: int, use_random_seed: bool) -> tuple[int, ...]:
    """The seeds of a batch.

    A seed that was given is always used: item k takes `seeds[k]`, else `seed + k` (0 comes after 2**63 - 1).
    `use_random_seed` decides only about items without one: True draws it from the system's entropy, False derives it
    from what was given and k, so that the next call gets the same.

    Args:
        seeds: by item, may be shorter or longer than the batch; -1 entries count as not given.
        seed: of the first item, -1 when not given.
    """
    chosen = []
    for k in range(batch_size):
        if k < len(seeds) and seeds[k] >= 0:
            chosen.append(seeds[k])
        elif seed >= 0:
            chosen.append((seed + k) % 2**MAX_SEED_BITS)
        elif use_random_seed:
            chosen.append(secrets.randbits(SEED_BITS))
        else:
            chosen.append(random.Random(f"acestep_like {list(seeds)} {k}").getrandbits(SEED_BITS))
    return tuple(chosen)
