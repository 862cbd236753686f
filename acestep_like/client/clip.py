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
from acestep_like.audio.level import to_db
from acestep_like.errors import InputError, OutputError
from acestep_like.types.paths import user_path

ON_CLIPPING = ("attenuate", "refuse")
"""What becomes of a clip whose peaks lie beyond what a file can hold: it is made softer as a whole, or not written."""
_MIME = {
    "wav": "audio/wav",
    "wav32": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
}
_KEEPS_ANY_LEVEL = ("wav32",)


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip.

    Attributes:
        samples: `[channels, N]`, float32, as the model made them: peaks may lie beyond -1..1.
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
        return int(self.samples.shape[-1]) / self.sample_rate

    def numpy(self) -> tuple[int, np.ndarray]:
        """(sample rate in Hz, samples): `[N]` where there is one channel, else `[channels, N]`."""
        return self.sample_rate, self.samples[0] if len(self.samples) == 1 else self.samples

    def to_bytes(self, audio_format: str = "wav", *, on_clipping: str = "attenuate") -> bytes:
        """A whole file with `metadata` as its recipe.

        Args:
            audio_format: a name in `audio.formats.FORMATS`.
            on_clipping: for peaks beyond -1..1, which only wav32 can hold: "attenuate" makes the whole clip as much
                softer as they need, and says so as `attenuated_db` in the recipe; "refuse" raises OutputError.

        Raises:
            InputError: an unknown format or `on_clipping`. OutputError: peaks that are to be refused.
        """
        parse_format(audio_format)
        check_on_clipping(on_clipping)
        samples, facts = self.samples, self.metadata
        peak = float(np.abs(samples).max(initial=0.0))
        if peak > 1 and audio_format not in _KEEPS_ANY_LEVEL:
            if on_clipping == "refuse":
                raise OutputError(
                    f"The clip's peaks are {to_db(peak):.1f} dB beyond what {audio_format} holds; write it as wav32, or"
                    ' let on_clipping="attenuate" make it softer.'
                )
            samples = (samples / peak).astype(np.float32)
            facts = {**facts, "attenuated_db": round(to_db(peak), 2)}
        recipe = {"acestep_like": __version__, "clip": facts}
        return encode_audio(torch.from_numpy(samples), self.sample_rate, audio_format=audio_format, recipe=recipe)

    def data_url(self, audio_format: str = "wav", *, on_clipping: str = "attenuate") -> str:
        """The same as a `data:` URL."""
        data = base64.b64encode(self.to_bytes(audio_format, on_clipping=on_clipping)).decode("ascii")
        return f"data:{_MIME[audio_format]};base64,{data}"

    def save(self, path: str | Path, audio_format: str | None = None, *, on_clipping: str = "attenuate") -> Path:
        """Write a file, whole or not at all; the format is the path's extension unless it is given.

        Raises:
            InputError: an unknown format or `on_clipping`. OutputError: the file cannot be written, or not so loud.
        """
        target = user_path(path, "path")
        kind = audio_format or target.suffix.lower().lstrip(".")
        if kind not in FORMATS:
            raise InputError("path", str(path), "a name that ends in ." + ", .".join(FORMATS))
        write_atomic(target, self.to_bytes(kind, on_clipping=on_clipping))
        return target


def check_on_clipping(value: str) -> None:
    """InputError unless a value is in `ON_CLIPPING`."""
    if value not in ON_CLIPPING:
        raise InputError("on_clipping", value, "one of " + ", ".join(ON_CLIPPING))
