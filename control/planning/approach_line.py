"""From which side to take a ball that lies near a wall."""

from __future__ import annotations

import math

import numpy as np

from control.config import ApproachConfig
from robot.core.body import RobotBody
from robot.core.geometry import FloatArray

Vec2 = tuple[float, float]

_STEP_RAD = math.radians(5.0)
_STEPS = 24
_TIE_M = 0.008


def approach_heading(
    ball_world_m: Vec2, direct_rad: float, wall_points: FloatArray, body: RobotBody, config: ApproachConfig
) -> float:
    """Return the heading, nearest to the direct one, in which the robot can stand behind the ball clear of the walls.

    A ball at a wall cannot be taken along the wall: the body is wider than the gap. Trying the robot's final and
    pre-dock places against the wall's points needs no wall model, and handles corners as well.

    Args:
        ball_world_m: the ball.
        direct_rad: world heading from the robot to the ball.
        wall_points: (N, 2) points of the carpet's edge near the ball, world frame.
        body: radius and mouth.
        config: wanted clearance and pre-dock distance.

    Returns:
        World heading in radians (not wrapped). When no heading is clear, the one with the most room.
    """
    if len(wall_points) == 0:
        return direct_rad
    offsets = np.concatenate([[0.0], *[[k * _STEP_RAD, -k * _STEP_RAD] for k in range(1, _STEPS + 1)]])
    headings = direct_rad + offsets
    ahead = np.column_stack([np.cos(headings), np.sin(headings)])
    room = np.full(len(headings), np.inf)
    for behind_m in (body.ball_hold_x_m(), config.pre_dock_m):
        centres = np.asarray(ball_world_m) - behind_m * ahead
        gaps = np.hypot(centres[:, None, 0] - wall_points[None, :, 0], centres[:, None, 1] - wall_points[None, :, 1])
        room = np.minimum(room, gaps.min(axis=1) - body.radius_m)
    clear = np.flatnonzero(room >= config.wall_clearance_m)
    if not clear.size:  # nearly the most room, nearest to the direct line: the choice must not jump with every point
        clear = np.flatnonzero(room >= room.max() - _TIE_M)
    return float(headings[clear[0]])
