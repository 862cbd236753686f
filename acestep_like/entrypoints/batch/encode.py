"""The seven file formats of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from acestep_like.audio.formats import encode_audio, parse_format

_MP3 = {"mp3 v0": 0, "mp3 320k": 320, "mp3 128k": 128}
_AAC = {"m4a aac_he_v2 32k": 32, "m4a aac_he_v2 64k": 64}
AAC_NOTE = "FFmpeg has no HE-AAC v2 encoder of its own: the m4a files are AAC-LC of the same bitrate."


def check_encoder(file_format: str) -> list[str]:
    """What is to be said about a format on this machine.

    Raises:
        DependencyError: it needs PyAV, which is not installed.
    """
    if file_format not in _AAC:
        return []
    parse_format("m4a")
    return [AAC_NOTE]


def encode(samples: np.ndarray, sample_rate: int, file_format: str, recipe: Mapping[str, Any]) -> bytes:
    """A whole file with its recipe as the comment.

    Args:
        samples: `[channels, N]`, float32 in -1..1.
        file_format: one of `config.FILE_FORMATS`. MP3 of rates other than 44.1 and 48 kHz is resampled to 48 kHz.

    Raises:
        OutputError: it cannot be encoded.
    """
    tensor = torch.from_numpy(samples)
    if file_format in _AAC:
        return encode_audio(tensor, sample_rate, audio_format="m4a", recipe=recipe, aac_bitrate_kbps=_AAC[file_format])
    if file_format in _MP3:
        rate = sample_rate if sample_rate in (44100, 48000) else 48000
        kbps = _MP3[file_format]
        return encode_audio(
            tensor, sample_rate, audio_format="mp3", recipe=recipe, mp3_bitrate_kbps=kbps, mp3_sample_rate=rate
        )
    return encode_audio(tensor, sample_rate, audio_format=file_format, recipe=recipe)
