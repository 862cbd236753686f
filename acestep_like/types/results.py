"""What the public functions answer. Standard library only; audio tensors are carried, never computed with.

An audio entry is an object with attributes that also answers the documented keys: `audio.path`, `audio["path"]`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from acestep_like.errors import AceStepError, InputError
from acestep_like.music.lrc import save_lrc
from acestep_like.music.lyric_timing import TimedLine, lines_of_score, save_lines
from acestep_like.music.midi import save_midi
from acestep_like.music.score import Score
from acestep_like.types.notebook_html import audio_html, result_html
from acestep_like.types.recorded_score import recorded_score


@dataclass(eq=False)
class AudioResult(Mapping[str, Any]):
    """One generated audio.

    Attributes:
        path: the file, or "" when none was written.
        tensor: samples [2, N], float32, CPU, in -1..1.
        key: identifies audio and recipe; derived from `params`.
        sample_rate: in Hz.
        params: every parameter of this item as used, with its true seed, codes and what the language model chose.
        silent: every sample is (nearly) zero; such an item is not saved.
    """

    path: str
    tensor: Any = field(repr=False)
    key: str
    sample_rate: int
    params: dict[str, Any] = field(repr=False)
    silent: bool = False

    def __getitem__(self, name: str) -> Any:
        if name not in _AUDIO_KEYS:
            raise KeyError(f"{name!r}; an audio has {', '.join(_AUDIO_KEYS)}")
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_AUDIO_KEYS)

    def __len__(self) -> int:
        return len(_AUDIO_KEYS)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.tensor.shape[-1] / self.sample_rate)

    @functools.cached_property
    def score(self) -> Score | None:
        """The song in notes, as it was planned for this audio: its parts with their tracks, chords, sections and words.

        None for edits of a recording, and for models that follow no plan. Chords, tempo and sections are what a model
        with a guide plays; it improvises the notes themselves.
        """
        return recorded_score(self.params, self.duration_s)

    def save_midi(self, path: str | os.PathLike[str]) -> Path:
        """Write the score as a MIDI file: named tracks, tempo, chords, a marker for each section.

        Raises:
            InputError: this audio has no score.
            OutputError: the file cannot be written.
        """
        return save_midi(self._own_score(), Path(path))

    def save_lrc(self, path: str | os.PathLike[str]) -> Path:
        """Write the lyrics with the time at which the score sings each word.

        Raises:
            InputError: this audio has no score, or nobody sings words in it.
            OutputError: the file cannot be written.
        """
        return save_lrc(self._own_score(), Path(path))

    def lyric_lines(self) -> list[TimedLine]:
        """When the score sings each line of the lyrics; none where nobody sings.

        Raises:
            InputError: this audio has no score.
        """
        return lines_of_score(self._own_score())

    def save_lyrics(self, path: str | os.PathLike[str]) -> Path:
        """Write these lines as LRC, SRT or JSON, by the ending of the path.

        Raises:
            InputError: another ending, this audio has no score, or nobody sings words in it.
            OutputError: the file cannot be written.
        """
        return save_lines(self.lyric_lines(), Path(path))

    def _own_score(self) -> Score:
        if self.score is None:
            task = self.params.get("task_type", "")
            raise InputError("score", None, "new music (text2music) of a checkpoint with a guide", f"This is {task}.")
        return self.score

    @property
    def seed(self) -> int:
        """The seed that made it."""
        return int(self.params["seed"])

    def to_dict(self) -> dict[str, Any]:
        """JSON values: everything but the samples."""
        return {**{name: self[name] for name in _AUDIO_KEYS if name != "tensor"}, "duration_s": self.duration_s}

    def _repr_html_(self) -> str:
        return audio_html(self)


_AUDIO_KEYS = tuple(entry.name for entry in dataclasses.fields(AudioResult))


@dataclass
class GenerationResult:
    """The outcome of `generate_music`.

    Attributes:
        audios: one entry an item, in order.
        status_message: what happened, for people.
        extra_outputs: `lm_metadata`, `time_costs` (seconds), `latents`, `masks` and upstream's other keys.
        success: whether the audios are there.
        error: one sentence when they are not.
        exception: the error of this package behind it, for callers who prefer to raise.
    """

    audios: list[AudioResult] = field(default_factory=list)
    status_message: str = ""
    extra_outputs: dict[str, Any] = field(default_factory=dict, repr=False)
    success: bool = True
    error: str | None = None
    exception: AceStepError | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; tensors are left out."""
        return {
            "audios": [audio.to_dict() for audio in self.audios],
            "status_message": self.status_message,
            "extra_outputs": {key: value for key, value in self.extra_outputs.items() if _is_json(value)},
            "success": self.success,
            "error": self.error,
        }

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def _repr_html_(self) -> str:
        return result_html(self)


@dataclass
class SongDescription:
    """Words and metadata of a song, as the language model writes them; unknown values are None or empty. `genres` is
    in words ("bossa nova")."""

    caption: str = ""
    lyrics: str = ""
    bpm: int | None = None
    duration: float | None = None
    keyscale: str = ""
    language: str = ""
    timesignature: str = ""
    genres: str = ""


@dataclass
class SampleDescription(SongDescription):
    """The same of a song that is still to be made, which may want no voice."""

    instrumental: bool = False


@dataclass
class _Outcome:
    """How a call went: `error` is one sentence when it failed, and `exception` the error of this package behind it."""

    status_message: str = ""
    success: bool = True
    error: str | None = None
    exception: AceStepError | None = field(default=None, repr=False, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        known = (entry.name for entry in dataclasses.fields(self))
        return {name: getattr(self, name) for name in known if name != "exception"}


@dataclass
class UnderstandResult(_Outcome, SongDescription):
    """What the language model reads in audio codes.

    `tracks` are those of `tasks.TRACK_NAMES` that are detected, the surest first, where the model has a tagger for
    them. `chords` is a chart as `GenerationParams.chords` takes it, of a recording that a tagger for plans has
    detected; its first bar is the one that the recording begins in.
    """

    tracks: tuple[str, ...] = ()
    chords: str = ""


@dataclass
class CreateSampleResult(_Outcome, SampleDescription):
    """A song idea that the language model made from a description."""


@dataclass
class FormatSampleResult(_Outcome, SongDescription):
    """A caption and lyrics that the language model put in order, with metadata."""


_Call = ParamSpec("_Call")
_Result = TypeVar("_Result", GenerationResult, UnderstandResult, CreateSampleResult, FormatSampleResult)


def answered(kind: type[_Result]) -> Callable[[Callable[_Call, _Result]], Callable[_Call, _Result]]:
    """Make a public function of one that raises: errors of this package become a failed result of `kind`.

    This is the only place where that happens. Other exceptions are faults of the program and pass.
    """

    def wrap(function: Callable[_Call, _Result]) -> Callable[_Call, _Result]:
        @functools.wraps(function)
        def answer(*args: _Call.args, **kwargs: _Call.kwargs) -> _Result:
            try:
                return function(*args, **kwargs)
            except AceStepError as error:
                status = error.status or f"Error: {error}"
                return kind(status_message=status, success=False, error=str(error), exception=error)

        return answer

    return wrap


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
