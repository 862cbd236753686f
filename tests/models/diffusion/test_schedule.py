"""Schedules: the published tables, snapping, verbatim times, starting near a source."""

from __future__ import annotations

import pytest
import torch

from acestep_like.models.diffusion.schedule import TURBO_VALUES, make_schedule, snap_timesteps, start_near_source

TABLES = {
    1.0: [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    2.0: [1, 0.93333, 0.85714, 0.76923, 0.66667, 0.54545, 0.4, 0.22222],
    3.0: [1, 0.95455, 0.9, 0.83333, 0.75, 0.64286, 0.5, 0.3],
}
CUSTOM = [0.97, 0.76, 0.615, 0.5, 0.395, 0.28, 0.18, 0.085, 0]


@pytest.mark.parametrize("shift", TABLES)
def test_turbo_has_the_published_tables(shift):
    schedule = make_schedule(is_turbo=True, steps=8, shift=shift)
    assert torch.allclose(schedule, torch.tensor([*TABLES[shift], 0.0]), atol=1e-5)


def test_a_shift_that_is_given_with_a_number_of_steps_is_used_as_it_is():
    schedule = make_schedule(is_turbo=True, steps=8, shift=2.5)
    assert torch.equal(schedule, make_schedule(is_turbo=False, steps=8, shift=2.5))


def test_turbo_s_table_is_of_the_nearest_shift():
    near = make_schedule(is_turbo=True, steps=None, shift=2.8)
    assert torch.equal(near, make_schedule(is_turbo=True, steps=8, shift=3.0))


def test_turbo_takes_fewer_steps_with_any_shift():
    schedule = make_schedule(is_turbo=True, steps=5, shift=1.7)
    assert len(schedule) == 6
    assert float(schedule[1]) == pytest.approx(1.7 * 0.8 / (1 + 0.7 * 0.8))


def test_the_valid_times_are_the_twenty_of_the_tables():
    union = sorted({round(t, 4) for row in TABLES.values() for t in row}, reverse=True)
    assert list(TURBO_VALUES) == pytest.approx(union, abs=1e-4)
    assert len(TURBO_VALUES) == 20


def test_custom_times_are_snapped_on_turbo_as_documented():
    expected = [0.9545, 0.7692, 0.625, 0.5, 0.4, 0.3, 0.2222, 0.125]
    assert [round(t, 4) for t in snap_timesteps(CUSTOM)] == expected
    schedule = make_schedule(is_turbo=True, steps=3, shift=1.0, timesteps=CUSTOM)
    assert len(schedule) == 9 and float(schedule[-1]) == 0


def test_custom_times_are_verbatim_on_base_with_or_without_the_final_zero():
    with_zero = make_schedule(is_turbo=False, steps=3, shift=3.0, timesteps=CUSTOM)
    without = make_schedule(is_turbo=False, steps=3, shift=3.0, timesteps=CUSTOM[:-1])
    assert torch.equal(with_zero, torch.tensor(CUSTOM))
    assert torch.equal(with_zero, without)


def test_only_zeros_fall_back_to_the_table_and_more_than_twenty_are_cut():
    table = make_schedule(is_turbo=True, steps=8, shift=3.0)
    assert torch.equal(make_schedule(is_turbo=True, steps=8, shift=3.0, timesteps=[0.0]), table)
    assert len(snap_timesteps([1.0] * 30)) == 20


@pytest.mark.parametrize("shift", [1.0, 1.5, 3.0, 5.0])
def test_schedules_fall_strictly_from_one_to_zero(shift):
    schedule = make_schedule(is_turbo=False, steps=17, shift=shift)
    assert float(schedule[0]) == 1 and float(schedule[-1]) == 0
    assert bool((torch.diff(schedule) < 0).all())


def test_starting_near_the_source_drops_the_noisy_times():
    schedule = make_schedule(is_turbo=False, steps=10, shift=1.0)
    assert float(start_near_source(schedule, 0.72)[0]) == pytest.approx(0.3)
    assert len(start_near_source(schedule, 1.0)) == 2


def test_turbo_compares_the_exact_times_of_its_tables():
    schedule = make_schedule(is_turbo=True, steps=8, shift=3.0)  # 0.5 and 0.3 are equally far from 0.4
    assert float(start_near_source(schedule, 0.6, is_turbo=True)[0]) == 0.5
    assert float(start_near_source(schedule, 0.6)[0]) == pytest.approx(0.3)
