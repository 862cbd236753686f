"""Reading audio: any file, array, tensor or earlier result becomes a stereo waveform at one sample rate."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import torch

from acestep_like.errors import DependencyError, InputError
from acestep_like.types.paths import user_path

MIN_SECONDS = 0.1
"""Shortest source: below this there is no music to work from."""
MAX_SECONDS = 3600.0
"""Longest source that is read into memory."""
SILENCE_PEAK = 1e-6
"""A waveform whose largest magnitude is below this counts as silent (upstream's threshold)."""

_MAX_CHANNELS = 32
_UNSCALED_PEAK = 8.0
_CONTAINER_SUFFIXES = {".m4a", ".mp4", ".aac", ".webm", ".mkv", ".mov", ".wma", ".3gp"}
_ACCEPTED = "a path, an (array, sample_rate) pair or an audio of an earlier result"


@dataclass(frozen=True)
class Waveform:
    """Stereo samples [2, N], float32 in -1..1, on the CPU."""

    samples: torch.Tensor
    sample_rate: int

    @property
    def duration_s(self) -> float:
        return self.samples.shape[-1] / self.sample_rate


def is_silent(samples: torch.Tensor) -> bool:
    """Whether every sample is below `SILENCE_PEAK`."""
    return samples.numel() == 0 or float(samples.abs().max()) < SILENCE_PEAK


def load_audio(source: Any, *, field: str, sample_rate: int = 48000, allow_silent: bool = False) -> Waveform:
    """Read a source as stereo float32 at `sample_rate`.

    Mono is doubled, of more than two channels the first two are taken, other rates are resampled (soxr, HQ), samples
    beyond -1..1 are clamped. Integer arrays are scaled by their type's range.

    Args:
        source: a path; a pair (array or tensor [N], [C, N] or [N, C], sample rate in Hz); an audio of an earlier
            result (anything answering `["tensor"]` and `["sample_rate"]`), or a result with exactly one audio.
        field: the parameter's name, for error messages.
        allow_silent: accept a source in which every sample is below `SILENCE_PEAK`.

    Raises:
        InputError: no such file, not audio, empty, damaged, shorter than `MIN_SECONDS`, longer than `MAX_SECONDS`,
            NaN or infinite samples, unscaled floats, or silence.
        DependencyError: a container (m4a, mp4, webm, ...) without the `audio` extra.
    """
    samples, rate, shown = _read_any(source, field)
    if not np.isfinite(samples).all():
        where = int(np.argmin(np.isfinite(samples).all(axis=0)))
        raise InputError(field, shown, "finite samples", f"Sample {where} is NaN or infinite.")
    seconds = samples.shape[1] / rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InputError(field, shown, f"between {MIN_SECONDS} and {MAX_SECONDS:.0f} s of audio, got {seconds:.3f} s")
    peak = float(np.abs(samples).max())
    if peak > _UNSCALED_PEAK:
        raise InputError(field, shown, f"samples in -1..1, got a peak of {peak:.6g}", "Divide by the full scale.")
    if peak < SILENCE_PEAK and not allow_silent:
        raise InputError(field, shown, "audio that is not silent")
    stereo = np.repeat(samples, 2, axis=0) if samples.shape[0] == 1 else samples[:2]
    if rate != sample_rate:
        stereo = soxr.resample(stereo.T, rate, sample_rate, quality="HQ").T
    clamped = np.clip(stereo, -1.0, 1.0).astype(np.float32)
    return Waveform(torch.from_numpy(np.ascontiguousarray(clamped)), sample_rate)


def _read_any(source: Any, field: str) -> tuple[np.ndarray, int, str]:
    """Samples [C, N] float, rate in Hz and how to name the source in a message."""
    if isinstance(source, Waveform):
        return source.samples.detach().cpu().numpy(), source.sample_rate, "a waveform"
    if isinstance(source, (str, os.PathLike)):
        path = user_path(source, field)
        return (*_read_file(path, field), str(path))
    if isinstance(source, tuple) and len(source) == 2:
        return (*_from_array(source[0], source[1], field), f"an array at {source[1]} Hz")
    if isinstance(source, (np.ndarray, torch.Tensor, list)):
        raise InputError(field, type(source).__name__, _ACCEPTED, "Give the rate too: (array, 48000).")
    audios = getattr(source, "audios", None)
    if audios is not None:
        if len(audios) != 1:
            raise InputError(field, f"a result with {len(audios)} audios", "one audio", "Choose one: result.audios[0].")
        source = audios[0]
    try:
        tensor, rate = source["tensor"], source["sample_rate"]
    except (TypeError, KeyError, IndexError) as error:
        raise InputError(field, source, _ACCEPTED) from error
    if tensor is None:
        raise InputError(field, "an audio without samples", _ACCEPTED)
    return (*_from_array(tensor, rate, field), "an earlier audio")


def _from_array(array: Any, rate: Any, field: str) -> tuple[np.ndarray, int]:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        array = array.float().numpy() if array.is_floating_point() else array.numpy()
    if not isinstance(array, np.ndarray):
        raise InputError(field, type(array).__name__, "a numpy array or a torch tensor with its sample rate")
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer)) or not 1000 <= rate <= 768000:
        raise InputError(field, rate, "a sample rate in Hz between 1000 and 768000")
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.size == 0 or min(array.shape) > _MAX_CHANNELS:
        raise InputError(field, f"shape {tuple(array.shape)}", "samples shaped [N], [channels, N] or [N, channels]")
    if array.shape[0] > array.shape[1] or array.shape[0] > _MAX_CHANNELS:
        array = array.T
    if np.issubdtype(array.dtype, np.unsignedinteger) and array.dtype.itemsize == 1:
        return (array.astype(np.float32) - 128) / 128, int(rate)
    if np.issubdtype(array.dtype, np.signedinteger):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32), int(rate)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(field, str(array.dtype), "float or signed integer samples")
    return array.astype(np.float32), int(rate)


def _read_file(path: Path, field: str) -> tuple[np.ndarray, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(field, str(path), "an existing audio file", error.strerror or "") from error
    except ValueError as error:  # a null byte in the path
        raise InputError(field, str(path), "a valid path") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(field, str(path), "an audio file, not a folder")
    if status.st_size == 0:
        raise InputError(field, str(path), "an audio file", "The file is empty.")
    if not os.access(path, os.R_OK):
        raise InputError(field, str(path), "a readable file", "Permission denied.")
    if path.suffix.lower() in _CONTAINER_SUFFIXES:
        return _read_container(path, field)
    try:
        with sf.SoundFile(str(path)) as file:
            if file.frames > MAX_SECONDS * file.samplerate:
                raise InputError(field, str(path), f"at most {MAX_SECONDS:.0f} s of audio")
            declared = file.frames
            samples = file.read(dtype="float32", always_2d=True)
            rate = file.samplerate
            lossless = file.format in ("FLAC", "WAV", "AIFF", "W64", "CAF", "RF64")
    except sf.LibsndfileError as error:
        raise InputError(field, str(path), "an audio file that can be decoded", str(error).split(": ")[-1]) from error
    if samples.shape[0] == 0:
        raise InputError(field, str(path), "an audio file with samples", "The file holds none.")
    if lossless and samples.shape[0] < declared:
        raise InputError(
            field, str(path), f"a whole file of {declared} samples", f"It breaks off after {samples.shape[0]}."
        )
    return samples.T, rate


def _read_container(path: Path, field: str) -> tuple[np.ndarray, int]:
    """Decode the first audio stream of m4a, mp4, webm, ... with PyAV (FFmpeg)."""
    try:
        import av
    except ImportError as error:
        raise DependencyError("av", "audio", f"Reading {path.suffix} files") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(field, str(path), "a file with an audio stream")
            stream = container.streams.audio[0]
            rate = int(stream.rate)
            planar = av.AudioResampler(format="fltp", rate=rate)
            blocks = [part.to_ndarray() for frame in container.decode(stream) for part in planar.resample(frame)]
            blocks += [part.to_ndarray() for part in planar.resample(None)]
    except av.error.FFmpegError as error:
        raise InputError(field, str(path), "an audio file that can be decoded", str(error)) from error
    if not blocks:
        raise InputError(field, str(path), "an audio file with samples", "The file holds none.")
    return np.concatenate(blocks, axis=1), rate
