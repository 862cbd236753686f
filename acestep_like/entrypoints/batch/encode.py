"""The seven file formats of a batch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from acestep_like.audio.formats import encode_audio
from acestep_like.audio.tags import encode_recipe
from acestep_like.errors import DependencyError, OutputError

_MP3 = {"mp3 v0": 0, "mp3 320k": 320, "mp3 128k": 128}
_AAC = {"m4a aac_he_v2 32k": 32_000, "m4a aac_he_v2 64k": 64_000}
AAC_NOTE = "FFmpeg has no HE-AAC v2 encoder of its own: the m4a files are AAC-LC of the same bitrate."


def check_encoder(file_format: str) -> list[str]:
    """What is to be said about a format on this machine.

    Raises:
        DependencyError: it needs PyAV, which is not installed.
    """
    if file_format not in _AAC:
        return []
    _av()
    return [AAC_NOTE]


def encode(samples: np.ndarray, sample_rate: int, file_format: str, recipe: Mapping[str, Any]) -> bytes:
    """A whole file with its recipe as the comment.

    Args:
        samples: `[channels, N]`, float32 in -1..1.
        file_format: one of `config.FILE_FORMATS`. MP3 of rates other than 44.1 and 48 kHz is resampled to 48 kHz.

    Raises:
        OutputError: it cannot be encoded.
    """
    if file_format in _AAC:
        return _aac(samples, sample_rate, _AAC[file_format], recipe)
    tensor = torch.from_numpy(samples)
    if file_format in _MP3:
        rate = sample_rate if sample_rate in (44100, 48000) else 48000
        kbps = _MP3[file_format]
        return encode_audio(
            tensor, sample_rate, audio_format="mp3", recipe=recipe, mp3_bitrate_kbps=kbps, mp3_sample_rate=rate
        )
    return encode_audio(tensor, sample_rate, audio_format=file_format, recipe=recipe)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise DependencyError("av", "audio", "Writing m4a files") from error
    return av


def _aac(samples: np.ndarray, sample_rate: int, bitrate: int, recipe: Mapping[str, Any]) -> bytes:
    av = _av()
    layout = "mono" if len(samples) == 1 else "stereo"
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="ipod") as container:
            container.metadata["comment"] = encode_recipe(recipe)
            stream = container.add_stream("aac", rate=sample_rate, layout=layout)
            stream.bit_rate = bitrate
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", layout)
            frame.sample_rate = sample_rate
            for part in (frame, None):
                container.mux(stream.encode(part))
    except av.error.FFmpegError as error:
        raise OutputError(f"cannot encode m4a at {sample_rate} Hz: {error}") from error
    return buffer.getvalue()
