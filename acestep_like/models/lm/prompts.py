"""The texts that the 5 Hz LM reads: five prompts and the chain of thought, as the published models were trained.

Source of the wording: ACE-Step 1.5 (`acestep/constants.py`, `acestep/llm_inference.py`); the open assistant turn of
phase 2 is that of its pull request 1127. Nothing here knows token ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from acestep_like.models.lm.requests import NO_USER_INPUT, Metadata
from acestep_like.models.lm.voice import INSTRUMENTAL

GENERATE = "Generate audio semantic tokens based on the given conditions:"
UNDERSTAND = "Understand the given musical conditions and describe the audio semantics accordingly:"
INSPIRE = "Expand the user's input into a more detailed and specific musical description:"
FORMAT = "Format the user's input into a more detailed and specific musical description:"

COT_FIELDS = ("bpm", "caption", "duration", "keyscale", "language", "timesignature")
"""Fields of the chain of thought of phase 2, in its (alphabetical) order."""

_SPECIAL = re.compile(r"<(?=\|[^|<>\n]*\|>|/?(?:think|tool_call|tool_response)>)")
_NEXT_LINE = "\x85"
"""Plain YAML scalars lose it: written raw it is read back as a line break."""


def plain(text: str) -> str:
    """User text in which control tokens are only text: `<|im_end|>` becomes `< |im_end|>`.

    What a file from another system brings along (CRLF, a byte order mark) goes; the models never saw it.
    """
    text = text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")
    return _SPECIAL.sub("< ", text)


def chat(instruction: str, user: str) -> str:
    """The prompt up to and including the opening of the assistant's turn, in ChatML.

    It is what the chat template of every 5 Hz LM (Qwen3's) makes of these two messages, so the template of a model
    folder, which is a program, is never run.
    """
    return (
        f"<|im_start|>system\n# Instruction\n{instruction}\n\n<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def song_user(caption: str, lyrics: str) -> str:
    """User message of phases 1 and 2."""
    return f"# Caption\n{plain(caption)}\n\n# Lyric\n{plain(lyrics)}\n"


def metadata_uncond_user(lyrics: str, negative: str) -> str:
    """User message of phase 1's unguided branch: lyrics only, or the negative prompt as the caption."""
    return song_user(negative, lyrics) if meaningful(negative) else f"# Lyric\n{plain(lyrics)}\n"


def codes_uncond_user(negative: str) -> str:
    """User message of phase 2's unguided branch: the bare negative prompt, without headings."""
    return plain(negative) if meaningful(negative) else NO_USER_INPUT


def understand_user(codes: str) -> str:
    """User message of understand: the bare code string."""
    return codes or NO_USER_INPUT


def inspire_user(query: str, instrumental: bool) -> str:
    """User message of create_sample."""
    return f"{plain(query.strip()) or NO_USER_INPUT}\n\ninstrumental: {'true' if instrumental else 'false'}"


def format_user(caption: str, lyrics: str) -> str:
    """User message of format_sample."""
    return f"# Caption\n{plain(caption.strip()) or NO_USER_INPUT}\n\n# Lyric\n{plain(lyrics.strip()) or INSTRUMENTAL}"


def meaningful(negative: str) -> bool:
    """Whether a negative prompt says anything."""
    return bool(negative.strip()) and negative.strip() != NO_USER_INPUT


def cot_value(key: str, value: int | str) -> int | str:
    """A metadata value as the chain of thought writes it: `4/4` as 4, digits as a number, seconds whole."""
    if key == "timesignature":
        value = str(value).split("/")[0].strip()
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        return int(value)
    return int(value) if isinstance(value, float) else value


def yaml_line(key: str, value: int | str) -> str:
    """One field as YAML, folded at 80 columns with continuation lines; control tokens inside are escaped.

    `yaml.safe_load` of the answer gives back exactly `{key: value}`.
    """
    if isinstance(value, str) and (_SPECIAL.search(value) or _NEXT_LINE in value):
        return f"{key}: {_escaped(value)}"
    return str(yaml.dump({key: value}, allow_unicode=True, sort_keys=True)).rstrip("\n")


def _escaped(value: str) -> str:
    """A YAML double-quoted scalar on one line that contains no `<`."""
    quoted = yaml.dump(value, default_style='"', width=float("inf"), allow_unicode=True)
    return str(quoted).rstrip("\n").replace("<", "\\x3C")


def cot_text(metadata: Mapping[str, Any], fields: tuple[str, ...] = COT_FIELDS) -> str:
    """`<think>` ... `</think>` around the metadata as YAML; nothing known gives the empty thought of CFG."""
    lines = [yaml_line(key, cot_value(key, metadata[key])) for key in sorted(fields) if metadata.get(key) is not None]
    return "<think>\n" + "\n".join(lines) + "\n</think>"


def open_turn(prompt: str, metadata: Metadata | None) -> str:
    """Phase 2's prompt: the codes follow directly inside the assistant's turn. None is the unguided branch."""
    return f"{prompt}{cot_text(metadata or {})}\n\n"
