"""Silences and clocks: telemetry that is lost, late, or stamped by a clock that was set back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.estimation.config import BALL_TRACK
from perception.estimation.ego.tilt import Tilt
from perception.estimation.ego.trail import OdometryTrail
from perception.estimation.tracks.point import PointFilter
from perception.estimation.tracks.track import EgoPath, Track
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Verdict
from robot.runtime.supervisor import SupervisorConfig
from tests.estimation_world import World, frame, telemetry
from tests.faults.test_estimation_faults import CRUISE, REST, both, drifted_m
from tests.line_world import LineWorld


def test_lost_frames_are_bridged_by_the_firmwares_odometry() -> None:
    """A silence of 200 ms at full cruise costs millimetres, because the next frame says how far the robot went."""
    world = World()
    world.drive(1.0, CRUISE)
    since = both(world)
    world.spoil_telemetry = lambda f: None
    world.drive(0.2, CRUISE)
    world.spoil_telemetry = lambda f: f
    world.drive(0.1, CRUISE)
    assert drifted_m(world, since) < 0.02
    assert world.world().robot.inputs_ok


def test_a_long_silence_is_admitted() -> None:
    """After two seconds without telemetry inputs are not ok and the pose says that it does not know."""
    world = World()
    world.drive(1.0, CRUISE)
    sigma = math.sqrt(world.world().robot.covariance[0][0])
    world.spoil_telemetry = lambda f: None
    world.drive(2.0, CRUISE)
    assert not world.world().robot.inputs_ok
    world.spoil_telemetry = lambda f: f
    world.drive(0.2, CRUISE)
    assert world.world().robot.inputs_ok
    assert math.sqrt(world.world().robot.covariance[0][0]) > sigma + 0.5
    since = both(world)
    world.drive(1.0, CRUISE)
    assert drifted_m(world, since) < 0.04


def test_after_a_long_silence_the_ball_may_be_anywhere_near() -> None:
    """Nobody knows how far the robot went meanwhile: the ball's doubt says so until it is seen, as the same ball."""
    world = World(ball_m=(2.0, 0.2))
    world.drive(1.0, REST)
    ball = world.world().ball
    assert max(ball.covariance_m2[k][k] for k in (0, 1)) < 0.1**2
    world.spoil_telemetry, world.blind = lambda f: None, True
    world.drive(0.3, CRUISE, 10.0)
    world.spoil_telemetry = lambda f: f
    world.tick(CRUISE)
    lost = world.world().ball
    error_m = world.ball_error_m()
    assert error_m > 0.1
    assert min(lost.covariance_m2[k][k] for k in (0, 1)) > error_m**2
    world.drive(0.1, CRUISE)
    still = world.world().ball
    assert still.track_id == ball.track_id
    assert min(still.covariance_m2[k][k] for k in (0, 1)) > error_m**2
    world.blind = False
    world.drive(0.5, REST)
    again = world.world().ball
    assert again.track_id == ball.track_id
    assert world.ball_error_m() < 0.05
    assert max(again.covariance_m2[k][k] for k in (0, 1)) < 0.1**2


def test_a_silence_is_counted_once_and_only_after_its_end() -> None:
    """A picture from before it, that comes after it, makes no track sure again; a clock that was set back moves it."""
    trail = OdometryTrail(0, 1.0)
    trail.advance(600_000_000, REST, Tilt())
    trail.lose(0.04, 0.25)
    point = PointFilter(BALL_TRACK, (2.0, 0.0), np.eye(2))
    track = Track(1, point, 0, 0, 0.0)

    def lost_m2(until_ns: int) -> float:
        return EgoPath(0.0, 0.0, (0.0, 0.0), 0.0, 0.0, trail.gaps).variance_m2(track, until_ns)

    assert [lost_m2(t_ns) for t_ns in (599_999_999, 600_000_000, 700_000_000)] == [0.0, 1.04, 1.04]
    track.t_ns = 600_000_000
    assert lost_m2(700_000_000) == 0.0
    track.t_ns = 500_000_000
    trail.rebase(200_000_000)
    track.t_ns -= 400_000_000
    assert [lost_m2(t_ns) for t_ns in (199_999_999, 200_000_000)] == [0.0, 1.04]


@pytest.mark.parametrize("minutes", [10, 600])
def test_after_a_silence_of_minutes_the_robot_may_still_move(minutes: int) -> None:
    """Nothing is known of the pose then, but not less than nothing: the supervisor would call it diverged, for ever."""
    world = LineWorld(pose=Pose2(1.2, 0.7, 0.4))
    world.blind = True
    world.drive(3.0, CRUISE)
    for _ in range(3):
        world.step += minutes * 60 * 200
        world.pending.clear()
        world.drive(4.5, Twist2(0.8, 0.0, 0.2))
        assert max(world.state().covariance[k][k] for k in (0, 1)) < 0.5 * SupervisorConfig().max_sigma_m ** 2
    world.blind, world.pose = False, Pose2(1.2, 0.7, 0.4)
    world.drive(5.0, Twist2(0.0, 0.0, 2.2))
    assert world.knows()


def test_time_runs_backwards_for_a_moment() -> None:
    """Late and repeated telemetry is refused; the pose does not move back."""
    world = World()
    world.drive(1.0, CRUISE)
    before = world.world().robot.world_from_robot
    for k in (0, 1, 5):
        assert world.estimator.on_telemetry(telemetry(0, world.t_ns - k * 5_000_000)) is Verdict.STALE
    assert world.world().robot.world_from_robot == before
    world.drive(0.5, CRUISE)
    assert world.verdicts[-1] is Verdict.OK


def test_a_clock_that_was_set_back_is_followed() -> None:
    """When only old time comes, the clock itself has moved: after 0.1 s the estimator goes on in the new one."""
    world = World(ball_m=(1.0, 0.1))
    world.drive(1.0, REST)
    since = both(world)
    world.step -= 150
    world.pending.clear()
    world.drive(1.0, REST)
    assert world.verdicts[-1] is Verdict.OK
    assert drifted_m(world, since) < 0.03
    assert world.world().robot.reset_count == 1
    ball = world.world().ball
    assert ball.visible
    assert world.ball_error_m() < 0.03


def test_a_clock_that_was_set_back_by_an_hour_does_not_cost_the_lines() -> None:
    """Times of before mean nothing: nothing raises, lines correct the pose again, and old sights do not look new."""
    world = LineWorld(pose=Pose2(1.2, 0.7, 0.4))
    world.step = 3_700 * 200
    world.drive(3.5, Twist2(0.0, 0.0, 2.2))
    assert world.knows()
    seen = frame(0, world.t_ns, free_range_m=((0.0, 1.0),))
    world.estimator.on_observations(seen, ())
    world.step -= 3_600 * 200
    world.pending.clear()
    world.drive(0.5, CRUISE)
    assert world.verdicts[-1] is Verdict.OK
    assert world.world().free_range_age_ns >= 380_000_000
    world.drive(1.5, CRUISE)
    assert world.knows()
    assert math.sqrt(world.state().covariance[0][0]) < 0.02


def test_views_from_before_a_silence_are_no_part_of_the_search() -> None:
    """Nobody knows how the robot was moved meanwhile: the search begins anew, and finds the pose."""
    world = LineWorld(pose=Pose2(1.2, 0.7, 0.4))
    world.drive(0.8, Twist2(0.0, 0.0, 2.2))
    before = world.estimator._locator._search  # type: ignore[union-attr]
    assert before is not None
    assert before.views.count > 2
    world.spoil_telemetry = lambda f: None
    world.carry_to(Pose2(-1.5, 1.0, 2.0))
    world.drive(1.0, REST)
    world.spoil_telemetry = lambda f: f
    world.drive(0.2, Twist2(0.0, 0.0, 2.2))
    after = world.estimator._locator._search  # type: ignore[union-attr]
    assert after is not before
    world.drive(3.5, Twist2(0.0, 0.0, 2.2))
    assert world.knows()


def test_a_stamp_from_the_future_is_refused() -> None:
    """One frame stamped ten seconds ahead must not make all true ones look old."""
    world = World()
    world.drive(0.5, CRUISE)
    lying = telemetry(0, world.t_ns + 10_000_000_000, t_receive_ns=world.t_ns + 1)
    assert world.estimator.on_telemetry(lying) is Verdict.FUTURE
    world.drive(0.5, CRUISE)
    assert world.verdicts[-1] is Verdict.OK
