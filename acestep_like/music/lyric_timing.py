"""Lyrics in time, line by line, as LRC, SRT and JSON, and the passages to sing again. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from acestep_like.errors import InputError, OutputError
from acestep_like.music.lrc import stamp
from acestep_like.music.score import Score

SUNG_CONFIDENCE = 0.5
"""Lines of less confidence count as not sung."""


@dataclass(frozen=True)
class TimedLine:
    """One line of lyrics.

    Attributes:
        text: as written.
        start_s, end_s: when it is sung, or should be.
        confidence: 0 to 1, the share of its tokens that the model is seen to sing; 1 for the lines of a score.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float = 1.0

    @property
    def sung(self) -> bool:
        """Whether its confidence reaches `SUNG_CONFIDENCE`."""
        return self.confidence >= SUNG_CONFIDENCE


def lines_of_score(score: Score) -> list[TimedLine]:
    """The lines that a score sings. These times are those of the plan: they say nothing of how well it was sung."""
    lines = []
    for _, syllables in groupby(score.syllables, key=lambda syllable: syllable.line):
        sung = list(syllables)
        words = ("".join(part.text for part in word) for _, word in groupby(sung, key=lambda part: part.word))
        end = sung[-1].start_beat + sung[-1].beats
        lines.append(TimedLine(" ".join(words), score.seconds(sung[0].start_beat), score.seconds(end)))
    return lines


def lrc_of_lines(lines: Sequence[TimedLine]) -> str:
    """`[mm:ss.xx]text` line by line."""
    return "\n".join(f"[{stamp(line.start_s)}]{line.text}" for line in lines)


def srt_of_lines(lines: Sequence[TimedLine]) -> str:
    """Numbered subtitles, `hh:mm:ss,mmm --> hh:mm:ss,mmm`."""
    blocks = (
        f"{number}\n{_srt_time(line.start_s)} --> {_srt_time(line.end_s)}\n{line.text}\n"
        for number, line in enumerate(lines, start=1)
    )
    return "\n".join(blocks)


def json_of_lines(lines: Sequence[TimedLine]) -> str:
    """`{"lines": [{text, start_s, end_s, confidence, sung}], "not_sung": [text]}`."""
    entries = [{**asdict(line), "sung": line.sung} for line in lines]
    missing = [line.text for line in lines if not line.sung]
    return json.dumps({"lines": entries, "not_sung": missing}, ensure_ascii=False, indent=2)


WRITERS = {".lrc": lrc_of_lines, ".srt": srt_of_lines, ".json": json_of_lines}
"""What writes lines, by the ending of a file."""


def save_lines(lines: Sequence[TimedLine], path: str | Path) -> Path:
    """Write lines as the ending of the path says (.lrc, .srt, .json), over a file of that name.

    Raises:
        InputError: another ending, or there are no lines.
        OutputError: the file cannot be written.
    """
    target = Path(path).expanduser()
    writer = WRITERS.get(target.suffix.lower())
    if writer is None:
        raise InputError("path", str(path), "a file that ends in " + ", ".join(WRITERS))
    if not lines:
        raise InputError("lyrics", "", "words that are sung")
    try:
        target.write_text(writer(lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: the lyrics cannot be written ({error.strerror or error})") from error
    return target


def repaint_windows(lines: Sequence[TimedLine], duration_s: float, margin_s: float = 0.25) -> list[tuple[float, float]]:
    """Where the lines lie that were not sung, for `editing.repaint`: apart, in order, within the audio.

    Args:
        duration_s: length of the audio.
        margin_s: added at both ends, so that no word is cut.
    """
    windows: list[tuple[float, float]] = []
    for line in sorted((line for line in lines if not line.sung), key=lambda line: line.start_s):
        start, end = max(line.start_s - margin_s, 0.0), min(line.end_s + margin_s, duration_s)
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(end, windows[-1][1]))
        elif end > start:
            windows.append((start, end))
    return windows


def _srt_time(seconds: float) -> str:
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d},{thousandths % 1000:03d}"
