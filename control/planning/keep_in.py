"""Keeping goals inside the walls when the robot knows where on the field it is."""

from __future__ import annotations

from dataclasses import replace

from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import Localisation, RobotState


def keep_in(goal_in_world: Pose2, robot: RobotState, field: FieldGeometry, margin_m: float) -> Pose2:
    """Return the goal moved inside the walls by `margin_m`; unchanged while the world frame is not the field's.

    Args:
        goal_in_world: where a skill wants to go.
        robot: says whether the world frame is the field frame (SEEDED or TRACKING).
        field: where the walls stand.
        margin_m: distance that the robot's centre keeps from every wall.
    """
    if robot.localisation not in (Localisation.SEEDED, Localisation.TRACKING):
        return goal_in_world
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    return replace(
        goal_in_world,
        x_m=min(max(goal_in_world.x_m, x_min + margin_m), x_max - margin_m),
        y_m=min(max(goal_in_world.y_m, y_min + margin_m), y_max - margin_m),
    )
