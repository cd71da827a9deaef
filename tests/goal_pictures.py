"""Drawn pictures of a goal: floor and lines as in `test_field_lines`, the field's wall and the goal's three walls."""

from __future__ import annotations

import math

import cv2
import numpy as np

from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from tests.unit.test_field_lines import C922, GREEN, picture

FIELD = FieldGeometry()
WHITE, BLACK, YELLOW = (235, 238, 240), (28, 26, 25), (60, 190, 210)
THICK_M = 0.02


def goal_picture(pose: Pose2, *, goal=WHITE, board=BLACK, room=(150, 140, 135), carpet=GREEN, light=1.0, noise=3.0):
    """What the camera sees at `pose`: a goal before a low board and a room's wall."""
    image = picture(pose, carpet=carpet, noise=0.0)
    image[_above_floor(pose)] = room
    x, y, d, h = FIELD.length_m / 2, FIELD.goal_width_m / 2, FIELD.goal_depth_m, FIELD.goal_height_m
    back, reach, out = x + FIELD.boundary_m, 3.5, y + THICK_M
    _face(image, pose, [(back, -reach), (back, reach)], 0.10, board)
    _face(image, pose, [(x + d, -y), (x + d, y)], h, goal)
    for side in (1.0, -1.0):
        if side * pose.y_m < y:
            _face(image, pose, [(x, side * y), (x + d, side * y)], h, _darker(goal, 0.85))
    for side in (1.0, -1.0):
        if side * pose.y_m > out:
            _face(image, pose, [(x, side * out), (x + d + THICK_M, side * out)], h, _darker(goal, 0.85))
        _face(image, pose, [(x, side * y), (x, side * out)], h, goal)
    image = light * cv2.GaussianBlur(image.astype(float), (0, 0), 0.7)
    image += np.random.default_rng(1).normal(0.0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def feet(pose: Pose2):
    """Where the middles of the posts' fronts are in the picture."""
    x, y = FIELD.length_m / 2, FIELD.goal_width_m / 2 + 0.5 * THICK_M
    return _pixels(pose, [(x, y, 0.0), (x, -y, 0.0)])


def _above_floor(pose):
    k = C922.intrinsics
    grid = np.stack(np.meshgrid(np.arange(float(k.width_px)), np.arange(float(k.height_px))), -1)
    ground = C922.ground_points(grid.reshape(-1, 2))
    c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
    x, y = pose.x_m + c * ground[:, 0] - s * ground[:, 1], pose.y_m + s * ground[:, 0] + c * ground[:, 1]
    x_min, x_max, y_min, y_max = FIELD.wall_bounds_m()
    return ~((x > x_min) & (x < x_max) & (y > y_min) & (y < y_max)).reshape(grid.shape[:2])


def _pixels(pose, points):
    local = [(*pose.inverse().transform((x, y)), z) for x, y, z in points]
    return C922.project(np.array(local))


def _face(image, pose, foot, height, colour):
    (xa, ya), (xb, yb) = foot
    corners = _pixels(pose, [(xa, ya, 0.0), (xb, yb, 0.0), (xb, yb, height), (xa, ya, height)])
    if np.isfinite(corners).all():
        cv2.fillPoly(image, [np.rint(corners * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _darker(colour, share):
    return tuple(share * c for c in colour)
