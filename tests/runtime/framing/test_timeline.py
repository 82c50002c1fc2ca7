"""When a sample was taken: by the sender's clock, through its wraps, restarts and jumps; never by a wall clock."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.framing import Timeline


def test_late_batches_do_not_bend_the_sender_s_clock() -> None:
    timeline = Timeline(tick_s=1e-6, bits=32)
    arrivals = [100.0 + 0.016 * (number // 16 + 1) for number in range(200)]  # 1 kHz in batches of 16
    stamps = [timeline.stamp(5_000_000 + 1000 * number, at) for number, at in enumerate(arrivals)]
    assert np.diff(stamps) == pytest.approx(0.001)
    assert timeline.restarts == 0


@pytest.mark.parametrize("bits", [16, 32])
def test_a_wrap_of_the_clock_is_no_jump(bits: int) -> None:
    timeline = Timeline(tick_s=1e-6, bits=bits)
    ticks = [(2**bits - 5_000 + 1_000 * number) % 2**bits for number in range(20)]
    stamps = [timeline.stamp(tick, 7.0 + number * 0.001) for number, tick in enumerate(ticks)]
    assert np.diff(stamps) == pytest.approx(0.001)


def test_a_board_that_restarts_goes_on_where_the_host_is() -> None:
    timeline = Timeline(tick_s=1e-6, bits=32)
    assert timeline.stamp(3_000_000_000, 50.0) == 50.0
    assert timeline.stamp(1_000, 53.0) == 53.0
    assert timeline.stamp(11_000, 53.01) == pytest.approx(53.01)
    assert timeline.restarts == 1


def test_a_small_step_back_is_seen_by_who_checks_the_order() -> None:
    timeline = Timeline(tick_s=1e-3)
    timeline.stamp(1000, 10.0)
    assert timeline.stamp(990, 10.01) == pytest.approx(9.99)


def test_an_anchor_that_was_late_is_made_up_for_without_bending_a_window() -> None:
    timeline = Timeline(tick_s=1e-3)
    stamps = [timeline.stamp(number, 5.0 + number * 0.001 + (0.3 if number == 0 else 0.0)) for number in range(40_000)]
    assert stamps[0] == 5.3
    assert stamps[-1] - (5.0 + 39.999) < 0.021
    assert np.abs(np.diff(stamps) / 0.001 - 1.0).max() < 0.0101
    assert timeline.restarts == 0


@pytest.mark.parametrize(("step_ms", "furthest_s", "restarts"), [(10.01, 0.021, 0), (9.99, 1.001, 3)])
def test_a_clock_that_drifts_is_followed(step_ms: float, furthest_s: float, restarts: int) -> None:
    timeline = Timeline(tick_s=1e-3)
    worst = 0.0
    for number in range(360_000):  # 100 Hz for an hour, the board's clock one part in a thousand fast, or slow
        arrived = number * 0.01
        worst = max(worst, abs(timeline.stamp(number * step_ms, arrived) - arrived))
    assert worst < furthest_s
    assert timeline.restarts == restarts


def test_counting_follows_a_rate_that_is_not_quite_the_declared_one() -> None:
    timeline = Timeline(rate_hz=100)
    generator = np.random.default_rng(0)
    arrivals = np.arange(20_000) / 98.5 + generator.uniform(0, 0.008, 20_000)
    stamps = np.array([timeline.stamp(None, float(at)) for at in arrivals])
    steps = np.diff(stamps)[500:]
    assert timeline.restarts == 0
    assert np.abs(steps - 1 / 98.5).max() < 0.0003
    assert np.abs(stamps - arrivals).max() < 0.02


def test_a_pause_is_a_gap_and_not_bent_away() -> None:
    timeline = Timeline(rate_hz=100)
    for number in range(100):
        timeline.stamp(None, number * 0.01)
    assert timeline.stamp(None, 2.0) == 2.0
    assert timeline.restarts == 1


def test_without_a_clock_and_a_rate_it_is_the_arrival() -> None:
    timeline = Timeline()
    assert [timeline.stamp(None, at) for at in (1.0, 1.5, 1.2)] == [1.0, 1.5, 1.2]


@pytest.mark.parametrize("ticks", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_senseless_clock_is_not_followed(ticks: float) -> None:
    timeline = Timeline(tick_s=1e-3)
    timeline.stamp(1.0, 10.0)
    assert timeline.stamp(ticks, 10.1) == 10.1
