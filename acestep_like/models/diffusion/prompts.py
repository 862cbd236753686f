"""The two texts of a song as the published text encoder learned them, character for character. No torch."""

from __future__ import annotations

import re

_TEXT = "# Instruction\n{instruction}\n\n# Caption\n{caption}\n\n# Metas\n{metas}<|endoftext|>\n"
_LYRICS = "# Languages\n{language}\n\n# Lyric\n{lyrics}<|endoftext|>"
_UNKNOWN = "N/A"
_DEFAULT_DURATION_S = 30
_WHOLE_PROMPT = re.compile(r"# Instruction\b.*?# Caption\s*\n(.*?)(?:\n\s*# Metas\b.*)?$", re.DOTALL)


def metas_text(*, bpm: float | None, keyscale: str, timesignature: str, duration: float | None) -> str:
    """The four metadata lines, each with its newline; `N/A` where unknown, whole seconds."""
    seconds = int(duration) if duration and duration > 0 else _DEFAULT_DURATION_S
    return (
        f"- bpm: {bpm if bpm else _UNKNOWN}\n"
        f"- timesignature: {str(timesignature or '').strip() or _UNKNOWN}\n"
        f"- keyscale: {(keyscale or '').strip() or _UNKNOWN}\n"
        f"- duration: {seconds} seconds\n"
    )


def plain_caption(caption: str) -> str:
    """The caption, or its caption part when a whole text prompt was given in its place."""
    match = _WHOLE_PROMPT.search(caption) if "# Instruction" in caption and "# Caption" in caption else None
    return match.group(1).strip() if match else caption


def text_prompt(
    instruction: str,
    caption: str,
    *,
    bpm: float | None = None,
    keyscale: str = "",
    timesignature: str = "",
    duration: float | None = None,
) -> str:
    """The text prompt: instruction (a colon is added when missing), caption and metadata.

    `duration` is in seconds; None or 0 is written as 30.
    """
    sentence = instruction if instruction.endswith(":") else instruction + ":"
    metas = metas_text(bpm=bpm, keyscale=keyscale, timesignature=timesignature, duration=duration)
    return _TEXT.format(instruction=sentence, caption=plain_caption(caption), metas=metas)


def lyric_prompt(language: str, lyrics: str) -> str:
    """The lyric prompt; `language` is a code of `music.LANGUAGES` or `unknown`."""
    return _LYRICS.format(language=language or "unknown", lyrics=lyrics)
