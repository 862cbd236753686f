"""Reading audio: any file, array, tensor or earlier result becomes a stereo waveform at one sample rate."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soxr
import torch

from acestep_like.audio.decode import MAX_CHANNELS, MAX_RATE, MIN_RATE, Decoded, decode
from acestep_like.audio.level import SILENT_PEAK
from acestep_like.audio.sources import is_encoded, open_source
from acestep_like.errors import InputError
from acestep_like.types.units import SAMPLE_RATE

MIN_SECONDS = 0.1
"""Shortest source: below this there is no music to work from."""
MAX_SECONDS = 3600.0
"""Longest source that is read into memory."""

_UNSCALED_PEAK = 8.0
_ACCEPTED = (
    "a path, the bytes of a file or an open one, an (array, sample_rate) pair in either order, or an audio of an "
    "earlier result"
)


@dataclass(frozen=True)
class Waveform:
    """Stereo samples [2, N], float32 in -1..1, on the CPU. `notes` are remarks about the file they came from."""

    samples: torch.Tensor
    sample_rate: int
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.samples.shape[-1] / self.sample_rate


def load_audio(
    source: Any,
    *,
    field: str,
    sample_rate: int = SAMPLE_RATE,
    allow_silent: bool = False,
    max_seconds: float = MAX_SECONDS,
) -> Waveform:
    """Read a source as stereo float32 at `sample_rate`.

    Files are known by their content, not by their name. Mono is doubled, of more than two channels the first two are
    taken, other rates are resampled (soxr, HQ), samples beyond -1..1 are clamped. Integer arrays are scaled by their
    type's range. A lossy file that breaks off is read as far as it goes, with a note.

    Args:
        source: a path; the bytes of a file, or a file opened for reading bytes; a pair of an array or tensor ([N],
            [C, N] or [N, C]) and a sample rate in Hz, in either order; an audio of an earlier result (anything
            answering `["tensor"]` and `["sample_rate"]`), or a result with exactly one audio.
        field: the parameter's name, for error messages.
        allow_silent: accept a source in which every sample is below `SILENT_PEAK`.
        max_seconds: longest source that is accepted; of a file it is checked before and while it is decoded.

    Raises:
        InputError: no such file, not audio, empty, damaged, shorter than `MIN_SECONDS`, longer than `max_seconds`, of
            more than `decode.MAX_SAMPLES` samples, NaN or infinite samples, unscaled floats, or silence.
        DependencyError: a kind of file (m4a, mp4, webm, ...) that needs the `audio` extra.
    """
    decoded, shown = _read_any(source, field, max_seconds)
    samples, rate = decoded.samples[:2], decoded.sample_rate
    seconds = samples.shape[1] / rate
    if not MIN_SECONDS <= seconds <= max_seconds:
        raise InputError(field, shown, f"between {MIN_SECONDS} and {max_seconds:.0f} s of audio, got {seconds:.3f} s")
    peak = max(float(samples.max()), -float(samples.min()))
    if peak > _UNSCALED_PEAK:
        raise InputError(field, shown, f"samples in -1..1, got a peak of {peak:.6g}", "Divide by the full scale.")
    if peak < SILENT_PEAK and not allow_silent:
        raise InputError(field, shown, "audio that is not silent in its first two channels")
    if rate != sample_rate:
        samples = soxr.resample(samples.T, rate, sample_rate, quality="HQ").T
    stereo = np.ascontiguousarray(samples if len(samples) == 2 else np.repeat(samples, 2, axis=0))
    np.clip(stereo, -1.0, 1.0, out=stereo)
    return Waveform(torch.from_numpy(stereo), sample_rate, decoded.notes)


def _read_any(source: Any, field: str, max_seconds: float) -> tuple[Decoded, str]:
    """Finite samples [C, N], float32 and nobody else's, their rate, and how to name the source in a message."""
    if isinstance(source, Waveform):
        return replace(_from_array(source.samples, source.sample_rate, field), notes=source.notes), "a waveform"
    if is_encoded(source):
        with open_source(source, field) as opened:
            return decode(opened, field, max_seconds), opened.name
    if isinstance(source, tuple) and len(source) == 2:
        array, rate = reversed(source) if isinstance(source[0], numbers.Number) else source
        return _from_array(array, rate, field), f"an array at {rate} Hz"
    if isinstance(source, (np.ndarray, torch.Tensor)):
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
    notes = tuple(getattr(source, "notes", ()))
    return replace(_from_array(tensor, rate, field), notes=notes), "an earlier audio"


def _from_array(array: Any, rate: Any, field: str) -> Decoded:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        array = array.float().numpy() if array.is_floating_point() else array.numpy()
    if not isinstance(array, np.ndarray):
        raise InputError(field, type(array).__name__, "a numpy array or a torch tensor with its sample rate")
    number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not number or not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(field, rate, f"a sample rate in Hz between {MIN_RATE} and {MAX_RATE}")
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.size == 0 or min(array.shape) > MAX_CHANNELS:
        raise InputError(field, f"shape {tuple(array.shape)}", "samples shaped [N], [channels, N] or [N, channels]")
    if array.shape[0] > array.shape[1] or array.shape[0] > MAX_CHANNELS:
        array = array.T
    samples = _scaled(array[:2], field)
    if not np.isfinite(samples).all():
        where = int(np.argmin(np.isfinite(samples).all(axis=0)))
        raise InputError(field, f"an array at {rate} Hz", "finite samples", f"Sample {where} is NaN or infinite.")
    return Decoded(samples, int(rate))


def _scaled(array: np.ndarray, field: str) -> np.ndarray:
    """Samples as float32, integers divided by their type's full scale."""
    if np.issubdtype(array.dtype, np.unsignedinteger) and array.dtype.itemsize == 1:
        return (array.astype(np.float32) - 128) / 128
    if np.issubdtype(array.dtype, np.signedinteger):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(field, str(array.dtype), "float or signed integer samples")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused
        return array.astype(np.float32)
