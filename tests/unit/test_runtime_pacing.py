"""Pacing with a clock that the test moves: no drift, no bursts after a hiccup, honest statistics."""

from __future__ import annotations

import pytest

from robot.cli.play import _text as report_text
from robot.core.clock import ManualClock
from robot.runtime.onboard import PlayReport
from robot.runtime.pacing import Pacer, Spread, StageTimes

MS = 1_000_000


def test_work_does_not_shift_the_deadlines() -> None:
    clock = ManualClock(7)
    pacer = Pacer(clock, 100.0)
    woke = []
    for tick in range(50):
        woke.append(pacer.wait())
        clock.advance_ns((1 + tick % 5) * MS)
    assert woke == [7 + 10 * MS * n for n in range(50)]
    assert pacer.overruns == 0
    assert pacer.periods().median_ms == pytest.approx(10.0)
    assert pacer.periods().max_ms == pytest.approx(10.0)


def test_a_long_tick_is_counted_skipped_and_does_not_cause_a_burst() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, 100.0)
    assert pacer.wait() == 0
    clock.advance_ns(47 * MS)
    assert pacer.wait() == 47 * MS  # late: at once, for the deadline of 40 ms
    assert pacer.overruns == 1
    assert pacer.skipped == 3
    clock.advance_ns(1 * MS)
    assert pacer.wait() == 50 * MS  # back on the grid
    assert pacer.overruns == 1
    assert pacer.lateness().max_ms == pytest.approx(7.0)
    assert pacer.periods().max_ms == pytest.approx(47.0)


def test_spread_is_of_the_right_samples() -> None:
    spread = Spread.of_ns([n * MS for n in range(1, 101)])
    assert spread.count == 100
    assert spread.median_ms == pytest.approx(50.5)
    assert spread.p99_ms == pytest.approx(100.0)
    assert Spread.of_ns([]).count == 0


def test_stage_times_add_up_and_cost_nothing_without_a_timer() -> None:
    clock = ManualClock()
    times = StageTimes(clock.now_ns)
    for tick in range(3):
        times.start()
        clock.advance_ns(2 * MS)
        times.lap("link")
        if tick == 2:
            clock.advance_ns(40 * MS)
            times.lap("search")
        clock.advance_ns(5 * MS)
        times.lap("estimate")
        clock.advance_ns(1 * MS)
        times.finish()
    whole = times.whole()
    assert (whole.count, whole.median_ms, whole.max_ms) == (3, pytest.approx(8.0), pytest.approx(48.0))
    assert times.spreads()["search"].count == 1
    assert times.spreads()["link"].median_ms == pytest.approx(2.0)
    assert times.spreads()["estimate"].median_ms == pytest.approx(5.0)
    silent = StageTimes()
    silent.start()
    silent.lap("link")
    silent.finish()
    assert silent.spreads() == {}
    assert silent.whole().count == 0


def test_the_report_shows_the_whole_step_and_not_a_sum_of_medians() -> None:
    """The search runs in few ticks: its median is no part of a usual step."""
    stages = {"link_in": Spread.of_ns([1 * MS] * 100), "search": Spread.of_ns([40 * MS])}
    report = PlayReport(step=Spread.of_ns([2 * MS] * 98 + [42 * MS] * 2), stages=stages)
    assert "step: median 2.00 ms, p99 42.00 ms" in report_text(report)
    assert "link_in 1.00, search 40.00" in report_text(report)
