"""Sources longer than the checkpoint can take at once: worked on in tiles on the bar grid, and joined again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from acestep_like.audio.level import digest
from acestep_like.audio.splice import crossfade
from acestep_like.editing.common import fitted, progress_share, run_edit, shift_seams
from acestep_like.errors import InputError
from acestep_like.inference.provenance import origin_of
from acestep_like.inference.recipes import derived_audio
from acestep_like.music.chart import bar_seconds, rotated_chart
from acestep_like.types.params import GenerationConfig
from acestep_like.types.results import AudioResult, GenerationResult

if TYPE_CHECKING:
    from acestep_like.handler import AceStepHandler

OVERLAP_S = 2.0
"""Seconds that neighbouring tiles have in common."""
CONTEXT_S = 12.0
"""Seconds around the windows that repaint hears of a source that is too long."""

Span = tuple[float, float]


def tile_spans(length_s: float, limit_s: float, bar_s: float = 0.0) -> list[Span]:
    """Spans of at most `limit_s` seconds that cover a source, each reaching `OVERLAP_S` into the next or more.

    With a bar length every span begins on a bar line.
    """
    if length_s <= limit_s:
        return [(0.0, length_s)]
    step = limit_s - OVERLAP_S
    count = math.ceil((length_s - OVERLAP_S) / step - 1e-9)
    starts = [(length_s - limit_s) * k / (count - 1) for k in range(count)]
    if bar_s > 0 and limit_s >= OVERLAP_S + 2 * bar_s:
        starts, start = [0.0], 0.0
        while start + limit_s < length_s:
            start += math.floor(step / bar_s + 1e-9) * bar_s
            starts.append(start)
    return [(start, min(start + limit_s, length_s)) for start in starts]


def run_whole(
    dit_handler: AceStepHandler,
    task: str,
    source: AudioResult,
    fields: Mapping[str, Any],
    config: GenerationConfig,
    options: Mapping[str, Any],
) -> GenerationResult:
    """`run_edit` for a task that works on its whole source (cover, extract, lego, complete), tiled where needed.

    Tiles share a seed and are joined by crossfades; `extra_outputs["tiles"]` names them, its other entries are those
    of the first tile.
    """
    known = _known(dit_handler, source, fields)
    bar_s = bar_seconds(known)
    spans = tile_spans(source.duration_s, _limit_s(dit_handler), bar_s)
    if len(spans) == 1:
        return run_edit(dit_handler, task, source, fields, config, options)
    results: list[GenerationResult | None] = []
    for place, span in enumerate(spans):
        windows = _windows_within(fields, span, source.duration_s)
        if windows is None:  # nothing is asked for here
            results.append(None)
            continue
        asked = {**fields, **_shifted(known, bar_s, span[0]), **windows}
        shared = {**options, "progress": progress_share(options.get("progress"), place, len(spans))}
        results.append(run_edit(dit_handler, task, _cut(source, span), asked, config, shared))
    made = [result for result in results if result is not None]
    if not made:
        raise InputError("windows", fields["repainting_start"], f"a window within {source.duration_s:.1f} s of source")
    answer = made[0]
    for item, audio in enumerate(answer.audios):
        tiles = [
            torch.zeros_like(_cut(source, span).tensor)
            if result is None
            else fitted(result.audios[item].tensor, _cut(source, span).tensor)
            for span, result in zip(spans, results, strict=True)
        ]
        facts = {"tiles": [list(span) for span in spans], "src_sha256": digest(source.tensor)}
        answer.audios[item] = derived_audio(audio, _joined(tiles, spans, source.sample_rate), **facts)
    answer.extra_outputs["tiles"] = spans
    return answer


def _windows_within(fields: Mapping[str, Any], span: Span, length_s: float) -> dict[str, list[float]] | None:
    """The windows of a whole source as they lie in one of its tiles; None where they do not reach into it. Tasks that
    were given no windows have none in a tile."""
    starts, ends = fields.get("repainting_start"), fields.get("repainting_end")
    if not isinstance(starts, list) or not isinstance(ends, list):
        return {}
    closed = [(start, length_s if end < 0 else end) for start, end in zip(starts, ends, strict=True)]
    inside = [(max(start, span[0]) - span[0], min(end, span[1]) - span[0]) for start, end in closed]
    inside = [window for window in inside if window[1] > window[0]]
    return {"repainting_start": [s for s, _ in inside], "repainting_end": [e for _, e in inside]} if inside else None


def _joined(tiles: Sequence[torch.Tensor], spans: Sequence[Span], rate: int) -> torch.Tensor:
    """Tiles as one audio [2, N], crossfaded where they overlap."""
    joined = tiles[0]
    for span, following in zip(spans[1:], tiles[1:], strict=True):
        start = round(span[0] * rate)
        width = min(joined.shape[1] - start, round(OVERLAP_S * rate))
        head = joined[:, : start + width].clone()
        head[:, start:] = crossfade(joined[:, start : start + width], following[:, :width], rising=True)
        joined = torch.cat([head, following[:, width:]], dim=1)
    return joined


def run_windows(
    dit_handler: AceStepHandler,
    source: AudioResult,
    fields: Mapping[str, Any],
    windows: Sequence[Span],
    config: GenerationConfig,
    options: Mapping[str, Any],
) -> GenerationResult:
    """Repaint on a source of any length: of one that is too long the part around the windows is worked on.

    Raises:
        InputError: the windows lie too far apart to be worked on together.
    """
    limit_s = _limit_s(dit_handler)
    ends = [(start, source.duration_s if end < 0 else end) for start, end in windows]
    asked = {**fields, "repainting_start": [s for s, _ in windows], "repainting_end": [e for _, e in windows]}
    if source.duration_s <= limit_s:
        return run_edit(dit_handler, "repaint", source, asked, config, options)
    first, last = min(start for start, _ in ends), max(end for _, end in ends)
    if last - first > limit_s - 2 * OVERLAP_S:
        raise InputError(
            "windows",
            list(windows),
            f"windows within {limit_s - 2 * OVERLAP_S:g} s of a long source",
            "Repaint them in several calls.",
        )
    known = _known(dit_handler, source, fields)
    bar_s = bar_seconds(known)
    low = max(0.0, first - min(CONTEXT_S, (limit_s - last + first) / 2))
    low = math.floor(low / bar_s) * bar_s if bar_s else low
    span = (low, min(source.duration_s, low + limit_s, last + CONTEXT_S))
    asked |= _shifted(known, bar_s, low)
    asked |= {"repainting_start": [s - low for s, _ in ends], "repainting_end": [e - low for _, e in ends]}
    result = run_edit(dit_handler, "repaint", _cut(source, span), asked, config, options)
    _put_back(result, source, span)
    return result


def _put_back(result: GenerationResult, source: AudioResult, span: Span) -> None:
    """Set repainted parts into the long source; seam reports move with them."""
    rate = source.sample_rate
    offset = round(span[0] * rate)
    for item, audio in enumerate(result.audios):
        whole = source.tensor.clone()
        part = audio.tensor[:, : whole.shape[1] - offset]
        whole[:, offset : offset + part.shape[1]] = part
        result.audios[item] = derived_audio(audio, whole, part=list(span), src_sha256=digest(source.tensor))
    shift_seams(result, offset, source.tensor.shape[1])


def _limit_s(dit_handler: AceStepHandler) -> float:
    info = dit_handler.checkpoint
    return math.inf if info is None or info.max_duration_s is None else float(info.max_duration_s)


def _known(dit_handler: AceStepHandler, source: AudioResult, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the music: the source's own, and what the caller says."""
    info = dit_handler.checkpoint
    guided = info is not None and info.guide_version is not None
    return {**origin_of(source).metadata(guided=guided), **fields}


def _shifted(known: Mapping[str, Any], bar_s: float, start_s: float) -> dict[str, Any]:
    """The chords as they run from a later start; none when the start is on no bar line."""
    chart = str(known.get("chords", ""))
    if not chart or bar_s <= 0:
        return {}
    return {"chords": rotated_chart(chart, round(start_s / bar_s))}


def _cut(source: AudioResult, span: Span) -> AudioResult:
    rate = source.sample_rate
    return replace(source, tensor=source.tensor[:, round(span[0] * rate) : round(span[1] * rate)].contiguous())
