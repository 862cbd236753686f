"""Decoding audio files by their content, whatever their name: libsndfile first, FFmpeg (PyAV) for what it cannot read.

Seconds, channels, rate and samples are bounded by the header before anything is decoded, and again while it is: a file
of a few hundred kilobytes may hold hours of silence, and a header may lie.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf

from acestep_like.audio.aac import require_av
from acestep_like.audio.containers import breaks_off
from acestep_like.audio.quiet import quiet_mp3
from acestep_like.audio.sources import OpenedFile
from acestep_like.errors import DependencyError, InputError
from acestep_like.types.units import SAMPLE_RATE

MIN_RATE, MAX_RATE = 1000, 768000
"""Sample rates that are read, in Hz."""
MAX_CHANNELS = 32
MAX_SAMPLES = 2 * SAMPLE_RATE * 3600
"""Most samples of all channels that are decoded: an hour of stereo at 48 kHz."""

_BLOCK_FRAMES = 1 << 16
_SHORT_BY_S = 0.1
"""A lossy file that gives less than its header says, by more than this, breaks off: encoders pad by less."""
_FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,caf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,oma,"
    "tta,w64,wav,wv"
)
"""Formats that FFmpeg may take a file for: no playlists, which make it open other files and addresses."""
_FFMPEG_MAGIC = (
    b"\x1a\x45\xdf\xa3",
    b"\x0b\x77",
    b"\x30\x26\xb2\x75",
    b"\xff\xf1",
    b"\xff\xf9",
    b"FLV",
    b"MAC ",
    b"wvpk",
)


@dataclass(frozen=True)
class Decoded:
    """The first two channels of a file [1 or 2, N], float32, their rate in Hz, and remarks about the file."""

    samples: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()


def decode(opened: OpenedFile, argument: str, max_seconds: float) -> Decoded:
    """Decode a file.

    Args:
        argument: the parameter's name, for error messages.
        max_seconds: longest audio that is read.

    Raises:
        InputError: no audio, damaged, empty, or beyond a bound.
        DependencyError: a kind of file that needs the extra `audio`.
    """
    bounds = _Bounds(argument, opened.name, max_seconds)
    try:
        return _with_libsndfile(opened.file, bounds)
    except sf.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
    if "File does not exist" in reason or "Garbled" in reason:  # what libsndfile says of a bad MP3
        reason = "Its content is damaged, or no audio"
    return _with_ffmpeg(opened.file, bounds, reason)


@dataclass
class _Bounds:
    """The bounds of one file, and the samples that have passed them."""

    argument: str
    name: str
    max_seconds: float
    rate: int = 0
    frames: int = 0
    declared: int = 0
    samples: np.ndarray | None = None

    def refuse(self, accepted: str, remedy: str = "") -> InputError:
        return InputError(self.argument, self.name, accepted, remedy)

    def check_header(self, rate: int, channels: int, frames: int = 0) -> None:
        """Check what a header says; `frames` 0 where it does not say."""
        if not MIN_RATE <= rate <= MAX_RATE:
            raise self.refuse(f"a sample rate from {MIN_RATE} to {MAX_RATE} Hz, got {rate}")
        if not 1 <= channels <= MAX_CHANNELS:
            raise self.refuse(f"1 to {MAX_CHANNELS} channels, got {channels}")
        self.rate, self.declared = rate, frames
        self._check_length(frames, channels)

    def _check_length(self, frames: int, channels: int) -> None:
        if frames > self.max_seconds * self.rate:
            raise self.refuse(f"at most {self.max_seconds:.0f} s of audio", "Cut it, or work on it in parts.")
        if frames * channels > MAX_SAMPLES:
            what = f"{channels} channels at {self.rate} Hz"
            raise self.refuse(
                f"at most {MAX_SAMPLES} samples, an hour of stereo at 48 kHz; these are {what}",
                "Bring it to stereo at 48 kHz first.",
            )

    def add(self, block: np.ndarray) -> None:
        """Take a block [C, n] in; of its channels the first two are kept."""
        self.frames += block.shape[1]
        self._check_length(self.frames, block.shape[0])
        kept = block[:2]
        if not np.isfinite(kept).all():
            where = self.frames - block.shape[1] + int(np.argmin(np.isfinite(kept).all(axis=0)))
            raise self.refuse("finite samples", f"Sample {where} is NaN or infinite.")
        if (
            self.samples is None
        ):  # as long as the header says: nothing is copied, and what stays unwritten costs nothing
            self.samples = np.empty((len(kept), self.declared), np.float32)
        if len(kept) != len(self.samples):
            raise self.refuse("an audio file with one number of channels", "It changes on the way.")
        if self.frames > self.samples.shape[1]:
            more = max(self.frames, 2 * self.samples.shape[1]) - self.samples.shape[1]
            self.samples = np.pad(self.samples, ((0, 0), (0, more)))
        self.samples[:, self.frames - kept.shape[1] : self.frames] = kept

    def decoded(self, notes: tuple[str, ...]) -> Decoded:
        if self.samples is None or not self.frames:
            raise self.refuse("an audio file with samples", "The file holds none.")
        return Decoded(self.samples[:, : self.frames], self.rate, notes)

    def broken_off(self, frames: int = 0) -> tuple[str, ...]:
        """The remark that a file ends too early; `frames` are those that it should have, where that is known."""
        of = f" of {frames / self.rate:.1f} s" if frames else ""
        return (f"{os.path.basename(self.name)} breaks off after {self.frames / self.rate:.1f} s{of}.",)


@contextlib.contextmanager
def sound_file(file: BinaryIO) -> Iterator[sf.SoundFile]:
    """libsndfile's view of a file that `open_source` opened; it never sees a name, and so goes by the content alone."""
    with quiet_mp3(file), sf.SoundFile(file if isinstance(file, io.BytesIO) else file.fileno(), closefd=False) as sound:
        yield sound


def _with_libsndfile(file: BinaryIO, bounds: _Bounds) -> Decoded:
    with sound_file(file) as sound:
        declared, kind = sound.frames, sound.format
        bounds.check_header(sound.samplerate, sound.channels, declared)
        try:
            while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                bounds.add(block.T)
        except sf.LibsndfileError as error:
            after = f"It is damaged after {bounds.frames / bounds.rate:.1f} s."
            raise bounds.refuse("an audio file that can be decoded", after) from error
    short = declared - bounds.frames
    if bounds.frames and kind in ("FLAC", "AIFF", "CAF", "W64", "RF64") and short > 0:
        raise bounds.refuse(f"a whole file of {declared} samples", f"It breaks off after {bounds.frames}.")
    notes: tuple[str, ...] = ()
    if bounds.frames and kind in ("MP3", "MPEG") and short > _SHORT_BY_S * bounds.rate:
        notes = bounds.broken_off(declared)
    elif bounds.frames and breaks_off(file):
        notes = bounds.broken_off()
    return bounds.decoded(notes)


def _with_ffmpeg(file: BinaryIO, bounds: _Bounds, reason: str) -> Decoded:
    """Decode the first audio stream of a file that libsndfile does not read, for the `reason` given."""
    try:
        av = require_av(f"Reading {os.path.basename(bounds.name)}")
    except DependencyError as error:
        if _is_foreign(file):
            raise
        raise bounds.refuse("an audio file that can be decoded", f"{reason}.") from error
    file.seek(0)
    try:
        with _ffmpeg_container(av, file) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None or stream.codec_context is None:
                raise bounds.refuse("a file with an audio stream that can be decoded")
            seconds = (container.duration or 0) / av.time_base
            rate = int(stream.rate or 0)
            bounds.check_header(rate, int(stream.channels or 0), int(seconds * rate))
            notes = _decode_stream(av, container, stream, bounds)
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise bounds.refuse("an audio file that can be decoded", f"{reason}.") from error
    declared = round(seconds * bounds.rate)
    short = declared - bounds.frames > 10 * _SHORT_BY_S * bounds.rate  # containers count the encoder's delay
    return bounds.decoded(notes or (bounds.broken_off(declared) if short and bounds.frames else ()))


def _ffmpeg_container(av: Any, file: BinaryIO) -> Any:
    options = {"format_whitelist": _FFMPEG_FORMATS, "protocol_whitelist": "none"}
    return av.open(file, options=options, metadata_errors="replace")


def ffmpeg_comment(file: BinaryIO, name: str) -> str | None:
    """The comment tag of a file that only FFmpeg reads ("" where it has none); None where it is no such file.

    Raises:
        DependencyError: it needs the extra `audio`, which is not installed.
    """
    if not _is_foreign(file):
        return None
    av = require_av(f"Reading {os.path.basename(name)}")
    file.seek(0)
    try:
        with _ffmpeg_container(av, file) as container:
            return str(container.metadata.get("comment", ""))
    except (av.error.FFmpegError, ValueError):
        return None


def _decode_stream(av: Any, container: Any, stream: Any, bounds: _Bounds) -> tuple[str, ...]:
    """Decode a stream into `bounds`; what a damaged end leaves is kept with a remark."""
    planar: Any = None
    form: tuple[str, str] | None = None
    try:
        for frame in container.decode(stream):
            if frame.sample_rate != bounds.rate:
                raise bounds.refuse("an audio file with one sample rate", "It changes on the way.")
            if form != (frame.format.name, frame.layout.name):
                form = (frame.format.name, frame.layout.name)
                planar = av.AudioResampler(format="fltp")
            for part in planar.resample(frame):
                bounds.add(part.to_ndarray())
    except av.error.FFmpegError:
        if not bounds.frames:
            raise
        return bounds.broken_off()
    return ()


def _is_foreign(file: BinaryIO) -> bool:
    """Whether a file begins as a kind that only FFmpeg reads: MP4 and its kin, Matroska, AC-3, ASF, ADTS and others."""
    file.seek(0)
    head = file.read(16)
    return head.startswith(_FFMPEG_MAGIC) or head[4:8] == b"ftyp"
