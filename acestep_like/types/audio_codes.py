"""Audio codes as text: `<|audio_code_N|>` repeated, five a second."""

from __future__ import annotations

import re
from collections.abc import Iterable

from acestep_like.errors import InputError

CODE = re.compile(r"<\|audio_code_(\d+)\|>")
"""One code; its group is N."""


def parse_codes(text: str) -> list[int]:
    """The N of every code, in order; other text is ignored."""
    return [int(number) for number in CODE.findall(text)]


def format_codes(codes: Iterable[int]) -> str:
    """Codes as text without separators."""
    return "".join(f"<|audio_code_{code}|>" for code in codes)


_MAX_CODE = 63999


_CODE_RATE_HZ = 5


_MAX_DURATION_S = 600


def read_codes(text: str) -> list[int]:
    """The numbers of a `<|audio_code_N|>` string.

    Raises:
        InputError: anything but such tokens and blanks, a number above 63999, or more than 600 s of codes.
    """
    rest = CODE.sub("", text)
    if rest.strip():
        raise InputError("audio_codes", rest.strip(), "only '<|audio_code_N|>' tokens, 5 for each second")
    codes = parse_codes(text)
    if any(code > _MAX_CODE for code in codes):
        raise InputError("audio_codes", max(codes), f"codes from 0 to {_MAX_CODE}")
    if len(codes) > _MAX_DURATION_S * _CODE_RATE_HZ:
        raise InputError("audio_codes", f"{len(codes)} codes", f"at most {_MAX_DURATION_S * _CODE_RATE_HZ}")
    return codes
