"""Names of a batch's files: from prompts, safe on every system, none twice."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from acestep_like.entrypoints.batch.config import Conditioning

_LONGEST_CHARACTERS, _LONGEST_BYTES = 150, 200
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def file_stem(conditioning: Conditioning, naming: str, cfg_scale: float | None, seed: int) -> str:
    """The name of a clip's file without its ending.

    `verbose` is `<prompt>[.ap-<audio prompt>][.neg-<negative prompt>].cfg<scale>.<seed>`, in which long texts are cut
    so that the seed stays.
    """
    prompt = conditioning.prompt
    audio = PurePosixPath((conditioning.audio_prompt or "").replace("\\", "/")).stem
    if naming == "audio_prompt":
        return safe(audio or prompt)
    if naming == "prompt":
        return safe(prompt)
    end = (f".cfg{cfg_scale:g}" if cfg_scale is not None else "") + f".{seed}"
    parts = [safe(prompt, 100)]
    parts += [f"ap-{safe(audio, 30)}"] * bool(audio)
    if conditioning.negative_prompt:
        parts.append(f"neg-{safe(conditioning.negative_prompt, 30)}")
    return safe(".".join(parts), _LONGEST_BYTES - len(end)) + end


def safe(text: str, most: int = _LONGEST_BYTES) -> str:
    """A text as a file name: no separators or controls, not hidden, at most 150 characters and `most` bytes."""
    name = _UNSAFE.sub("-", unicodedata.normalize("NFC", text))[:_LONGEST_CHARACTERS]
    name = name.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").strip(" .")
    return f"_{name}" if not name or _RESERVED.match(name) else name


class FreeNames:
    """Names that no file of a folder has and none that was taken, whatever the case of letters."""

    def __init__(self, folder: Path, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in (*taken, *(path.name for path in folder.iterdir()))}

    def take(self, stem: str, extension: str) -> str:
        """`stem.extension`, or with a number where that is taken; its metadata file is taken with it."""
        number = 1
        while True:
            tail = f"-{number}" if number > 1 else ""
            name = f"{stem}{tail}.{extension}"
            both = {name.casefold(), f"{stem}{tail}.json".casefold()}
            if not both & self._taken:
                self._taken |= both
                return name
            number += 1
