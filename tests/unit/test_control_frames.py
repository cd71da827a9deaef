"""A play that needs no field does not feel the world frame jump."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.planning.frames import in_odometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import BallState, Localisation, ObjectClass, RobotState, TrackedObject, WorldModel

FIELD_FROM_ODOM = Pose2(-2.0, 1.0, 2.4)
ODOM_FROM_ROBOT = Pose2(0.7, -0.3, 0.9)
BALL_IN_ODOM = (1.5, 0.4)


def world(field_from_odom: Pose2, localisation: Localisation) -> WorldModel:
    robot = RobotState(
        seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, world_from_robot=field_from_odom @ ODOM_FROM_ROBOT,
        twist_in_robot=Twist2(), covariance=((4.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.1)),
        localisation=localisation, odom_from_robot=ODOM_FROM_ROBOT,
    )  # fmt: skip
    ball = BallState(
        seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, ball_in_world_m=field_from_odom.transform(BALL_IN_ODOM),
        velocity_in_world_m_s=field_from_odom.rotate((0.3, 0.0)),
    )  # fmt: skip
    other = TrackedObject(
        track_id=1, object_class=ObjectClass.ROBOT, position_in_world_m=field_from_odom.transform((2.0, 2.0)),
        covariance_m2=((1.0, 0.0), (0.0, 1.0)), age_ns=0, sightings=5,
    )  # fmt: skip
    return WorldModel(seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, robot=robot, ball=ball, objects=(other,))


def test_finding_the_pose_moves_nothing_in_the_odometry_frame() -> None:
    before = in_odometry(world(Pose2(), Localisation.ODOMETRY))
    after = in_odometry(world(FIELD_FROM_ODOM, Localisation.TRACKING))
    assert after.robot.world_from_robot == ODOM_FROM_ROBOT == before.robot.world_from_robot
    assert after.robot.localisation is Localisation.ODOMETRY
    assert after.ball.ball_in_world_m == pytest.approx(BALL_IN_ODOM)
    assert after.ball.velocity_in_world_m_s == pytest.approx((0.3, 0.0))
    assert after.objects[0].position_in_world_m == pytest.approx((2.0, 2.0))


def test_the_covariance_turns_with_the_frame() -> None:
    quarter = world(Pose2(1.0, 1.0, 1.5707963267948966), Localisation.TRACKING)
    turned = in_odometry(quarter).robot.covariance
    assert (turned[0][0], turned[1][1], turned[2][2]) == pytest.approx((1.0, 4.0, 0.1))


def test_a_state_without_dead_reckoning_comes_back_as_it_is() -> None:
    plain = world(FIELD_FROM_ODOM, Localisation.TRACKING)
    plain = replace(plain, robot=replace(plain.robot, odom_from_robot=None))
    assert in_odometry(plain) is plain
