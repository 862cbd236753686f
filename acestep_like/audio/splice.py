"""Splicing a repainted window into its source waveform.

Upstream ACE-Step 1.5 crossfades linearly over a fixed length (`acestep/core/generation/handler/generate_music.py`,
`_resolve_repaint_config`). Here the crossfade is equal-power, of the length and at the place that disturb the track
least (`seam_change.py` measures that), and every sample beyond it is bit-identical to the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from acestep_like.audio.level import loudest_rms
from acestep_like.audio.splice_report import Edge, Span, TrackChange, beat_offset_ms
from acestep_like.types.units import SAMPLE_RATE

Window = tuple[float, float]
"""Start and end in seconds."""


MIN_CROSSFADE_S = 0.01
"""Shortest room for a waveform crossfade: a hard cut clicks."""


WIDEST_CROSSFADE_S = 0.05


def pad_for_windows(
    source: torch.Tensor, windows: Sequence[Window], sample_rate: int = SAMPLE_RATE
) -> tuple[torch.Tensor, tuple[Window, ...], float]:
    """Room for windows that reach beyond the source (outpainting): zeros before and after.

    Args:
        source: [2, N]. windows: seconds of the unpadded source; an end below zero means its end.

    Returns:
        The padded source, the windows moved to it, and the padding on the left in seconds.
    """
    length_s = source.shape[-1] / sample_rate
    closed = [(start, length_s if end < 0 else end) for start, end in windows]
    left_s = max(0.0, -min(start for start, _ in closed))
    right_s = max(0.0, max(end for _, end in closed) - length_s)
    pad = (round(left_s * sample_rate), round(right_s * sample_rate))
    return torch.nn.functional.pad(source, pad), tuple((s + left_s, e + left_s) for s, e in closed), left_s


@dataclass(frozen=True)
class SeamReport:
    """What a splice changed and how its borders measure.

    Attributes:
        changed: sample ranges `[start, end)` that may differ from the source: windows with their crossfades.
        gain_db: by how much each window was lowered, 0 or below.
        untouched_exact: whether every other sample equals the source's bit for bit (compared, not assumed).
        untouched_samples: how many those are.
    """

    edges: tuple[Edge, ...]
    changed: tuple[Span, ...]
    gain_db: tuple[float, ...]
    untouched_exact: bool
    untouched_samples: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "edges": [{**asdict(edge), "smooth": edge.smooth} for edge in self.edges]}


def splice(
    source: torch.Tensor,
    generated: torch.Tensor,
    windows: Sequence[Window],
    crossfade_s: float,
    *,
    sample_rate: int = SAMPLE_RATE,
    bpm: float | None = None,
    gain: float = 1.0,
) -> tuple[torch.Tensor, SeamReport]:
    """Put the windows of `generated` into `source`; everything beyond windows and crossfades stays as it is.

    At each border the length and place of an equal-power crossfade, within `crossfade_s` outside the window, are
    chosen so that the change over the border is least. Where that is still more than the track's own, the source fades
    within the window instead, for as short as will do (0.1 to 0.8 s, at most a quarter of the window). Where the two
    signals are alike the gains are lowered by their correlation, so that the power stays level. A window that is louder
    than the loudest 0.4 s of the source, or beyond full scale, is lowered to it first.

    Args:
        source, generated: [2, N] float32; a shorter `generated` is continued by silence, a longer one cut.
        windows: seconds, an end below zero means the end; overlapping ones are joined.
        bpm: the tempo at which the beat inside is compared with the beat outside; None leaves that out.
        gain: of the source to reach the level of `generated`, at which borders are measured; the answer lies at the
            source's own.
    """
    length, given = source.shape[-1], source
    source = source * gain
    generated = torch.nn.functional.pad(generated, (0, max(0, length - generated.shape[-1])))[..., :length]
    spans = _spans(windows, length, sample_rate)
    own = TrackChange(source, spans, sample_rate)
    reach = round(max(crossfade_s, MIN_CROSSFADE_S) * sample_rate)
    audio, gains = source.clone(), []
    generated = generated.clone()
    for start, end in spans:
        gains.append(_fitting_gain(source, generated[:, start:end], spans, sample_rate, full_scale=gain))
        generated[:, max(0, start - reach) : end + reach] *= gains[-1]
        audio[:, start:end] = generated[:, start:end]
    changed, edges = [], []
    for index, (start, end) in enumerate(spans):
        before = (start - spans[index - 1][1]) // 2 if index else start
        after = (spans[index + 1][0] - end) // 2 if index + 1 < len(spans) else length - end
        inner = (end - start) // 4
        opening = _join(audio, source, generated, start, -min(reach, before), inner, own)
        closing = _join(audio, source, generated, end, min(reach, after), inner, own)
        changed.append((min(start, opening[0]), max(end, closing[1])))
        offset = None if bpm is None else beat_offset_ms(audio, (start, end), sample_rate, bpm)
        edges += [own.edge(audio, start, True, opening, offset)] if start > 0 else []
        edges += [own.edge(audio, end, False, closing, offset)] if end < length else []
    touched = torch.zeros(length, dtype=torch.bool)
    for start, end in changed:
        touched[start:end] = True
    audio = torch.where(touched, audio / gain, given)
    exact = torch.equal(audio[:, ~touched], given[:, ~touched])
    gains_db = tuple(20 * math.log10(gain) for gain in gains)
    return audio, SeamReport(tuple(edges), tuple(changed), gains_db, exact, int((~touched).sum()))


def _fitting_gain(
    source: torch.Tensor, window: torch.Tensor, spans: Sequence[Span], sample_rate: int, full_scale: float
) -> float:
    """The gain, at most 1, that keeps a window within full scale and no louder than the source's loudest passage."""
    outside = torch.ones(source.shape[-1], dtype=torch.bool)
    for start, end in spans:
        outside[start:end] = False
    kept = source[:, outside]
    gain = full_scale / max(full_scale, float(window.abs().max()))
    loudest, loud = loudest_rms(kept, sample_rate), loudest_rms(window, sample_rate)
    return min(gain, loudest / loud) if 0 < loudest < loud else gain


def _spans(windows: Sequence[Window], length: int, sample_rate: int) -> list[Span]:
    """Windows as sorted, disjoint sample ranges within the track."""
    spans: list[Span] = []
    for start_s, end_s in sorted((s, math.inf if e < 0 else e) for s, e in windows):
        start = min(max(round(start_s * sample_rate), 0), length)
        end = length if end_s * sample_rate >= length else round(end_s * sample_rate)
        if end <= start:
            continue
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


_CROSSFADE_SHARES = (1.0, 0.6, 0.35, 0.2)
"""Crossfade lengths that are tried, as shares of the room."""


_PLACES = (0.0, 0.5, 1.0)
"""Places that are tried, as shares of the room left: 0 = against the window."""


_INSIDE_S, _LONG_INSIDE_S = (0.1, 0.2, 0.3, 0.4), (0.6, 0.8)
"""Crossfade lengths inside a window, tried from the shortest on where none outside is smooth; a long one is taken only
where it is smooth, since it takes more of the window."""


def _join(
    audio: torch.Tensor,
    source: torch.Tensor,
    generated: torch.Tensor,
    border: int,
    room: int,
    inner: int,
    own: TrackChange,
) -> Span:
    """Write the least disturbing crossfade at a border into `audio`; answer where it lies.

    Args:
        room: samples available outside the window; negative before the window, positive after it.
        inner: samples available inside it.
    """
    if room == 0:
        return border, border
    opens = room < 0

    def spans(widths: Sequence[int], size: int, inside: bool) -> Iterator[Span]:
        for width in widths:
            for place in _PLACES if not inside and width < size else (0.0,):
                gap = round(place * (size - width))
                # Before an opening border and after a closing one; inside the window it is the other way round.
                low = border - gap - width if opens != inside else border + gap
                yield low, low + width

    def tried(candidates: Iterator[Span]) -> Iterator[tuple[float, Span, int, torch.Tensor]]:
        for span in candidates:
            low = max(0, min(span[0], border) - own.reach)
            high = min(audio.shape[-1], max(span[1], border) + own.reach)
            trial = audio[:, low:high].clone()
            between = slice(span[1], border) if opens else slice(border, span[0])  # empty for a fade inside
            trial[:, between.start - low : between.stop - low] = generated[:, between]
            fade = slice(*span)
            trial[:, fade.start - low : fade.stop - low] = crossfade(source[:, fade], generated[:, fade], rising=opens)
            yield own.edge(trial, border, opens, span, None, first=low).excess, span, low, trial

    size = abs(room)
    best = min(
        tried(spans([max(1, round(share * size)) for share in _CROSSFADE_SHARES], size, False)),
        key=lambda candidate: candidate[0],
    )
    if best[0] > 1 and not own.ends_at(border):
        widths = sorted({min(inner, round(s * own.sample_rate)) for s in (*_INSIDE_S, *_LONG_INSIDE_S)} - {0})
        for candidate in tried(spans(widths, inner, True)):
            low, high = candidate[1]
            if candidate[0] <= 1 or high - low <= _INSIDE_S[-1] * own.sample_rate:
                best = min(best, candidate, key=lambda one: one[0])
            if best[0] <= 1:
                break
    _, span, low, trial = best
    audio[:, low : low + trial.shape[-1]] = trial
    return span


def crossfade(source: torch.Tensor, generated: torch.Tensor, *, rising: bool) -> torch.Tensor:
    """Equal-power crossfade [2, n] from source to generated (`rising`) or back.

    The gains are cos and sin, divided by sqrt(1 + 2*rho*sin*cos) with rho the correlation of the two signals (0..1):
    equal power for unrelated signals, equal gain for equal ones.
    """
    count = source.shape[-1]
    angle = (torch.arange(count, dtype=torch.float32) + 0.5) / count * (math.pi / 2)
    angle = angle if rising else angle.flip(0)
    power = float(source.double().square().sum() * generated.double().square().sum()) ** 0.5
    alike = min(max(float((source.double() * generated.double()).sum()) / power, 0.0), 1.0) if power > 0 else 0.0
    scale = (1 + 2 * alike * angle.sin() * angle.cos()).rsqrt()
    return (angle.sin() * generated + angle.cos() * source) * scale
