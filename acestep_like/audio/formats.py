"""Writing audio: file formats through libsndfile, AAC through FFmpeg; whole files or none."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import torch

from acestep_like.audio.aac import AAC_RATES, encode_aac, require_av
from acestep_like.audio.tags import encode_recipe
from acestep_like.errors import InputError, OutputError, shown
from acestep_like.types.paths import user_path


@dataclass(frozen=True)
class AudioFormat:
    """A file format: its extension and the names that its writer has for it: libsndfile, or FFmpeg where `subtype` is
    "AAC". `bits` is None where samples are not integers; `has_tags` says whether a recipe fits in."""

    extension: str
    container: str
    subtype: str
    bits: int | None = None
    sample_rates: tuple[int, ...] = ()
    has_tags: bool = True


FORMATS: dict[str, AudioFormat] = {
    "flac": AudioFormat("flac", "FLAC", "PCM_16", 16),
    "wav": AudioFormat("wav", "WAV", "PCM_16", 16),
    "wav32": AudioFormat("wav", "WAV", "FLOAT"),
    "mp3": AudioFormat("mp3", "MP3", "MPEG_LAYER_III", None, (44100, 48000)),
    "ogg": AudioFormat("ogg", "OGG", "VORBIS"),
    "opus": AudioFormat("opus", "OGG", "OPUS", None, (8000, 12000, 16000, 24000, 48000)),
    "m4a": AudioFormat("m4a", "ipod", "AAC", None, AAC_RATES),
    "aac": AudioFormat("aac", "adts", "AAC", None, AAC_RATES, has_tags=False),
}
"""Formats by the name used in `audio_format`. `wav32` is 32-bit float, which keeps samples exactly. `aac` is
a bare stream of AAC (ADTS), which has no room for a recipe."""

MP3_BITRATES_KBPS = (64, 96, 128, 160, 192, 224, 256, 320)
AAC_BITRATES_KBPS = (8, 512)
"""Lowest and highest bitrate of AAC files."""
OPUS_BITRATES_KBPS = (6, 256)
"""Lowest and highest bitrate of a channel of Opus files."""
_MP3_TOP_KBPS, _MP3_LOW_KBPS = 320, 32
# libsndfile encodes one `write` on the stack in Vorbis; long ones overflow it.
_BLOCK_FRAMES = 1 << 15


def parse_format(name: str) -> AudioFormat:
    """The format of a name in `FORMATS`.

    Raises:
        InputError: an unknown format.
        DependencyError: a format that needs the extra `audio`, which is not installed.
    """
    if name not in FORMATS:
        raise InputError("audio_format", name, "one of " + ", ".join(FORMATS))
    if FORMATS[name].subtype == "AAC":
        require_av(f"Writing {name} files")
    return FORMATS[name]


def prepare_output_dir(path: str | Path) -> Path:
    """Create a folder where it is missing and see that a file can be written in it.

    Raises:
        InputError: no folder's name.
        OutputError: the folder cannot be created or written to.
    """
    if not isinstance(path, str | os.PathLike) or not str(path).strip():
        raise InputError("save_dir", path, "a folder, or None to save nothing")
    folder = user_path(path, "save_dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write to the folder {shown(str(folder))}: {_reason(error)}") from error
    return folder


def write_audio(
    path: str | Path,
    samples: torch.Tensor,
    sample_rate: int,
    *,
    audio_format: str = "flac",
    recipe: Mapping[str, Any] | None = None,
    mp3_bitrate_kbps: int = 192,
    mp3_sample_rate: int = 48000,
    opus_bitrate_kbps: int = 128,
    aac_bitrate_kbps: int = 128,
) -> Path:
    """Write samples [2, N] to `path`, atomically: a crash or a full disk leaves either the old file or none.

    16-bit formats are rounded to the nearest step without dither, so that samples read from a 16-bit file are written
    back unchanged; values beyond full scale are clipped. The folder is created when missing.

    Args:
        recipe: JSON values embedded as the comment tag (`audio/tags.py`), where the format has tags.
        mp3_bitrate_kbps: constant bitrate, one of `MP3_BITRATES_KBPS`; 0 is a variable one of the best quality (V0).
        mp3_sample_rate: 44100 or 48000 Hz; other rates are resampled (soxr).
        opus_bitrate_kbps: of all channels, on average; each channel in `OPUS_BITRATES_KBPS`.
        aac_bitrate_kbps: of all channels, on average, in `AAC_BITRATES_KBPS`.

    Raises:
        InputError: unknown format, bitrate or rate, samples that are not [channels, N] or not finite.
        DependencyError: a format that needs the extra `audio`, which is not installed.
        OutputError: the file cannot be written.
    """
    target = user_path(path, "path")
    write_atomic(
        target,
        encode_audio(
            samples,
            sample_rate,
            audio_format=audio_format,
            recipe=recipe,
            mp3_bitrate_kbps=mp3_bitrate_kbps,
            mp3_sample_rate=mp3_sample_rate,
            opus_bitrate_kbps=opus_bitrate_kbps,
            aac_bitrate_kbps=aac_bitrate_kbps,
        ),
    )
    return target


def write_atomic(path: Path, data: bytes) -> None:
    """Write bytes to a temporary file beside `path`, flush them to the disk and rename.

    Raises:
        OutputError: the folder or the file cannot be written; nothing half-written is left.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {shown(str(path))}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def encode_audio(
    samples: torch.Tensor,
    sample_rate: int,
    *,
    audio_format: str = "flac",
    recipe: Mapping[str, Any] | None = None,
    mp3_bitrate_kbps: int = 192,
    mp3_sample_rate: int = 48000,
    opus_bitrate_kbps: int = 128,
    aac_bitrate_kbps: int = 128,
) -> bytes:
    """The bytes of the file that `write_audio` writes; arguments and errors as there."""
    rate, kbps, mp3_rate = sample_rate, mp3_bitrate_kbps, mp3_sample_rate
    kind = parse_format(audio_format)
    array = samples.detach().cpu().float().numpy()
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError("samples", tuple(array.shape), "samples shaped [channels, N]")
    if not np.isfinite(array).all():
        raise InputError("samples", "NaN or infinite samples", "finite samples")
    options: dict[str, Any] = {}
    if kind.container == "MP3":
        if kbps and kbps not in MP3_BITRATES_KBPS:
            raise InputError("mp3_bitrate", kbps, "one of " + ", ".join(f"{k}k" for k in MP3_BITRATES_KBPS))
        if mp3_rate not in kind.sample_rates:
            raise InputError("mp3_sample_rate", mp3_rate, "44100 or 48000")
        array, rate = _resampled(array, rate, mp3_rate)
        # libsndfile maps level 0..1 linearly onto 320..32 kbit/s; halfway values round to the lower rate.
        level = (_MP3_TOP_KBPS - kbps) / (_MP3_TOP_KBPS - _MP3_LOW_KBPS)
        mode, level = ("CONSTANT", min(level, 0.999)) if kbps else ("VARIABLE", 0.0)
        options = {"bitrate_mode": mode, "compression_level": level}
    elif kind.sample_rates and rate not in kind.sample_rates:
        array, rate = _resampled(array, rate, 48000)
    if kind.subtype == "AAC":
        _check_kbps("aac_bitrate", aac_bitrate_kbps, AAC_BITRATES_KBPS)
        comment = encode_recipe(recipe) if recipe is not None and kind.has_tags else None
        return encode_aac(array, rate, container=kind.container, bitrate_kbps=aac_bitrate_kbps, comment=comment)
    if kind.subtype == "OPUS":
        low, high = OPUS_BITRATES_KBPS
        _check_kbps("opus_bitrate", opus_bitrate_kbps, (low * len(array), high * len(array)))
        # libsndfile maps level 0..1 linearly onto 256..6 kbit/s a channel.
        options = {"compression_level": (high - opus_bitrate_kbps / len(array)) / (high - low)}
    frames: np.ndarray = array.T
    if kind.bits == 16:
        frames = np.clip(np.rint(frames * 32768.0), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    try:
        with sf.SoundFile(
            buffer, "w", rate, array.shape[0], subtype=kind.subtype, format=kind.container, **options
        ) as file:
            if recipe is not None:
                file.comment = encode_recipe(recipe)
            for start in range(0, len(frames), _BLOCK_FRAMES):
                file.write(frames[start : start + _BLOCK_FRAMES])
    except sf.LibsndfileError as error:
        raise OutputError(f"cannot encode {audio_format}: {error}") from error
    return buffer.getvalue()


def _check_kbps(field: str, kbps: int, accepted: tuple[int, int]) -> None:
    low, high = accepted
    if not low <= kbps <= high:
        raise InputError(field, kbps, f"{low} to {high} kbit/s")


def _resampled(array: np.ndarray, rate: int, target: int) -> tuple[np.ndarray, int]:
    return (array, rate) if rate == target else (soxr.resample(array.T, rate, target, quality="HQ").T, target)
