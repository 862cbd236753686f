"""Room before and after a source for `editing.extend`, laid so that the source stays on its own bar grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from acestep_like.editing.common import shift_seams
from acestep_like.music.chart import bar_seconds, rotated_chart
from acestep_like.types.results import AudioResult, GenerationResult


@dataclass(frozen=True)
class Widened:
    """A source with silence around it.

    Attributes:
        audio: the padded source, under the source's key.
        windows: what is to be made, in seconds of the padded audio.
        surplus_s: seconds on the left beyond those asked for: whole bars are added, so that the plan, whose first bar
            begins with the audio, fits the source.
        chords: the chart of the padded audio, "" when the source's is not known.
    """

    audio: AudioResult
    windows: tuple[tuple[float, float], ...]
    surplus_s: float
    chords: str


def widened(audio: AudioResult, fields: Mapping[str, Any], left_s: float, right_s: float, overlap_s: float) -> Widened:
    """Pad a source for the seconds asked for on either side.

    Args:
        fields: of `GenerationParams`; tempo, meter and chords are read from it.
        overlap_s: seconds of the source beside each padding that are made anew as well.
    """
    rate = audio.sample_rate
    bar_s = bar_seconds(fields)
    bars = math.ceil(left_s / bar_s - 1e-9) if bar_s else 0
    before = round((bars * bar_s if bar_s else left_s) * rate)
    after = round(right_s * rate)
    length = audio.tensor.shape[-1]
    overlap = min(round(overlap_s * rate), length // 2)
    windows = []
    if before:
        windows.append((0.0, (before + overlap) / rate))
    if after:
        windows.append(((before + length - overlap) / rate, (before + length + after) / rate))
    padded = torch.nn.functional.pad(audio.tensor, (before, after))
    chords = rotated_chart(str(fields.get("chords", "")), -bars)
    return Widened(replace(audio, tensor=padded), tuple(windows), before / rate - left_s, chords)


def crop_left(result: GenerationResult, surplus_s: float) -> None:
    """Take the surplus off the start of every audio, and move the seam reports with it."""
    if not result.audios:
        return
    surplus = round(surplus_s * result.audios[0].sample_rate)
    for audio in result.audios:
        audio.tensor = audio.tensor[:, surplus:].contiguous()
    shift_seams(result, -surplus, result.audios[0].tensor.shape[1])
