"""What the folder of a 5 Hz LM declares in `acestep_like.json`; published models have none. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acestep_like.models.checkpoints.config_fields import FLAG, Fields, check_config, list_of, number, one_of, whole
from acestep_like.models.checkpoints.files import SIDECAR, read_json
from acestep_like.music.theory import LANGUAGES

_FIELDS: Fields = {
    "longest_s": whole(10, 999),
    "metadata_temperature": number(0, 10),
    "defers_to_words": FLAG,
    "lyric_languages": list_of(one_of(*LANGUAGES), len(LANGUAGES)),
}


@dataclass(frozen=True)
class LMSidecar:
    """What a language model declares.

    Attributes:
        longest_s: the longest song it was trained to plan and to read, in seconds.
        metadata_temperature: factor on the temperature while metadata are drawn (small models copy numbers better
            when cold).
        defers_to_words: the caller's words outrank what it makes of them: it is too small to overrule them.
        lyric_languages: codes of the languages that it writes lyrics in; empty for a model that knows many.
    """

    longest_s: int = 600
    metadata_temperature: float = 1.0
    defers_to_words: bool = False
    lyric_languages: tuple[str, ...] = ()


def read_lm_sidecar(folder: Path) -> LMSidecar:
    """What the sidecar in a folder declares; the defaults where there is none.

    Raises:
        CheckpointError: it is not JSON, or a value is of another type or out of range.
    """
    file = folder / SIDECAR
    if not file.exists():
        return LMSidecar()
    values = read_json(file)
    check_config(values, _FIELDS, file)
    given = {name: value for name, value in values.items() if name in _FIELDS}
    return LMSidecar(**{**given, "lyric_languages": tuple(given.get("lyric_languages", ()))})
