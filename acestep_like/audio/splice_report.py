"""How much a track changes: over a border that was made in it, beside what it does by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

Span = tuple[int, int]
"""First sample and the one after the last."""


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


_STEPS_PER_FRAME = 5


class TrackChange:
    """How much a track changes from one 50 ms frame to the next, by level and by the spectrum in 24 log bands.

    The track's own change is taken at every 10 ms, so that some frames begin at an onset, as a border on a beat does.
    """

    _BANDS = 24
    _FLOOR_DB = 60.0

    def __init__(self, source: torch.Tensor, spans: Sequence[Span], sample_rate: int) -> None:
        self.sample_rate, self._source = sample_rate, source
        self.reach = max(2, round(0.05 * sample_rate))
        bins = torch.fft.rfftfreq(self.reach, 1 / sample_rate, dtype=torch.float32)
        low, high = math.log10(60), math.log10(min(16000, sample_rate / 2))
        edges = torch.logspace(low, high, self._BANDS + 1, dtype=torch.float32)
        band = torch.bucketize(bins, edges) - 1
        self._bands = torch.stack([(band == k).float() for k in range(self._BANDS) if bool((band == k).any())])
        self._window = torch.hann_window(self.reach, dtype=torch.float32)
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
            border / self.sample_rate,
            opens,
            reach_s,
            step,
            self.level_step_db,
            distance,
            self.spectral_distance,
            source_step,
            source_distance,
            beat,
            inside,
        )

    def _worst(self, audio: torch.Tensor, points: Sequence[int]) -> tuple[float, float]:
        start = max(0, min(points) - self.reach)
        near = audio[:, start : max(points) + self.reach]
        step, distance, _ = max((self.change(near, point - start) for point in points), key=lambda item: item[2])
        return step, distance

    def ends_at(self, border: int) -> bool:
        """Whether the source is digital silence on one side of a border, as where room was added to it."""
        sides = self._source[:, max(0, border - self.reach) : border], self._source[:, border : border + self.reach]
        return any(float(side.abs().amax()) < 1e-6 for side in sides if side.numel())


def beat_offsets_ms(audio: torch.Tensor, spans: Sequence[Span], sample_rate: int, bpm: float) -> list[float | None]:
    """How far the beat inside each span of samples lies from the beat outside it, in ms within half a beat.

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
    return [_beat_offset_ms(onset, wave, time, span, sample_rate, bpm) for span in spans]


def _beat_offset_ms(
    onset: torch.Tensor, wave: torch.Tensor, time: torch.Tensor, span: Span, sample_rate: int, bpm: float
) -> float | None:
    hop = sample_rate // 100
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
