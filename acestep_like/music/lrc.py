"""The words of a score as an LRC file: the time of each line, and within it of each word. Standard library only."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from acestep_like.errors import InputError, OutputError
from acestep_like.music.score import Score


def lrc_text(score: Score) -> str:
    """The sung lines in the enhanced LRC format: `[00:12.30] <00:12.30> Sing <00:12.80> it`; "" without words."""
    lines = []
    for _, syllables in groupby(score.syllables, key=lambda syllable: syllable.line):
        words = []
        for _, parts in groupby(syllables, key=lambda syllable: syllable.word):
            sung = list(parts)
            text = "".join(part.text for part in sung)
            words.append((stamp(score.seconds(sung[0].start_beat)), text))
        lines.append(f"[{words[0][0]}] " + " ".join(f"<{start}> {text}" for start, text in words))
    return "\n".join(lines) + "\n" if lines else ""


def save_lrc(score: Score, path: str | Path) -> Path:
    """Write the words of a score, over a file of that name.

    Raises:
        InputError: nobody sings words in it.
        OutputError: the file cannot be written.
    """
    text = lrc_text(score)
    if not text:
        raise InputError("lyrics", "", "words that are sung", "Only a song with lyrics has an LRC file.")
    target = Path(path).expanduser()
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: the LRC file cannot be written ({error.strerror or error})") from error
    return target


def stamp(seconds: float) -> str:
    """A time as LRC has it, `mm:ss.xx`."""
    minutes, rest = divmod(round(seconds * 100), 6000)
    return f"{minutes:02d}:{rest // 100:02d}.{rest % 100:02d}"
