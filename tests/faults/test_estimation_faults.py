"""Bad inputs: each scenario spoils something, says what must hold meanwhile, and ends by proving recovery."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from perception.estimation.config import EstimationConfig, MotionConfig
from perception.localisation.config import SearchConfig
from robot.core.geometry import Pose2, Twist2, wrap_angle
from robot.core.messages import (
    FieldObservation,
    Localisation,
    ObjectClass,
    TelemetryFrame,
    Verdict,
    WorldModel,
)
from tests.estimation_world import World, frame, goal_sighting, sighting, telemetry

REST = Twist2()
CRUISE = Twist2(0.6, 0.1, 0.4)
NAN = math.nan


def finite(world: WorldModel) -> bool:
    """No number in the world model is NaN or infinite."""
    robot, ball = world.robot, world.ball
    numbers = [
        *robot.covariance[0],
        *robot.covariance[1],
        *robot.covariance[2],
        *ball.ball_in_robot_m,
        *ball.velocity_in_world_m_s,
        *ball.covariance_m2[0],
        *ball.covariance_m2[1],
        robot.gyro_bias_rad_s,
    ]
    good = robot.world_from_robot.is_finite() and robot.twist_in_robot.is_finite()
    return good and all(math.isfinite(v) for v in numbers)


def drifted_m(world: World, since: tuple[Pose2, Pose2]) -> float:
    """Error of the believed motion since then."""
    true = since[0].inverse() @ world.pose
    believed = since[1].inverse() @ world.world().robot.world_from_robot
    return true.distance_to(believed)


def both(world: World) -> tuple[Pose2, Pose2]:
    """True and believed pose now."""
    return world.pose, world.world().robot.world_from_robot


SPOILED_SENSORS: dict[str, Callable[[TelemetryFrame], TelemetryFrame]] = {
    "gyro nan": lambda f: replace(f, gyro_z_rad_s=NAN),
    "gyro absurd": lambda f: replace(f, gyro_z_rad_s=500.0),
    "accelerometer nan": lambda f: replace(f, accel_in_robot_m_s2=(NAN, 0.0)),
    "accelerometer absurd": lambda f: replace(f, accel_in_robot_m_s2=(0.0, -900.0)),
    "imu gone": lambda f: replace(f, gyro_z_rad_s=NAN, accel_in_robot_m_s2=(NAN, NAN)),
    "one wheel nan": lambda f: replace(f, wheel_speed_rad_s=(*f.wheel_speed_rad_s[:3], NAN)),
    "wheels infinite": lambda f: replace(f, wheel_speed_rad_s=(math.inf,) * 4),
}


@pytest.mark.parametrize("name", SPOILED_SENSORS)
def test_one_sensor_spoiled_for_half_a_second(name: str) -> None:
    """The others carry the pose: less than 8 cm and 4 degrees of error, verdicts say so, and all is well after."""
    world = World()
    world.drive(1.5, CRUISE)
    since = both(world)
    world.spoil_telemetry = SPOILED_SENSORS[name]
    world.verdicts.clear()
    world.drive(0.5, Twist2(0.8, -0.2, -0.5))
    assert set(world.verdicts) <= {Verdict.INVALID, Verdict.OUT_OF_RANGE}
    assert finite(world.world())
    assert not world.world().robot.inputs_ok
    assert drifted_m(world, since) < 0.08
    heading = wrap_angle(
        (since[0].theta_rad - since[1].theta_rad) - (both(world)[0].theta_rad - both(world)[1].theta_rad)
    )
    assert abs(math.degrees(heading)) < 4.0
    world.spoil_telemetry = lambda f: f
    world.drive(15.0, REST)
    since = both(world)
    world.verdicts.clear()
    world.drive(1.0, CRUISE)
    assert set(world.verdicts) == {Verdict.OK}
    assert world.world().robot.inputs_ok
    assert drifted_m(world, since) < 0.04


def test_everything_nan_for_a_while() -> None:
    """A frame of NaN alone does not reach the state."""
    world = World(ball_m=(1.0, 0.2))
    world.drive(1.0, REST)
    since = both(world)
    world.spoil_telemetry = lambda f: replace(
        f, gyro_z_rad_s=NAN, accel_in_robot_m_s2=(NAN, NAN), wheel_speed_rad_s=(NAN,) * 4
    )
    world.drive(0.3, REST)
    assert finite(world.world())
    world.spoil_telemetry = lambda f: f
    world.drive(0.5, REST)
    assert drifted_m(world, since) < 0.05
    assert world.ball_error_m() < 0.05


def test_a_frame_that_is_not_valid_is_not_used() -> None:
    world = World()
    world.drive(0.5, REST)
    since = both(world)
    bad = telemetry(0, world.t_ns + 1_000_000, valid=False, gyro_z_rad_s=30.0)
    assert world.estimator.on_telemetry(bad) is Verdict.INVALID
    assert world.world().robot.world_from_robot == since[1]
    world.drive(0.5, CRUISE)
    assert world.verdicts[-1] is Verdict.OK


def test_a_burst_of_wheel_slip() -> None:
    """Front wheels spin freely for 0.2 s at +3 m/s: noticed, and the pose goes on by the inertial sensors."""
    world = World()
    world.drive(1.5, CRUISE)
    since = both(world)
    rims = 3.0 / 0.027

    def slip(f: TelemetryFrame) -> TelemetryFrame:
        a, b, c, d = f.wheel_speed_rad_s
        return replace(f, wheel_speed_rad_s=(a - rims, b, c, d + rims))

    world.spoil_telemetry = slip
    world.drive(0.2, CRUISE)
    assert world.estimator.slip_m_s > 0.5
    assert drifted_m(world, since) < 0.05
    world.spoil_telemetry = lambda f: f
    world.drive(0.3, CRUISE)
    assert world.estimator.slip_m_s < 0.05
    assert world.world().robot.twist_in_robot.vx_m_s == pytest.approx(0.6, abs=0.05)
    assert drifted_m(world, since) < 0.07


def test_all_wheels_slip_together() -> None:
    """Spinning wheels that agree with each other are unmasked by the accelerometer: the velocity does not follow."""
    world = World()
    world.drive(1.0, REST)
    since = both(world)

    def spin(f: TelemetryFrame) -> TelemetryFrame:
        rims = world.matrix @ np.array([2.0, 0.0, 0.0]) / 0.027
        return replace(f, wheel_speed_rad_s=tuple(rims.tolist()))

    world.spoil_telemetry = spin
    world.drive(0.1, REST)
    assert drifted_m(world, since) < 0.06
    world.spoil_telemetry = lambda f: f
    world.drive(0.5, REST)
    assert abs(world.world().robot.twist_in_robot.vx_m_s) < 0.03


def test_an_accelerometer_that_lies_within_its_range() -> None:
    """A false 6 m/s^2 for 0.3 s: wheels that disagree are inflated, not refused, so the velocity comes back to them."""
    world = World()
    world.drive(1.0, REST)
    since = both(world)
    world.spoil_telemetry = lambda f: replace(f, accel_in_robot_m_s2=(6.0, 0.0))
    world.drive(0.3, REST)
    assert abs(world.world().robot.twist_in_robot.vx_m_s) < 0.5
    world.spoil_telemetry = lambda f: f
    world.drive(0.5, REST)
    assert abs(world.world().robot.twist_in_robot.vx_m_s) < 0.02
    assert drifted_m(world, since) < 0.2


def test_bad_observations_are_named_and_dropped() -> None:
    world = World(ball_m=(1.0, 0.0))
    world.drive(0.5, REST)
    t = world.t_ns
    good = sighting(t, world.ball_in_robot())
    bad = {
        Verdict.INVALID: [
            replace(good, position_in_robot_m=(NAN, 0.0)),
            replace(good, covariance_m2=((NAN, 0.0), (0.0, 1.0))),
            replace(good, covariance_m2=((-1.0, 0.0), (0.0, 1.0))),
            replace(good, valid=False),
            replace(good, score=NAN),
        ],
        Verdict.OUT_OF_RANGE: [replace(good, position_in_robot_m=(900.0, 0.0))],
        Verdict.OK: [good],
    }
    observations = tuple(o for group in bad.values() for o in group)
    expected = tuple(v for v, group in bad.items() for _ in group)
    world.pending.clear()
    assert world.estimator.on_observations(frame(0, t), observations) == expected
    assert finite(world.world())
    assert world.ball_error_m() < 0.02
    assert world.estimator.vision_ledger.count(Verdict.INVALID) == 5
    world.drive(15.0, REST)
    assert world.estimator.vision_ledger.healthy(world.t_ns)


def test_frames_from_the_past_and_the_future() -> None:
    world = World(ball_m=(1.0, 0.0))
    world.drive(2.0, REST)
    world.pending.clear()
    ball = (sighting(world.t_ns, (2.0, 0.5)),)
    before = world.world().ball.ball_in_robot_m
    estimator = world.estimator
    assert estimator.on_observations(frame(0, world.t_ns - 1_900_000_000), ball) == (Verdict.STALE,)
    assert estimator.on_observations(frame(0, world.t_ns + 400_000_000), ball) == (Verdict.FUTURE,)
    assert estimator.on_observations(frame(0, world.t_ns - 300_000_000), ball) == (Verdict.STALE,)
    assert world.world().ball.ball_in_robot_m == before
    world.drive(0.3, REST)
    assert world.world().ball.visible
    assert world.ball_error_m() < 0.03


def test_nothing_before_the_first_telemetry() -> None:
    """The world model exists before any input, and nothing in it is valid."""
    world = World(ball_m=(1.0, 0.0))
    model = world.estimator.world_model(0)
    assert not any((model.valid, model.robot.valid, model.ball.valid, model.robot.inputs_ok))
    assert world.estimator.on_observations(frame(0, 0), (sighting(0, (1.0, 0.0)),)) == (Verdict.STALE,)
    world.drive(0.5, REST)
    assert world.world().valid
    assert world.world().ball.valid


def goals(t_ns: int, pose: Pose2) -> tuple[FieldObservation, ...]:
    """Whichever goal can be seen."""
    return goal_sighting(t_ns, pose, 1) or goal_sighting(t_ns, pose, -1)


def test_goals_pull_a_rough_seed_to_the_truth() -> None:
    """Seeded 0.42 m and 7 degrees off, the goal of either side betters it, and the covariance tells what is left.

    One goal leaves a weak direction (a step aside with a turn that keeps the goal where it is): behind -x it is
    just the direction of this seed's error.
    """
    for heading in (0.0, math.pi):
        start = Pose2(math.copysign(1.5, math.cos(heading)), 0.4, heading + 0.05)
        world = World(pose=start, extra=goals)
        world.drive(0.1, REST)
        world.estimator.seed(Pose2(start.x_m - 0.3, start.y_m + 0.3, start.theta_rad + 0.12), 0.3, 0.15, world.t_ns)
        assert world.estimator.localisation is Localisation.SEEDED
        world.drive(0.5, REST)
        world.drive(3.0, Twist2(0.2, -0.25, 0.0))
        assert world.estimator.localisation is Localisation.TRACKING
        robot = world.world().robot
        assert robot.world_from_robot.distance_to(world.pose) < (0.2 if heading == 0.0 else 0.35)
        heading_error = wrap_angle(robot.world_from_robot.theta_rad - world.pose.theta_rad)
        error = np.array(
            [robot.world_from_robot.x_m - world.pose.x_m, robot.world_from_robot.y_m - world.pose.y_m, heading_error]
        )
        assert abs(heading_error) < math.radians(6.5)
        assert error @ np.linalg.solve(np.array(robot.covariance), error) < 11.3


def test_one_false_goal_does_not_move_the_pose() -> None:
    world = World(pose=Pose2(0.5, 0.4, 0.0))
    world.drive(0.1, REST)
    world.estimator.seed(world.pose, 0.1, 0.05, world.t_ns)
    world.drive(0.5, REST)
    before = world.world().robot.world_from_robot
    false = goal_sighting(world.t_ns, Pose2(1.0, -0.4, 0.1))
    world.pending.clear()
    world.estimator.on_observations(frame(0, world.t_ns), false)
    world.drive(0.1, REST)
    assert world.world().robot.world_from_robot.distance_to(before) < 0.005
    world.extra = goals
    world.drive(2.0, REST)
    assert world.estimator.localisation is Localisation.TRACKING
    assert world.world().robot.world_from_robot.distance_to(world.pose) < 0.1


def test_a_kidnapped_robot_notices_and_recovers() -> None:
    """Carried 1.2 m aside while the wheels stand still: LOST within 2 s, no claim to know, right after a new seed."""
    world = World(pose=Pose2(1.0, 0.4, 0.0), extra=goals)
    world.drive(0.1, REST)
    world.estimator.seed(world.pose, 0.05, 0.03, world.t_ns)
    world.drive(1.0, REST)
    assert world.estimator.localisation is Localisation.TRACKING
    world.pose = Pose2(1.2, -0.8, 0.15)
    world.drive(2.0, REST)
    assert world.estimator.localisation is Localisation.LOST
    for _ in range(10):
        world.drive(0.3, Twist2(0.2, 0.0, 0.0))
        wrong_m = world.world().robot.world_from_robot.distance_to(world.pose)
        assert world.estimator.localisation is Localisation.LOST or wrong_m < 0.5
    world.estimator.seed(Pose2(world.pose.x_m + 0.1, world.pose.y_m - 0.1, 0.2), 0.15, 0.1, world.t_ns)
    world.drive(2.0, REST)
    assert world.estimator.localisation is Localisation.TRACKING
    pose = world.world().robot.world_from_robot
    assert pose.distance_to(world.pose) < 0.15
    assert abs(wrap_angle(pose.theta_rad - world.pose.theta_rad)) < math.radians(3.0)


def test_a_pose_that_is_too_vague_is_lost() -> None:
    """Ten seconds of driving on a poor odometry after a seed, and no landmark: the robot stops claiming to know."""
    motion = MotionConfig(translation_m_per_sqrt_m=0.5)
    world = World(pose=Pose2(1.0, 0.4, 0.0), config=EstimationConfig(motion=motion))
    world.drive(0.1, REST)
    world.estimator.seed(world.pose, 0.05, 0.03, world.t_ns)
    world.drive(0.5, CRUISE)
    assert world.estimator.localisation is Localisation.SEEDED
    world.drive(10.0, Twist2(1.5, 0.0, 1.0))
    assert world.estimator.localisation is Localisation.LOST


def test_a_lost_robot_is_found_by_a_new_seed() -> None:
    world = World(config=EstimationConfig(search=SearchConfig(enabled=False)), pose=Pose2(1.0, 0.4, 0.0))
    world.drive(0.1, REST)
    world.estimator.seed(world.pose, 2.0, 1.0, world.t_ns)
    world.drive(0.1, REST)
    assert world.estimator.localisation is Localisation.LOST
    world.estimator.seed(world.pose, 0.05, 0.03, world.t_ns)
    world.drive(0.5, CRUISE)
    assert world.estimator.localisation is Localisation.SEEDED
    assert world.world().robot.world_from_robot.distance_to(world.pose) < 0.03


def test_a_seed_may_belong_to_a_moment_ago() -> None:
    """Told 0.3 s later where it was, a robot that drives at 0.6 m/s adds what it has driven since."""
    world = World(pose=Pose2(1.0, 0.4, 0.5))
    world.drive(1.0, CRUISE)
    then, where = world.t_ns, world.pose
    world.drive(0.3, CRUISE)
    world.estimator.seed(where, 0.05, 0.03, then)
    assert world.world().robot.world_from_robot.distance_to(world.pose) < 0.01
    world.drive(0.3, CRUISE)
    assert world.world().robot.world_from_robot.distance_to(world.pose) < 0.02


def test_seeds_that_are_no_pose_are_refused() -> None:
    world = World()
    world.drive(0.1, REST)
    for pose, sigma_m, sigma_theta in (
        (Pose2(NAN, 0.0, 0.0), 0.1, 0.1),
        (Pose2(), 0.0, 0.1),
        (Pose2(), 0.1, -1.0),
        (Pose2(), math.inf, 0.1),
    ):
        with pytest.raises(ValueError, match="seed"):
            world.estimator.seed(pose, sigma_m, sigma_theta, world.t_ns)
    world.estimator.seed(Pose2(1.0, 2.0, 3.0), 0.1, 0.1, world.t_ns)
    assert world.world().robot.world_from_robot.x_m == pytest.approx(1.0)


def test_odometry_increments_that_cannot_be() -> None:
    """A reboot of odometry, NaN and repeated times are named; the pose stays and goes on."""
    estimator = World().estimator
    assert estimator.on_odometry(Pose2(), 0.0, 0) is Verdict.OK
    assert estimator.on_odometry(Pose2(0.05, 0.0, 0.0), 0.05, 50_000_000) is Verdict.OK
    assert estimator.on_odometry(Pose2(9.0, 0.0, 0.0), 0.05, 100_000_000) is Verdict.OUT_OF_RANGE
    assert estimator.on_odometry(Pose2(NAN, 0.0, 0.0), 0.05, 100_000_000) is Verdict.INVALID
    assert estimator.on_odometry(Pose2(0.01, 0.0, 0.0), 0.05, 50_000_000) is Verdict.STALE
    assert estimator.on_odometry(Pose2(0.05, 0.0, 0.0), 0.05, 100_000_000) is Verdict.OK
    assert estimator.belief(100_000_000).world_from_robot.x_m == pytest.approx(0.1, abs=1e-6)


def test_robots_cut_by_the_picture_hardly_tell_their_range() -> None:
    """A robot cut at the picture's side founds no track, and hardly moves the range of one that is there."""
    for whole_first in (True, False):
        world = World()
        world.drive(0.2, REST)
        for k in range(8):
            place = (1.5, 0.0) if whole_first and k < 4 else (1.2, 0.0)
            seen = sighting(world.t_ns, place, object_class=ObjectClass.ROBOT, truncated=place[0] < 1.5)
            world.pending.clear()
            world.estimator.on_observations(frame(k, world.t_ns), (seen,))
            world.drive(0.03, REST)
        objects = world.world().objects
        assert len(objects) == (1 if whole_first else 0)
        assert all(abs(o.position_in_world_m[0] - 1.5) < 0.03 for o in objects)
