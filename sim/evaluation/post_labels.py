"""The exact places of goal posts in a rendered picture, and which of them a finder can be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import Vec2

MAX_RANGE_M = 3.0
"""Beyond, a post's front is two pixels wide, and two rows below what is behind it."""
_FAR_M = 6.0
_FRONTAL_RAD = math.radians(70.0)
_SHOWN = 0.8
_MARGIN_PX = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TruePost:
    """One post: the middle of its front face at the foot and at the top in pixels, half the face's width in pixels; its
    range from the robot's centre, and the angle between the way to it and the field's axis.

    `visible`: its foot is 4 px inside of the picture, within 3 m, seen from less than 70 degrees off the axis, and four
    fifths of the line from foot to top are not hidden by a robot or ball.
    """

    foot_px: Vec2
    top_px: Vec2
    half_width_px: float
    range_m: float
    off_axis_rad: float
    visible: bool


def true_posts(
    camera: CameraModel,
    pose: Pose2,
    field: FieldGeometry,
    thickness_m: float,
    ids: NDArray[np.int16],
    others: list[int],
) -> tuple[TruePost, ...]:
    """Return the posts whose foot is in the picture.

    Args:
        camera: the true one.
        pose: of the robot, field frame.
        field: where goals stand.
        thickness_m: of their side walls.
        ids: (H, W) what each pixel shows, -1 for none.
        others: ids of robots and balls.
    """
    height, width = ids.shape
    found = []
    for x, y in field.goal_posts_m():
        outer = y + math.copysign(thickness_m, y)
        middle = 0.5 * (y + outer)
        line = [(x, middle, z) for z in np.linspace(0.0, 0.97 * field.goal_height_m, 20)]
        pixels = camera.project(_in_robot(pose, [*line, (x, y, 0.0), (x, outer, 0.0)]))
        foot = pixels[0]
        if not np.isfinite(pixels).all() or not (0.0 <= foot[0] <= width - 1.0 and 0.0 <= foot[1] <= height - 1.0):
            continue
        across, away = middle - pose.y_m, math.copysign(1.0, x) * (x - pose.x_m)
        range_m = math.hypot(x - pose.x_m, across)
        if range_m > _FAR_M:
            continue
        shown = pixels[:20][(pixels[:20] > -0.5).all(axis=1) & (pixels[:20] < (width - 0.5, height - 0.5)).all(axis=1)]
        at = np.rint(shown).astype(int)
        free = ~np.isin(ids[at[:, 1], at[:, 0]], others)
        m = _MARGIN_PX
        inside = m <= foot[0] <= width - 1.0 - m and m <= foot[1] <= height - 1.0 - m
        off_axis = math.atan2(abs(across), away)
        found.append(
            TruePost(
                foot_px=(float(foot[0]), float(foot[1])),
                top_px=(float(pixels[19, 0]), float(pixels[19, 1])),
                half_width_px=0.5 * abs(float(pixels[21, 0] - pixels[20, 0])),
                range_m=range_m,
                off_axis_rad=off_axis,
                visible=bool(
                    inside and off_axis < _FRONTAL_RAD and range_m < MAX_RANGE_M and free.sum() >= _SHOWN * len(line)
                ),
            )
        )
    return tuple(found)


def _in_robot(pose: Pose2, points: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
    away = np.array(points) - np.array([pose.x_m, pose.y_m, 0.0])
    return np.stack((c * away[:, 0] + s * away[:, 1], -s * away[:, 0] + c * away[:, 1], away[:, 2]), axis=1)
