"""AAC files through FFmpeg (PyAV, the extra `audio`): M4A, and the bare stream of frames with ADTS headers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from acestep_like.errors import DependencyError, InputError, OutputError

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Sample rates of AAC, in Hz."""
_BLOCK_FRAMES = 1 << 16


def require_av(purpose: str) -> Any:
    """PyAV's module.

    Raises:
        DependencyError: it is not installed; `purpose` begins the sentence.
    """
    try:
        import av
    except ImportError as error:
        raise DependencyError("av", "audio", purpose) from error
    return av


def encode_aac(
    samples: np.ndarray, sample_rate: int, *, container: str, bitrate_kbps: int, comment: str | None = None
) -> bytes:
    """A file of AAC-LC.

    Args:
        samples: [1 or 2, N], float32; what lies beyond -1..1 is clipped.
        sample_rate: one of `AAC_RATES`.
        container: FFmpeg's name: "ipod" (M4A) or "adts", which has no tags and so takes no `comment`.
        bitrate_kbps: of all channels; the encoder keeps it on average.

    Raises:
        InputError: more than two channels.
        DependencyError: PyAV is not installed.
        OutputError: FFmpeg cannot encode it.
    """
    av = require_av("Writing AAC")
    if len(samples) > 2:
        raise InputError("samples", tuple(samples.shape), "one or two channels for AAC")
    layout = "mono" if len(samples) == 1 else "stereo"
    data = np.ascontiguousarray(np.clip(samples, -1, 1), np.float32)
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format=container) as output:
            if comment is not None:
                output.metadata["comment"] = comment
            stream = output.add_stream("aac", rate=sample_rate, layout=layout)
            stream.bit_rate = bitrate_kbps * 1000
            for start in range(0, data.shape[1], _BLOCK_FRAMES):
                block = np.ascontiguousarray(data[:, start : start + _BLOCK_FRAMES])
                frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
                frame.sample_rate, frame.pts = sample_rate, start
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise OutputError(f"cannot encode AAC at {sample_rate} Hz: {error}") from error
    return buffer.getvalue()
