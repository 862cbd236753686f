"""Promises of `audio/splice.py`: what lies outside a window stays, and the border changes no more than the track."""

from __future__ import annotations

import json
import math

import pytest
import torch

from acestep_like.audio.splice import SeamReport, crossfade, pad_for_windows, splice
from acestep_like.audio.splice_report import TrackChange, beat_offsets_ms
from acestep_like.errors import InputError
from acestep_like.models.diffusion.inpainting import repaint_settings

RATE = 48000


def track(seed: int, seconds: float = 12.0, bpm: float = 120.0, late_s: float = 0.0) -> torch.Tensor:
    """Decaying noise on every beat over a steady chord."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    beat = ((time - late_s) * bpm / 60) % 1
    drums = 0.2 * torch.randn(2, len(time), generator=generator) * torch.exp(-beat * 12)
    return drums + 0.1 * sum(torch.sin(2 * torch.pi * hz * time + seed) for hz in (220, 277, 330))


def test_settings_follow_mode_and_strength() -> None:
    assert repaint_settings("aggressive").injection_ratio == 0
    assert repaint_settings("conservative").latent_crossfade_frames == 25
    shares = [repaint_settings("balanced", s).injection_ratio for s in (0, 0.25, 0.5, 1)]
    assert shares == [1, 0.75, 0.5, 0]
    assert all(repaint_settings(mode).wav_crossfade_s > 0 for mode in ("conservative", "balanced", "aggressive"))
    assert repaint_settings("balanced", 1.0).wav_crossfade_s >= 0.005
    for mode, strength in (("loud", 0.5), ("balanced", 1.1), ("balanced", math.nan), ("balanced", True)):
        with pytest.raises(InputError):
            repaint_settings(mode, strength)


@pytest.mark.parametrize("windows", [[(3.0, 6.0)], [(8.0, 9.0), (1.0, 2.0)], [(0.0, 2.0)], [(7.0, -1)], [(0.0, -1)]])
@pytest.mark.parametrize("crossfade_s", [0.0, 0.05])
def test_every_sample_beyond_window_and_crossfade_is_bit_identical(
    windows: list[tuple[float, float]], crossfade_s: float
) -> None:
    source, generated = track(0), track(1)
    audio, report = splice(source, generated, windows, crossfade_s)
    assert report.untouched_exact
    outside = torch.ones(source.shape[1], dtype=torch.bool)
    for start, end in windows:
        end = 12.0 if end < 0 else end
        margin = max(crossfade_s, 0.01)
        outside[max(0, round((start - margin) * RATE)) : round((end + margin) * RATE)] = False
        inside = slice(round(start * RATE), round(end * RATE))
        assert torch.allclose(audio[:, inside], generated[:, inside], rtol=0.2)
    assert torch.equal(audio[:, outside], source[:, outside])
    assert report.untouched_samples >= int(outside.sum())
    at_track_ends = sum((start <= 0) + (end < 0) for start, end in windows)
    assert len(report.edges) == 2 * len(windows) - at_track_ends


def test_overlapping_and_adjacent_windows_have_no_seam_between() -> None:
    _, report = splice(track(0), track(1), [(2.0, 4.0), (3.0, 5.0), (5.0, 6.0)], 0.05)
    assert [edge.time_s for edge in report.edges] == [2.0, 6.0]
    _, close = splice(track(0), track(1), [(2.0, 4.0), (4.02, 5.0)], 0.05)
    assert close.untouched_exact and len(close.edges) == 4


def test_a_seam_between_like_tracks_is_within_the_tracks_own_change() -> None:
    _, report = splice(track(0), track(1), [(3.1, 6.3)], 0.05, bpm=120)
    assert all(edge.smooth for edge in report.edges)
    assert all(abs(edge.beat_offset_ms or 0) < 10 for edge in report.edges)


def test_a_level_jump_is_reported_as_no_smooth_seam() -> None:
    _, report = splice(track(0), track(1) * 0.02, [(3.1, 6.3)], 0.05)
    assert not any(edge.smooth for edge in report.edges)
    assert report.edges[0].level_step_db < -10 < 10 < report.edges[1].level_step_db
    assert report.to_dict()["edges"][0]["smooth"] is False


def test_a_rough_border_is_smoothed_within_the_window_and_nowhere_else() -> None:
    """A quieter sound: no crossfade of 50 ms hides the step, some tenths of a second inside the window do."""
    source = track(0)
    hiss = torch.randn(2, source.shape[1], generator=torch.Generator().manual_seed(2))
    other = 0.03 * torch.diff(hiss, dim=1, append=hiss[:, -1:])
    audio, report = splice(source, other, [(3.1, 6.3)], 0.05)
    start, end = (round(edge.time_s * RATE) for edge in report.edges)
    assert all(edge.inside and edge.smooth and 0.1 <= edge.crossfade_s <= 0.4 for edge in report.edges)
    assert report.changed == ((start, end),) and report.untouched_exact
    outside = torch.cat([audio[:, :start], audio[:, end:]], 1)
    assert torch.equal(outside, torch.cat([source[:, :start], source[:, end:]], 1))
    middle = slice(start + round(0.4 * RATE), end - round(0.4 * RATE))
    assert torch.allclose(audio[:, middle], other[:, middle] * 10 ** (report.gain_db[0] / 20), atol=1e-6)
    cut = torch.cat([source[:, :start], other[:, start:end] * 10 ** (report.gain_db[0] / 20), source[:, end:]], 1)
    own = TrackChange(source, [(start, end)], RATE)
    for edge, place in zip(report.edges, (start, end), strict=True):
        hard = own.edge(cut, place, edge.opens, (place, place), None)
        assert hard.excess > 1.5 * edge.excess


def test_a_long_fade_is_taken_only_where_it_is_smooth() -> None:
    time = torch.arange(12 * RATE) / RATE
    hiss, other = (0.1 * torch.randn(2, 12 * RATE, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    source = hiss * (1 + 0.5 * torch.sin(2 * math.pi * 3 * time))
    _, near = splice(source, 0.3 * other, [(3.1, 7.1)], 0.05)
    _, far = splice(source, 0.02 * other, [(3.1, 7.1)], 0.05)
    assert any(edge.crossfade_s > 0.41 and edge.smooth for edge in near.edges)
    assert all(edge.crossfade_s < 0.41 and not edge.smooth for edge in far.edges)


def test_a_window_keeps_three_quarters_of_itself_from_a_crossfade_inside() -> None:
    source = track(0)
    audio, report = splice(source, track(1) * 0.02, [(3.1, 3.3)], 0.05)
    assert all(edge.crossfade_s <= 0.051 for edge in report.edges)
    assert torch.allclose(
        audio[:, round(3.16 * RATE) : round(3.24 * RATE)], 0.02 * track(1)[:, round(3.16 * RATE) : round(3.24 * RATE)]
    )


def test_windows_close_to_each_other_do_not_write_into_one_another() -> None:
    source, other = track(0), track(1) * 0.1
    together, _ = splice(source, other, [(2.0, 4.0), (4.02, 6.0)], 0.05)
    apart, _ = splice(source, other, [(2.0, 4.0)], 0.01)
    inside = slice(round(2.5 * RATE), round(3.5 * RATE))
    assert torch.equal(together[:, inside], apart[:, inside])
    later = slice(round(4.5 * RATE), round(5.5 * RATE))
    assert torch.allclose(together[:, later], other[:, later])


def test_a_break_of_the_source_itself_counts_as_its_own() -> None:
    loud = track(0)
    loud[:, : 6 * RATE] *= 0.05
    _, kept = splice(loud, loud, [(6.0, 9.0)], 0.05)
    assert kept.edges[0].smooth and kept.edges[0].source_level_step_db > kept.edges[0].track_level_step_db
    _, padded = splice(torch.cat([track(0), torch.zeros(2, 4 * RATE)], 1), track(1, 16.0) * 0.02, [(12.0, -1)], 0.05)
    assert padded.edges[0].source_level_step_db == 0 and not padded.edges[0].smooth


def test_a_window_is_never_louder_than_the_sources_loudest_passage_nor_beyond_full_scale() -> None:
    source = track(0)
    audio, report = splice(source, track(1) * 6, [(3.0, 6.0), (8.0, 9.0)], 0.05)
    inside = audio[:, 4 * RATE : 5 * RATE]
    assert report.gain_db[0] < -10 and float(audio.abs().max()) <= 1
    assert float(inside.square().mean().sqrt()) <= float(source.square().mean().sqrt()) * 1.2
    _, soft = splice(source, track(1) * 0.5, [(3.0, 6.0)], 0.05)
    assert soft.gain_db == (0.0,)


def test_replacing_a_track_by_itself_changes_nothing_audible() -> None:
    audio, report = splice(track(0), track(0), [(3.1, 6.3)], 0.05)
    assert torch.allclose(audio, track(0), atol=1e-6) and all(edge.smooth for edge in report.edges)


@pytest.mark.parametrize("rising", [True, False])
def test_the_crossfade_keeps_power_for_unrelated_and_for_equal_signals(rising: bool) -> None:
    one, two = (0.3 * torch.randn(2, 48000, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    blocks = crossfade(one, two, rising=rising).unflatten(1, (10, -1)).square().mean(dim=(0, 2))
    assert torch.allclose(blocks, torch.full((10,), 0.09), rtol=0.08)
    assert torch.allclose(crossfade(one, one, rising=rising), one, atol=1e-6)
    start, end = (one, two) if rising else (two, one)
    mixed = crossfade(one, two, rising=rising)
    assert float((mixed[:, 0] - start[:, 0]).abs().max()) < 1e-3 > float((mixed[:, -1] - end[:, -1]).abs().max())


@pytest.mark.parametrize("late_ms", [-120, -40, 0, 60])
def test_a_displaced_beat_is_measured(late_ms: float) -> None:
    half = 6 * RATE
    joined = torch.cat([track(0)[:, :half], track(1, late_s=late_ms / 1000)[:, half:]], dim=1)
    assert beat_offsets_ms(joined, [(half, 2 * half)], RATE, 120) == [pytest.approx(late_ms, abs=12)]
    steady = 0.1 * torch.sin(2 * torch.pi * 220 * torch.arange(2 * half) / RATE).repeat(2, 1)
    assert beat_offsets_ms(steady, [(half, 2 * half)], RATE, 120) == [None]


def test_windows_beyond_the_ends_pad_the_source() -> None:
    source = track(0, 4.0)
    padded, windows, left_s = pad_for_windows(source, [(-1.5, 0.0), (4.0, 6.0)])
    assert left_s == 1.5 and windows == ((0.0, 1.5), (5.5, 7.5))
    assert padded.shape[1] == round(7.5 * RATE)
    assert torch.equal(padded[:, round(1.5 * RATE) : round(5.5 * RATE)], source)
    same, untouched, none = pad_for_windows(source, [(1.0, -1)])
    assert torch.equal(same, source) and untouched == ((1.0, 4.0),) and none == 0


def test_a_report_moves_with_its_audio_and_survives_json() -> None:
    source = track(0)
    _, report = splice(source, track(1), [(3.0, 6.0)], 0.05)
    assert SeamReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    later = report.shifted(2 * RATE, source.shape[1] + 5 * RATE, RATE)
    assert [edge.time_s for edge in later.edges] == [5.0, 8.0] and later.changed[0][0] == report.changed[0][
        0
    ] + 2 * RATE
    assert later.untouched_samples == report.untouched_samples + 5 * RATE
    earlier = report.shifted(-4 * RATE, source.shape[1] - 4 * RATE, RATE)
    assert earlier.changed[0][0] == 0


def test_the_level_of_a_source_changes_no_splice() -> None:
    source, generated = track(0), track(1)
    reference, report = splice(source, generated, [(3.0, 6.0)], 0.05)
    for factor in (1 / 64, 1 / 100):
        audio, quiet = splice(source * factor, generated, [(3.0, 6.0)], 0.05, gain=1 / factor)
        assert quiet.untouched_exact and quiet.changed == report.changed
        torch.testing.assert_close(audio / factor, reference, rtol=0, atol=1e-5)
