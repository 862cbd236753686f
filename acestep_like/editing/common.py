"""What the edit helpers share: reading their arguments, running the pipeline, and answering worked-out audio."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import torch

from acestep_like.audio.formats import prepare_output_dir
from acestep_like.audio.io import load_audio
from acestep_like.audio.splice import SeamReport
from acestep_like.errors import InputError
from acestep_like.inference.handlers import loaded_dit
from acestep_like.inference.pipeline import run_pipeline
from acestep_like.inference.provenance import Origin, origin_of
from acestep_like.inference.recipes import one_item
from acestep_like.types.audio_source import AudioSource
from acestep_like.types.fields import FieldSpec, reject_unknown, specs
from acestep_like.types.params import GenerationConfig, GenerationParams
from acestep_like.types.progress import Progress, guarded
from acestep_like.types.results import AudioResult, GenerationResult, answered
from acestep_like.types.tasks import track_name
from acestep_like.types.units import MAX_DURATION_S, SAMPLE_RATE

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler


_CALL_ARGUMENTS = ("progress", "on_step", "cancel")


_P = ParamSpec("_P")


def edit_helper(function: Callable[_P, GenerationResult]) -> Callable[_P, GenerationResult]:
    """Make an edit helper of a function that raises: a folder is tried before minutes of work, and errors become a
    failed result, as in `generate_music`."""

    @answered(GenerationResult)
    @functools.wraps(function)
    def helper(*args: _P.args, **kwargs: _P.kwargs) -> GenerationResult:
        folder: Any = kwargs.get("save_dir")
        if folder is not None:
            prepare_output_dir(folder)
        return function(*args, **kwargs)

    return helper


def edit_fields(dit_handler: AceStepHandler, options: dict[str, Any], **task: Any) -> dict[str, Any]:
    """Fields of `GenerationParams`: the helper's own, and what the caller adds.

    Raises:
        NotLoadedError: the handler has no weights.
        InputError: an option that is no field, or the helper's own, or a value that is not accepted.
    """
    loaded_dit(dit_handler)
    given = {name: value for name, value in options.items() if name not in _CALL_ARGUMENTS}
    reject_unknown(GenerationParams, given)
    clash = sorted((set(given) & set(task)) | (set(given) & {"task_type", "src_audio"}))
    if clash:
        raise InputError(clash[0], given[clash[0]], "no such option here", "The function has an argument for it.")
    known = specs(GenerationParams)
    return {name: None if value is None else known[name].check(value) for name, value in {**task, **given}.items()}


_ARGUMENTS = {
    spec.name: spec
    for spec in (
        FieldSpec("float", "Level of a track in the mix.", "", "gain_db", low=-120, high=60, unit="dB"),
        FieldSpec("float", "Time to add before the source.", "", "left_s", low=0, high=MAX_DURATION_S, unit="seconds"),
        FieldSpec("float", "Time to add after the source.", "", "right_s", low=0, high=MAX_DURATION_S, unit="seconds"),
        FieldSpec("float", "Time made anew at an end.", "", "overlap_s", low=0, high=MAX_DURATION_S, unit="seconds"),
        FieldSpec("float", "Agreement to reach.", "", "target_similarity", low=0, high=1, optional=True),
        FieldSpec("bool", "Use the stem as a mask.", "", "masked"),
        FieldSpec("bool", "Ask the tagger for tracks.", "", "listen"),
        FieldSpec("bool", "Keep the source in the sum.", "", "keep_source"),
        FieldSpec("bool", "Keep the source's plan.", "", "keep_plan"),
    )
}
"""Arguments of the edit helpers that are no fields of `GenerationParams`."""


def argument(name: str, value: Any) -> Any:
    """The value of an argument of a helper as a plain Python value.

    Raises:
        InputError: it is not accepted.
    """
    return _ARGUMENTS[name].check(value)


def run_edit(
    dit_handler: AceStepHandler,
    task: str,
    source: AudioResult,
    fields: Mapping[str, Any],
    config: GenerationConfig,
    options: Mapping[str, Any],
) -> GenerationResult:
    """One run of the pipeline, unsaved; raises what it raises."""
    params = GenerationParams(task_type=task, src_audio=source, thinking=False, **fields)
    report, on_step = Progress(options.get("progress")), guarded(options.get("on_step"))
    return run_pipeline(dit_handler, None, params, config, None, report, on_step, options.get("cancel"))


def only_audio(source: AudioSource) -> AudioSource:
    """A result stands for its only audio."""
    audios = getattr(source, "audios", None)
    if audios is None:
        return source
    if len(audios) != 1:
        raise InputError("source", f"a result with {len(audios)} audios", "one audio", "Choose one: result.audios[0].")
    return audios[0]


@dataclass(eq=False)
class LoadedSource(AudioResult):
    """A source in memory; `notes` are remarks about its file, for the status of what is made of it."""

    notes: tuple[str, ...] = ()


def loaded_source(source: AudioSource) -> AudioResult:
    """The source in memory at 48 kHz, with the key and params of its origin."""
    source = only_audio(source)
    loaded = load_audio(source, field="src_audio", sample_rate=SAMPLE_RATE)
    origin: Origin = origin_of(source)
    path = str(source) if isinstance(source, (str, Path)) else ""
    return LoadedSource(path, loaded.samples, origin.key, SAMPLE_RATE, dict(origin.params), notes=loaded.notes)


def read_windows(windows: Any) -> list[tuple[float, float]]:
    """One window or several as a list of pairs of numbers."""
    several = isinstance(windows, (list, tuple)) and any(isinstance(window, (list, tuple)) for window in windows)
    pairs = []
    for window in windows if several or (isinstance(windows, list) and not windows) else [windows]:
        if not isinstance(window, (tuple, list)) or len(window) != 2:
            raise InputError("windows", windows, "a pair (start, end) in seconds, or a list of such pairs")
        start, end = (_SECONDS.check(value) for value in window)
        pairs.append((start, end))
    if not pairs:
        raise InputError("windows", windows, "at least one pair (start, end) in seconds")
    return pairs


_SECONDS = FieldSpec(
    "float", "Start or end of a window.", "", "windows", low=-MAX_DURATION_S, high=3600, unit="seconds"
)


def read_tracks(tracks: str | Sequence[str]) -> list[str]:
    """Track names, each once, in the order given."""
    names = [tracks] if isinstance(tracks, str) else tracks
    if not isinstance(names, Sequence) or not names:
        raise InputError("tracks", tracks, "one or several track names")
    return list(dict.fromkeys(track_name(name, "tracks") for name in names))


def single_item(config: GenerationConfig | None) -> GenerationConfig:
    """The same for helpers that work out one audio.

    Raises:
        InputError: more than one item is asked for.
    """
    config = one_item(config)
    if config.batch_size != 1:
        raise InputError("batch_size", config.batch_size, "1 here, where one audio is worked out")
    return config


def fitted(audio: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Audio cut or continued by silence to the length of another."""
    length = like.shape[-1]
    if audio.shape[-1] == length:
        return audio
    return torch.nn.functional.pad(audio, (0, max(0, length - audio.shape[-1])))[..., :length]


def shift_seams(result: GenerationResult, offset: int, length: int) -> None:
    """Let the seam reports of a result say where its seams lie in audio of `length` samples that it begins `offset`
    samples after (or before)."""
    reports = result.extra_outputs.get("seams", [])
    if reports:
        result.extra_outputs["seams"] = [
            report and SeamReport.from_dict(report).shifted(offset, length, SAMPLE_RATE).to_dict() for report in reports
        ]


def progress_share(progress: Callable[..., object] | None, place: int, total: int) -> Callable[..., object] | None:
    """The part of a progress callback that belongs to one of several calls."""
    if progress is None:
        return None

    def report(value: float, desc: str = "") -> object:
        return progress((place + value) / total, desc=desc)

    return report
