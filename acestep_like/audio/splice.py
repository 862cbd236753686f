"""Splicing a repainted window into its source waveform.

Upstream ACE-Step 1.5 crossfades linearly over a fixed length (`acestep/core/generation/handler/generate_music.py`,
`_resolve_repaint_config`). Here the crossfade is equal-power, of the length and at the place that disturb the track
least (`splice_report.py` measures that), and every sample beyond it is bit-identical to the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from acestep_like.audio.level import loudest_rms, to_db
from acestep_like.audio.splice_report import Edge, Span, TrackChange, beat_offsets_ms
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SeamReport:
        """The report that `to_dict` wrote."""
        edges = tuple(
            Edge(**{name: value for name, value in edge.items() if name != "smooth"}) for edge in values["edges"]
        )
        changed = tuple((start, end) for start, end in values["changed"])
        return cls(edges, changed, tuple(values["gain_db"]), values["untouched_exact"], values["untouched_samples"])

    def shifted(self, offset: int, length: int, sample_rate: int) -> SeamReport:
        """The same splice within audio of `length` samples in which it begins `offset` samples later (or earlier)."""
        changed = tuple((max(0, start + offset), min(end + offset, length)) for start, end in self.changed)
        return replace(
            self,
            edges=tuple(replace(edge, time_s=edge.time_s + offset / sample_rate) for edge in self.edges),
            changed=changed,
            untouched_samples=length - sum(end - start for start, end in changed),
        )


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
    reach = round(max(crossfade_s, MIN_CROSSFADE_S) * sample_rate)
    generated, gains = _lowered(source, generated, spans, reach, sample_rate, full_scale=gain)
    own = TrackChange(source, spans, sample_rate)
    audio = source.clone()
    for start, end in spans:
        audio[:, start:end] = generated[:, start:end]
    fades = [
        (_join(audio, source, generated, opening, own), _join(audio, source, generated, closing, own))
        for opening, closing in _borders(spans, reach, length)
    ]
    offsets = [None for _ in spans] if bpm is None else beat_offsets_ms(audio, spans, sample_rate, bpm)
    edges = []
    for (start, end), (opening, closing), offset in zip(spans, fades, offsets, strict=True):
        edges += [own.edge(audio, start, True, opening, offset)] if start > 0 else []
        edges += [own.edge(audio, end, False, closing, offset)] if end < length else []
    changed = tuple(
        (min(start, opening[0]), max(end, closing[1]))
        for (start, end), (opening, closing) in zip(spans, fades, strict=True)
    )
    touched = _within(changed, length)
    audio = torch.where(touched, audio / gain, given)
    exact = torch.equal(audio[:, ~touched], given[:, ~touched])
    return audio, SeamReport(tuple(edges), changed, tuple(map(to_db, gains)), exact, int((~touched).sum()))


def _within(spans: Sequence[Span], length: int) -> torch.Tensor:
    """Which samples lie in one of the spans, bool [length]."""
    inside = torch.zeros(length, dtype=torch.bool)
    for start, end in spans:
        inside[start:end] = True
    return inside


def _lowered(
    source: torch.Tensor,
    generated: torch.Tensor,
    spans: Sequence[Span],
    reach: int,
    sample_rate: int,
    full_scale: float,
) -> tuple[torch.Tensor, list[float]]:
    """`generated` with each window within full scale and no louder than the source's loudest passage outside of all
    windows, and the gain of each, at most 1."""
    loudest = loudest_rms(source[:, ~_within(spans, source.shape[-1])], sample_rate)
    generated, gains = generated.clone(), []
    for start, end in spans:
        window = generated[:, start:end]
        gain = full_scale / max(full_scale, float(window.abs().max()))
        loud = loudest_rms(window, sample_rate)
        gains.append(min(gain, loudest / loud) if 0 < loudest < loud else gain)
        generated[:, max(0, start - reach) : end + reach] *= gains[-1]
    return generated, gains


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


@dataclass(frozen=True)
class _Border:
    """One border of a window: the sample where it lies, whether the window begins there, and the samples that a
    crossfade may take outside of the window (`room`) and inside (`inner`)."""

    place: int
    opens: bool
    room: int
    inner: int

    def outside(self) -> Iterator[Span]:
        """Crossfades outside the window that are tried."""
        return self._spans([max(1, round(share * self.room)) for share in _CROSSFADE_SHARES], self.room, _PLACES, False)

    def inside(self, sample_rate: int) -> Iterator[Span]:
        """Crossfades inside the window that are tried, the shortest first."""
        widths = sorted({min(self.inner, round(s * sample_rate)) for s in (*_INSIDE_S, *_LONG_INSIDE_S)} - {0})
        return self._spans(widths, self.inner, (0.0,), True)

    def _spans(self, widths: Sequence[int], size: int, places: Sequence[float], inside: bool) -> Iterator[Span]:
        for width in widths:
            for place in places if width < size else (0.0,):
                gap = round(place * (size - width))
                # Before an opening border and after a closing one; inside the window it is the other way round.
                low = self.place - gap - width if self.opens != inside else self.place + gap
                yield low, low + width


def _borders(spans: Sequence[Span], reach: int, length: int) -> Iterator[tuple[_Border, _Border]]:
    """Both borders of each window; neighbouring windows share the room between them."""
    for index, (start, end) in enumerate(spans):
        before = (start - spans[index - 1][1]) // 2 if index else start
        after = (spans[index + 1][0] - end) // 2 if index + 1 < len(spans) else length - end
        inner = (end - start) // 4
        yield _Border(start, True, min(reach, before), inner), _Border(end, False, min(reach, after), inner)


@dataclass(frozen=True)
class _Trial:
    """One crossfade tried at a border: how much it changes there (`Edge.excess`), where it lies, and the samples around
    it, which begin at `first`."""

    excess: float
    span: Span
    first: int
    samples: torch.Tensor


def _tried(
    audio: torch.Tensor,
    source: torch.Tensor,
    generated: torch.Tensor,
    border: _Border,
    span: Span,
    own: TrackChange,
) -> _Trial:
    place = border.place
    low = max(0, min(span[0], place) - own.reach)
    high = min(audio.shape[-1], max(span[1], place) + own.reach)
    samples = audio[:, low:high].clone()
    between = slice(span[1], place) if border.opens else slice(place, span[0])  # empty for a fade inside
    samples[:, between.start - low : between.stop - low] = generated[:, between]
    fade = slice(*span)
    samples[:, fade.start - low : fade.stop - low] = crossfade(source[:, fade], generated[:, fade], rising=border.opens)
    return _Trial(own.edge(samples, place, border.opens, span, None, first=low).excess, span, low, samples)


def _join(
    audio: torch.Tensor, source: torch.Tensor, generated: torch.Tensor, border: _Border, own: TrackChange
) -> Span:
    """Write the least disturbing crossfade at a border into `audio`; answer where it lies."""
    if border.room == 0:
        return border.place, border.place
    trials = (_tried(audio, source, generated, border, span, own) for span in border.outside())
    best = min(trials, key=lambda trial: trial.excess)
    if best.excess > 1 and not own.ends_at(border.place):
        for span in border.inside(own.sample_rate):
            trial = _tried(audio, source, generated, border, span, own)
            if trial.excess <= 1 or span[1] - span[0] <= _INSIDE_S[-1] * own.sample_rate:
                best = min(best, trial, key=lambda one: one.excess)
            if best.excess <= 1:
                break
    audio[:, best.first : best.first + best.samples.shape[-1]] = best.samples
    return best.span


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
