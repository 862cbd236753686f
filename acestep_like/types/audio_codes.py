"""Audio codes as text: `<|audio_code_N|>` repeated, five a second. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from acestep_like.errors import InputError
from acestep_like.types.units import CODE_RATE_HZ, MAX_DURATION_S

MAX_CODE = 63999
"""Largest code of any published checkpoint."""
CODE = re.compile(r"<\|audio_code_([0-9]{1,9})\|>")
"""One code; its group is N."""


def parse_codes(text: str) -> list[int]:
    """The N of every code in what a language model wrote, in order; other text is ignored."""
    return [int(number) for number in CODE.findall(text)]


def format_codes(codes: Iterable[int]) -> str:
    """Codes as text without separators."""
    return "".join(f"<|audio_code_{code}|>" for code in codes)


def read_codes(text: str) -> tuple[int, ...]:
    """The codes of a text that a caller gave: `<|audio_code_N|>` repeated, or plain numbers with commas or blanks
    between them.

    Raises:
        InputError: anything else, a number above 63999, or more than 600 s of codes.
    """
    if "<" in text:
        rest, numbers = CODE.sub(" ", text).replace(",", " ").strip(), CODE.findall(text)
    else:
        numbers = text.replace(",", " ").split()
        rest = next((word for word in numbers if not re.fullmatch("[0-9]{1,9}", word)), "")
    if rest:
        raise InputError("audio_codes", rest, f"'<|audio_code_N|>' tokens or numbers, {CODE_RATE_HZ} for each second")
    codes = tuple(int(number) for number in numbers)
    if codes and max(codes) > MAX_CODE:
        raise InputError("audio_codes", max(codes), f"codes from 0 to {MAX_CODE}")
    if len(codes) > MAX_DURATION_S * CODE_RATE_HZ:
        raise InputError("audio_codes", f"{len(codes)} codes", f"at most {MAX_DURATION_S * CODE_RATE_HZ}")
    return codes
