"""One clip that an audio model made: its samples, its seed, and every form that a caller may want it in."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acestep_like import __version__
from acestep_like.audio.formats import FORMATS, encode_audio, parse_format, write_atomic
from acestep_like.errors import InputError
from acestep_like.types.paths import user_path

_MIME = {
    "wav": "audio/wav",
    "wav32": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
}


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip.

    Attributes:
        samples: `[channels, N]`, float32, in -1..1.
        sample_rate: in Hz.
        seed: the one that made it.
        metadata: model, family, the request, the seed, and what the family records; JSON values.
    """

    samples: np.ndarray = field(repr=False)
    sample_rate: int
    seed: int
    metadata: dict[str, Any] = field(repr=False)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[-1] / self.sample_rate

    def numpy(self) -> tuple[int, np.ndarray]:
        """(sample rate in Hz, samples): `[N]` where there is one channel, else `[channels, N]`."""
        return self.sample_rate, self.samples[0] if len(self.samples) == 1 else self.samples

    def to_bytes(self, audio_format: str = "wav") -> bytes:
        """A whole file of a format in `audio.formats.FORMATS`, with `metadata` as its recipe.

        Raises:
            InputError: an unknown format.
        """
        recipe = {"acestep_like": __version__, "clip": self.metadata}
        return encode_audio(torch.from_numpy(self.samples), self.sample_rate, audio_format=audio_format, recipe=recipe)

    def data_url(self, audio_format: str = "wav") -> str:
        """The same as a `data:` URL."""
        return f"data:{_mime(audio_format)};base64,{base64.b64encode(self.to_bytes(audio_format)).decode('ascii')}"

    def save(self, path: str | Path, audio_format: str | None = None) -> Path:
        """Write a file, whole or not at all; the format is the path's extension unless it is given.

        Raises:
            InputError: an unknown format. OutputError: the file cannot be written.
        """
        target = user_path(path, "path")
        kind = audio_format or target.suffix.lower().lstrip(".")
        if kind not in FORMATS:
            raise InputError("path", str(path), "a name that ends in ." + ", .".join(FORMATS))
        write_atomic(target, self.to_bytes(kind))
        return target


def _mime(audio_format: str) -> str:
    parse_format(audio_format)
    return _MIME[audio_format]
