"""Late measurements end up where they would have been, had they come in time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.estimation.config import MotionConfig
from perception.estimation.ego.ekf import POSE, SIZE, Correction, EgoFilter, Motion
from perception.estimation.ego.history import DelayedFilter
from robot.core.messages import Verdict

STEP_NS = 5_000_000


def motion(k: int) -> Motion:
    """Something that turns and accelerates."""
    return Motion(1.5 * math.sin(k / 20), (0.8 * math.cos(k / 15), 0.3))


def fix(x: float, y: float, theta: float, sigma: float = 0.05, gate: float = math.inf) -> Correction:
    """A direct sighting of the pose."""
    h = np.zeros((3, SIZE))
    h[:, POSE] = np.eye(3)
    return Correction(np.array([x, y, theta]), lambda s: s[POSE], lambda s: h, sigma**2 * np.eye(3), gate=gate)


def fresh() -> DelayedFilter:
    return DelayedFilter(EgoFilter(MotionConfig()), 0, span_s=0.5)


def run(delayed: DelayedFilter, first: int, last: int) -> None:
    for k in range(first, last):
        delayed.advance((k + 1) * STEP_NS, motion(k))


def test_a_late_correction_gives_what_a_timely_one_gives() -> None:
    timely, late = fresh(), fresh()
    run(timely, 0, 40)
    assert timely.fuse(40 * STEP_NS, [fix(0.1, 0.05, 0.2)])[0].verdict is Verdict.OK
    run(timely, 40, 60)
    run(late, 0, 60)
    assert late.fuse(40 * STEP_NS, [fix(0.1, 0.05, 0.2)])[0].verdict is Verdict.OK
    np.testing.assert_array_equal(late.ego.x, timely.ego.x)
    np.testing.assert_array_equal(late.ego.P, timely.ego.P)


def test_two_corrections_may_arrive_in_the_wrong_order() -> None:
    timely, late = fresh(), fresh()
    run(timely, 0, 30)
    timely.fuse(30 * STEP_NS, [fix(0.1, 0.0, 0.1)])
    run(timely, 30, 45)
    timely.fuse(45 * STEP_NS, [fix(0.2, 0.1, 0.3)])
    run(timely, 45, 60)
    run(late, 0, 60)
    late.fuse(45 * STEP_NS, [fix(0.2, 0.1, 0.3)])
    late.fuse(30 * STEP_NS, [fix(0.1, 0.0, 0.1)])
    np.testing.assert_array_equal(late.ego.x, timely.ego.x)
    np.testing.assert_array_equal(late.ego.P, timely.ego.P)


def test_a_capture_time_between_two_steps() -> None:
    delayed, reference = fresh(), fresh()
    run(delayed, 0, 60)
    delayed.fuse(40 * STEP_NS + STEP_NS // 3, [fix(0.1, 0.05, 0.2)])
    run(reference, 0, 60)
    reference.fuse(40 * STEP_NS, [fix(0.1, 0.05, 0.2)])
    assert delayed.ego.x[POSE] == pytest.approx(reference.ego.x[POSE], abs=2e-3)
    assert delayed.ego.x[POSE] != pytest.approx(reference.ego.x[POSE], abs=1e-9)


def test_between_two_steps_the_motion_is_that_of_the_step_under_way() -> None:
    """Odometry steps may be split exactly, so a late fix inside one equals a timely one that ended it there."""
    slow, fast = Motion(0.2, None, (0.3, 0.0)), Motion(-1.0, None, (1.5, 0.4))
    timely, late = fresh(), fresh()
    for d in (timely, late):
        d.advance(100_000_000, slow)
    timely.advance(130_000_000, fast)
    timely.fuse(130_000_000, [fix(0.1, 0.0, 0.1)])
    timely.advance(200_000_000, fast)
    late.advance(200_000_000, fast)
    late.fuse(130_000_000, [fix(0.1, 0.0, 0.1)])
    np.testing.assert_allclose(late.ego.x, timely.ego.x, atol=1e-12)
    np.testing.assert_allclose(late.ego.P, timely.ego.P, atol=1e-12)


def test_older_than_the_history_is_stale_and_changes_nothing() -> None:
    delayed = fresh()
    run(delayed, 0, 400)
    x, p = delayed.ego.x.copy(), delayed.ego.P.copy()
    outcomes = delayed.fuse(100 * STEP_NS, [fix(5.0, 5.0, 1.0)])
    assert [o.verdict for o in outcomes] == [Verdict.STALE]
    np.testing.assert_array_equal(delayed.ego.x, x)
    np.testing.assert_array_equal(delayed.ego.P, p)
    assert delayed.fuse(390 * STEP_NS, [fix(*delayed.ego.x[POSE])])[0].verdict is Verdict.OK


def test_a_refused_correction_changes_nothing() -> None:
    delayed, untouched = fresh(), fresh()
    for d in (delayed, untouched):
        run(d, 0, 60)
    (outcome,) = delayed.fuse(50 * STEP_NS, [fix(9.0, 9.0, 2.0, gate=11.3)])
    assert outcome.verdict is Verdict.OUTLIER
    assert outcome.distance2 > 11.3
    for d in (delayed, untouched):
        run(d, 60, 70)
    np.testing.assert_array_equal(delayed.ego.x, untouched.ego.x)
    np.testing.assert_array_equal(delayed.ego.P, untouched.ego.P)


@pytest.mark.parametrize("gate", [11.3, math.inf])
def test_a_correction_that_is_no_number_is_refused_whatever_its_gate(gate: float) -> None:
    delayed, untouched = fresh(), fresh()
    for d in (delayed, untouched):
        run(d, 0, 60)
    (outcome,) = delayed.fuse(50 * STEP_NS, [fix(math.nan, 0.0, 0.0, gate=gate)])
    assert outcome.verdict is Verdict.OUTLIER
    for d in (delayed, untouched):
        run(d, 60, 70)
    np.testing.assert_array_equal(delayed.ego.x, untouched.ego.x)


def test_memory_is_bounded() -> None:
    delayed = fresh()
    run(delayed, 0, 5000)
    assert (delayed.t_ns - delayed.oldest_ns) * 1e-9 < 0.6


def test_reconstruct_gives_back_the_past() -> None:
    delayed, reference = fresh(), fresh()
    run(delayed, 0, 60)
    run(reference, 0, 50)
    x, p, _ = delayed.reconstruct(50 * STEP_NS)
    np.testing.assert_array_equal(x, reference.ego.x)
    np.testing.assert_array_equal(p, reference.ego.P)
    between, after = (delayed.reconstruct(50 * STEP_NS + d)[0] for d in (STEP_NS // 2, STEP_NS))
    assert between[POSE] == pytest.approx(0.5 * (x + after)[POSE], abs=1e-4)
    assert between[0] not in (x[0], after[0])
