"""Audio codes as text: `<|audio_code_N|>` repeated, five a second."""

from __future__ import annotations

import re
from collections.abc import Iterable

CODE = re.compile(r"<\|audio_code_(\d+)\|>")
"""One code; its group is N."""


def parse_codes(text: str) -> list[int]:
    """The N of every code, in order; other text is ignored."""
    return [int(number) for number in CODE.findall(text)]


def format_codes(codes: Iterable[int]) -> str:
    """Codes as text without separators."""
    return "".join(f"<|audio_code_{code}|>" for code in codes)
