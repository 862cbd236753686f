"""Splicing a repainted window into its source waveform, and measuring the seams.

Upstream ACE-Step 1.5 crossfades linearly over a fixed length (`acestep/core/generation/handler/generate_music.py`,
`_resolve_repaint_config`). Here the crossfade is equal-power, of the length and at the place that disturb the track
least, and every sample beyond it is bit-identical to the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from acestep_like.audio.level import loudest_rms
from acestep_like.diffusion.hold import hold_strength
from acestep_like.errors import InputError

Window = tuple[float, float]
"""Start and end in seconds."""

MIN_CROSSFADE_S = 0.01
"""Shortest room for a waveform crossfade: a hard cut clicks."""
_WIDEST_CROSSFADE_S = 0.05

REPAINT_MODES = ("conservative", "balanced", "aggressive")


@dataclass(frozen=True)
class RepaintSettings:
    """How much of the source is held while sampling (`diffusion/hold.py`), and how wide the borders may be.

    Attributes:
        injection_ratio: share of the steps, from the first on, that set the outside back to the noised source.
        latent_crossfade_frames: width of the latent ramp outside each border; 0 = no latent blend.
        wav_crossfade_s: room for the waveform crossfade outside each border.
    """

    injection_ratio: float
    latent_crossfade_frames: int
    wav_crossfade_s: float


def repaint_settings(mode: str = "balanced", strength: float = 0.5) -> RepaintSettings:
    """The settings of a `repaint_mode` and, for `balanced`, of `repaint_strength` (0..1, higher keeps less).

    Unlike upstream, `aggressive` still splices the waveform, so that samples outside stay exactly the source's.

    Raises:
        InputError: an unknown mode or a strength outside 0..1.
    """
    if mode not in REPAINT_MODES:
        raise InputError("repaint_mode", mode, "one of " + ", ".join(REPAINT_MODES))
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise InputError("repaint_strength", strength, "a number from 0 to 1")
    held = hold_strength(mode, strength)
    width_s = _WIDEST_CROSSFADE_S if held.waveform_crossfade_s is None else held.waveform_crossfade_s
    return RepaintSettings(held.injection_ratio, held.latent_crossfade_frames, max(width_s, MIN_CROSSFADE_S))


def pad_for_windows(
    source: torch.Tensor, windows: Sequence[Window], sample_rate: int = 48000
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
class Edge:
    """One border of a window after splicing, beside the 99th percentile of the track's own frame-to-frame change.

    Attributes:
        time_s: where the border lies. opens: whether the window begins here.
        crossfade_s: how far from the border the crossfade reaches; outside the window, or `inside` it.
        level_step_db, track_level_step_db, source_level_step_db: RMS change over the border; the track's own
            elsewhere; the source's own at this very place (0 where the source ends there).
        spectral_distance, track_spectral_distance, source_spectral_distance: the same for the mean absolute change of
            the log-band spectrum, in dB.
        beat_offset_ms: how far the beat inside lies from the beat outside (positive = late); None without a clear beat.
    """

    time_s: float
    opens: bool
    crossfade_s: float
    level_step_db: float
    track_level_step_db: float
    spectral_distance: float
    track_spectral_distance: float
    source_level_step_db: float = 0.0
    source_spectral_distance: float = 0.0
    beat_offset_ms: float | None = None
    inside: bool = False

    @property
    def excess(self) -> float:
        """The change over the border as a multiple of the track's own, elsewhere or at this place (the larger)."""
        level = max(self.track_level_step_db, abs(self.source_level_step_db), 0.1)
        spectrum = max(self.track_spectral_distance, self.source_spectral_distance, 0.1)
        return max(abs(self.level_step_db) / level, self.spectral_distance / spectrum)

    @property
    def smooth(self) -> bool:
        """Whether the border changes no more than the track does by itself, elsewhere or at this place."""
        return self.excess <= 1


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
    changed: tuple[tuple[int, int], ...]
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
    sample_rate: int = 48000,
    bpm: float | None = None,
) -> tuple[torch.Tensor, SeamReport]:
    """Put the windows of `generated` into `source`; everything beyond windows and crossfades stays as it is.

    At each border the length and place of an equal-power crossfade, within `crossfade_s` outside the window, are
    chosen so that the change over the border is least. Where that is still more than the track's own, the source fades
    within the window instead, for as short as will do (0.1 to 0.4 s, at most a quarter of the window). Where the two
    signals are alike the gains are lowered by their correlation, so that the power stays level. A window that is louder
    than the loudest 0.4 s of the source, or beyond full scale, is lowered to it first.

    Args:
        source, generated: [2, N] float32; a shorter `generated` is continued by silence, a longer one cut.
        windows: seconds, an end below zero means the end; overlapping ones are joined.
        bpm: the tempo at which the beat inside is compared with the beat outside; None leaves that out.
    """
    length = source.shape[-1]
    generated = torch.nn.functional.pad(generated, (0, max(0, length - generated.shape[-1])))[..., :length]
    spans = _spans(windows, length, sample_rate)
    own = _TrackChange(source, spans, sample_rate)
    reach = round(max(crossfade_s, MIN_CROSSFADE_S) * sample_rate)
    audio, gains = source.clone(), []
    generated = generated.clone()
    for start, end in spans:
        gains.append(_fitting_gain(source, generated[:, start:end], spans, sample_rate))
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
    exact = torch.equal(audio[:, ~touched], source[:, ~touched])
    gains_db = tuple(20 * math.log10(gain) for gain in gains)
    return audio, SeamReport(tuple(edges), tuple(changed), gains_db, exact, int((~touched).sum()))


def _fitting_gain(
    source: torch.Tensor, window: torch.Tensor, spans: Sequence[tuple[int, int]], sample_rate: int
) -> float:
    """The gain, at most 1, that keeps a window within full scale and no louder than the source's loudest passage."""
    outside = torch.ones(source.shape[-1], dtype=torch.bool)
    for start, end in spans:
        outside[start:end] = False
    kept = source[:, outside]
    gain = 1.0 / max(1.0, float(window.abs().max()))
    loudest, loud = loudest_rms(kept, sample_rate), loudest_rms(window, sample_rate)
    return min(gain, loudest / loud) if 0 < loudest < loud else gain


def _spans(windows: Sequence[Window], length: int, sample_rate: int) -> list[tuple[int, int]]:
    """Windows as sorted, disjoint sample ranges within the track."""
    spans: list[tuple[int, int]] = []
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
_INSIDE_S = (0.1, 0.2, 0.3, 0.4)
"""Crossfade lengths inside a window, tried from the shortest on where none outside is smooth."""

Span = tuple[int, int]
"""First sample and the one after the last."""


def _join(
    audio: torch.Tensor,
    source: torch.Tensor,
    generated: torch.Tensor,
    border: int,
    room: int,
    inner: int,
    own: _TrackChange,
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
        widths = sorted({min(inner, round(seconds * own.sample_rate)) for seconds in _INSIDE_S} - {0})
        for candidate in tried(spans(widths, inner, True)):
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


_STEPS_PER_FRAME = 5


class _TrackChange:
    """How much a track changes from one 50 ms frame to the next, by level and by the spectrum in 24 log bands.

    The track's own change is taken at every 10 ms, so that some frames begin at an onset, as a border on a beat does.
    """

    _BANDS = 24
    _FLOOR_DB = 60.0

    def __init__(self, source: torch.Tensor, spans: Sequence[tuple[int, int]], sample_rate: int) -> None:
        self.sample_rate, self._source = sample_rate, source
        self.reach = max(2, round(0.05 * sample_rate))
        bins = torch.fft.rfftfreq(self.reach, 1 / sample_rate)
        edges = torch.logspace(math.log10(60), math.log10(min(16000, sample_rate / 2)), self._BANDS + 1)
        band = torch.bucketize(bins, edges) - 1
        self._bands = torch.stack([(band == k).float() for k in range(self._BANDS) if bool((band == k).any())])
        self._window = torch.hann_window(self.reach)
        self._floor = -math.inf
        step = self.reach // _STEPS_PER_FRAME
        frames = source.unfold(1, self.reach, step) if source.shape[-1] >= 2 * self.reach else source[:, :0, None]
        if frames.shape[1] == 0:
            self.level_step_db = self.spectral_distance = 0.0
            return
        measured = [self._measure(part) for part in frames.split(512, dim=1)]
        levels, spectra = (torch.cat(parts) for parts in zip(*measured, strict=True))
        self._floor = float(spectra.max()) - self._FLOOR_DB
        levels, spectra = levels.clamp(min=self._floor), spectra.clamp(min=self._floor)
        apart = _STEPS_PER_FRAME
        steps = (levels[apart:] - levels[:-apart]).abs()
        distances = (spectra[apart:] - spectra[:-apart]).abs().mean(dim=1)
        keep = torch.ones(len(steps), dtype=torch.bool)
        for start, end in spans:
            keep[max(0, start // step - 2 * apart) : end // step + 1] = False
        keep = keep if keep.any() else torch.ones_like(keep)
        self.level_step_db = float(steps[keep].quantile(0.99))
        self.spectral_distance = float(distances[keep].quantile(0.99))

    def _measure(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames [2, F, n] as level [F] and bands [F, K], both in dB above the floor."""
        level = 10 * torch.log10(frames.square().mean(dim=(0, 2)) + 1e-12)
        power = torch.fft.rfft(frames * self._window, dim=-1).abs().square().mean(dim=0) / self._window.sum() ** 2
        return level.clamp(min=self._floor), 10 * torch.log10(power @ self._bands.T + 1e-12).clamp(min=self._floor / 10)

    def change(self, audio: torch.Tensor, point: int) -> tuple[float, float, float]:
        """Level step in dB, spectral distance in dB, and the worse of both relative to the track's own, at a sample."""
        point = min(max(point, 1), audio.shape[-1] - 1)
        pad = torch.nn.functional.pad(audio, (self.reach, self.reach))
        around = pad[:, point : point + 2 * self.reach].unflatten(1, (2, self.reach))
        level, spectrum = self._measure(around)
        step, distance = float(level[1] - level[0]), float((spectrum[1] - spectrum[0]).abs().mean())
        relative = max(abs(step) / max(self.level_step_db, 0.1), distance / max(self.spectral_distance, 0.1))
        return step, distance, relative

    def edge(
        self, audio: torch.Tensor, border: int, opens: bool, span: Span, beat: float | None, *, first: int = 0
    ) -> Edge:
        """The border measured where it changes most over its crossfade `span`; `first` is where `audio` begins."""
        count = max(2, -(-(span[1] - span[0]) // self.reach))
        points = [span[0] + (span[1] - span[0]) * k // count for k in range(count + 1)]
        step, distance = self._worst(audio, [point - first for point in points])
        source_step, source_distance = (0.0, 0.0) if self.ends_at(border) else self._worst(self._source, points)
        inside = span[1] > border if opens else span[0] < border
        reach_s = max(abs(point - border) for point in span) / self.sample_rate
        return Edge(
            border / self.sample_rate, opens, reach_s, step, self.level_step_db, distance,
            self.spectral_distance, source_step, source_distance, beat, inside,
        )  # fmt: skip

    def _worst(self, audio: torch.Tensor, points: Sequence[int]) -> tuple[float, float]:
        start = max(0, min(points) - self.reach)
        near = audio[:, start : max(points) + self.reach]
        step, distance, _ = max((self.change(near, point - start) for point in points), key=lambda item: item[2])
        return step, distance

    def ends_at(self, border: int) -> bool:
        """Whether the source is digital silence on one side of a border, as where room was added to it."""
        sides = self._source[:, max(0, border - self.reach) : border], self._source[:, border : border + self.reach]
        return any(float(side.abs().amax()) < 1e-6 for side in sides if side.numel())


def beat_offset_ms(audio: torch.Tensor, span: tuple[int, int], sample_rate: int, bpm: float) -> float | None:
    """How far the beat inside a span of samples lies from the beat outside, in ms within half a beat.

    The onset strength (rise of the band spectrum) is correlated with a complex wave of the beat's period; the answer
    is the difference of the two phases, or None where either part has no beat at that tempo.
    """
    hop = sample_rate // 100
    spectrum = torch.stft(
        audio.mean(0), 4 * hop, hop, window=torch.hann_window(4 * hop), center=True, return_complex=True
    ).abs()
    onset = torch.log1p(100 * spectrum).diff(dim=1, prepend=spectrum[:, :1]).clamp(min=0).sum(0)
    onset[:4] = onset[-4:] = 0  # frames that reach over the ends of the track
    time = torch.arange(len(onset), dtype=torch.float64) * hop / sample_rate
    wave = torch.polar(onset.double(), -2 * math.pi * time * bpm / 60)
    inside = (time >= span[0] / sample_rate) & (time < span[1] / sample_rate)
    sums = []
    for part in (inside, ~inside):
        total = float(onset[part].sum())
        # Fewer than four beats, or onsets spread evenly over the beat, say nothing about its phase.
        if int(part.sum()) * hop / sample_rate < 240 / bpm or total <= 0 or abs(wave[part].sum()) / total < 0.1:
            return None
        sums.append(wave[part].sum())
    phase = float(torch.angle(sums[0] * sums[1].conj()))
    return -phase / (2 * math.pi) * 60000 / bpm
