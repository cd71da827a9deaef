"""From which side to take a ball that lies near a wall."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from control.config import ApproachConfig
from robot.core.body import RobotBody
from robot.core.geometry import FloatArray

Vec2 = tuple[float, float]
BoolArray = NDArray[np.bool_]

_STEP_RAD = math.radians(5.0)
_STEPS = 24
_TIE_M = 0.008
_SIDE_M = 0.6
_WALL_THICKNESS_M = 0.05
"""Wall points are a few centimetres apart, and the robot's centre is never this near to a wall."""


def approach_heading(
    ball_world_m: Vec2,
    robot_world_m: Vec2,
    wanted_rad: float,
    wall_points: FloatArray,
    body: RobotBody,
    config: ApproachConfig,
) -> float:
    """Return the heading, nearest to the wanted one, in which the robot can stand behind the ball clear of the walls.

    A ball at a wall cannot be taken along the wall: the body is wider than the gap. Trying the robot's way from its
    pre-dock to its final place against the wall's points needs no wall model, and handles corners as well.

    Args:
        ball_world_m: the ball.
        robot_world_m: where the robot is: on the right side of every wall.
        wanted_rad: world heading in which the ball would be taken without walls.
        wall_points: (N, 2) points of the carpet's edge near the ball, world frame.
        body: radius and mouth.
        config: wanted clearance and pre-dock distance.

    Returns:
        World heading in radians (not wrapped). When no heading is clear, the one with the most room.
    """
    if len(wall_points) == 0:
        return wanted_rad
    offsets = np.concatenate([[0.0], *[[k * _STEP_RAD, -k * _STEP_RAD] for k in range(1, _STEPS + 1)]])
    headings = wanted_rad + offsets
    ahead = np.column_stack([np.cos(headings), np.sin(headings)])
    # the robot's centre goes from the pre-dock to the final place: distance of each wall point to that stretch
    near, far = body.ball_hold_x_m(), config.pre_dock_m
    dx, dy = wall_points[:, 0] - ball_world_m[0], wall_points[:, 1] - ball_world_m[1]
    behind = -(ahead[:, :1] * dx + ahead[:, 1:] * dy)
    across = ahead[:, :1] * dy - ahead[:, 1:] * dx
    beyond = behind - np.clip(behind, near, far)
    room = np.hypot(beyond, across).min(axis=1) - body.radius_m
    room[_crosses(np.asarray(ball_world_m) - far * ahead, _nearer(ball_world_m, robot_world_m), wall_points)] = -np.inf
    clear = np.flatnonzero(room >= config.wall_clearance_m)
    if not clear.size:  # nearly the most room, nearest to the wanted line: the choice must not jump with every point
        clear = np.flatnonzero(room >= max(float(room.max()), -body.radius_m) - _TIE_M)
    return float(headings[clear[0]]) if clear.size else wanted_rad


def _nearer(ball_world_m: Vec2, robot_world_m: Vec2) -> Vec2:
    """Return the robot's place, or one on the way to it that is `_SIDE_M` from the ball: on the same side of walls."""
    dx, dy = robot_world_m[0] - ball_world_m[0], robot_world_m[1] - ball_world_m[1]
    share = min(1.0, _SIDE_M / max(math.hypot(dx, dy), 1e-9))
    return ball_world_m[0] + share * dx, ball_world_m[1] + share * dy


def _crosses(places: FloatArray, start: Vec2, wall_points: FloatArray) -> BoolArray:
    """Return which straight ways from `start` to the (N, 2) places run through the walls' points."""
    way = places - start
    square = np.maximum((way**2).sum(axis=1), 1e-12)
    offsets = wall_points - start
    share = np.clip((offsets @ way.T).T / square[:, None], 0.0, 1.0)
    gaps = offsets[None, :, :] - share[:, :, None] * way[:, None, :]
    nearest: FloatArray = np.hypot(gaps[:, :, 0], gaps[:, :, 1]).min(axis=1)
    return nearest < _WALL_THICKNESS_M
