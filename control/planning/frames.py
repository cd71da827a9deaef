"""The world in the frame of dead reckoning: for plays that need no place on the field, and must not feel it jump."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robot.core.geometry import FloatArray, Pose2, rotate_covariance, rotation
from robot.core.messages import Cov2, Localisation, WorldModel


def in_odometry(world: WorldModel) -> WorldModel:
    """Return the same beliefs with the odometry frame as the world frame; localisation says ODOMETRY.

    When a search finds the pose on the field, the world frame jumps, and places that a play remembers in it are wrong.
    The odometry frame never jumps. A state without `odom_from_robot` comes back as it is.
    """
    robot = world.robot
    if robot.odom_from_robot is None or robot.localisation is Localisation.ODOMETRY:
        return world
    turn = robot.odom_from_robot @ robot.world_from_robot.inverse()
    ball = world.ball
    return replace(
        world,
        robot=replace(
            robot,
            world_from_robot=robot.odom_from_robot,
            covariance=_turned3(robot.covariance, turn),
            localisation=Localisation.ODOMETRY,
            mirror_ambiguous=False,
        ),
        ball=replace(
            ball,
            ball_in_world_m=turn.transform(ball.ball_in_world_m),
            velocity_in_world_m_s=turn.rotate(ball.velocity_in_world_m_s),
            covariance_m2=_turned(ball.covariance_m2, turn),
        )
        if ball.valid
        else ball,
        objects=tuple(
            replace(
                o,
                position_in_world_m=turn.transform(o.position_in_world_m),
                covariance_m2=_turned(o.covariance_m2, turn),
            )
            for o in world.objects
        ),
    )


def _turned(covariance: Cov2, turn: Pose2) -> Cov2:
    (a, b), (c, d) = rotate_covariance(np.array(covariance), turn.theta_rad).tolist()
    return ((a, b), (c, d))


def _turned3(covariance: tuple[tuple[float, float, float], ...], turn: Pose2) -> tuple[tuple[float, float, float], ...]:
    r = np.eye(3)
    r[:2, :2] = rotation(turn.theta_rad)
    turned: FloatArray = r @ np.array(covariance) @ r.T
    return tuple((float(a), float(b), float(c)) for a, b, c in turned)
