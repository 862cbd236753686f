"""Rates and lengths that all rooms agree on. Standard library only.

A codec of a checkpoint says its own rate and hop (`models/codec/base.py`); these are those of ACE-Step 1.5.
"""

from __future__ import annotations

SAMPLE_RATE = 48_000
"""Samples a second of all audio that is made."""
LATENT_RATE_HZ = 25
"""Latent frames a second."""
CODE_RATE_HZ = 5
"""Audio codes a second."""
FRAMES_PER_CODE = LATENT_RATE_HZ // CODE_RATE_HZ
MIN_DURATION_S, MAX_DURATION_S = 10, 600
"""Shortest and longest music of the documented API, in seconds."""
