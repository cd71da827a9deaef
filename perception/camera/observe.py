"""Boxes to places: every detection of a frame becomes a `FieldObservation` in the robot frame, with a covariance.

A ball is placed by one point of its box on the plane that runs as far up the ball (see `ContactRule`); a robot by the
foot of its box, moved back to its centre; a goal by the foot of its box. Where the picture's edge cuts a box, the
hidden side is rebuilt from the side that is seen, the noise is widened and `truncated` is set: a ball cut at the
bottom (the last 0.4 m) keeps an exact bearing and is ranged by its top edge; a robot whose foot is below the picture
is ranged by its width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from perception.camera.model import CameraModel, GroundPoint
from perception.camera.parameters import BALL_ROWS, ContactRule
from robot.core.field import BALL_RADIUS_M, MAX_ROBOT_RADIUS_M
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Detection, DetectionBatch, FieldObservation, ObjectClass, Vec2

EDGE_MARGIN_PX = 2.0
"""A box this near to the picture's edge counts as cut by it (detectors stop a pixel or two short)."""

SMALL_BALL = (0.0436, 0.0311)
"""Tangents (width, height) of a box that is mostly margin: 28 x 20 px at the C922's 640x480, a ball 2.5 m away."""

_WIDTH_SHARE = 0.12
"""Noise of a robot's width in the picture, as a share of it: arms, covers and shadows belong to some boxes."""

_CUT_SHARE = 0.15
"""Noise of a point rebuilt behind the picture's edge, as a share of the box."""


def observe(batch: DetectionBatch, camera: CameraModel, tilt_rad: Vec2 = (0.0, 0.0)) -> tuple[FieldObservation, ...]:
    """Place a frame's detections on the floor.

    Args:
        batch: boxes in pixels of the camera's own picture size; other sizes are scaled to it.
        camera: the calibrated camera.
        tilt_rad: (pitch, roll) of the body at capture time.

    Returns:
        One observation per detection that stands on visible floor, in the batch's order; boxes whose foot is at or
        above the horizon have no place and are left out. Headers are those of the batch, `seq` counts within it.
    """
    width, height = batch.image_size_px
    scale = (camera.intrinsics.width_px / width, camera.intrinsics.height_px / height)
    return tuple(
        FieldObservation(
            seq=index,
            t_capture_ns=batch.t_capture_ns,
            t_receive_ns=batch.t_receive_ns,
            valid=batch.valid,
            object_class=detection.object_class,
            score=detection.score,
            position_in_robot_m=point.position_in_robot_m,
            covariance_m2=point.covariance_m2,
            box_px=detection.box_px,
            truncated=cut,
        )
        for index, (detection, point, cut) in enumerate(_places(batch.detections, camera, tilt_rad, scale))
    )


def _places(
    detections: Iterable[Detection], camera: CameraModel, tilt_rad: Vec2, scale: Vec2
) -> Iterable[tuple[Detection, GroundPoint, bool]]:
    for detection in detections:
        x_min, y_min, x_max, y_max = detection.box_px
        box = (x_min * scale[0], y_min * scale[1], x_max * scale[0], y_max * scale[1])
        point, cut = place(detection.object_class, box, camera, tilt_rad)
        if point is not None:
            yield detection, point, cut


def place(
    object_class: ObjectClass, box_px: BoxPx, camera: CameraModel, tilt_rad: Vec2 = (0.0, 0.0)
) -> tuple[GroundPoint | None, bool]:
    """Return (place of one box or None above the horizon, whether the picture's edge cuts it)."""
    if object_class is ObjectClass.BALL:
        return _place_ball(box_px, camera, tilt_rad)
    return _place_standing(object_class, box_px, camera, tilt_rad)


def cut_sides(box_px: BoxPx, camera: CameraModel) -> tuple[bool, bool, bool, bool]:
    """Return which sides the picture's edge cuts: left, top, right, bottom."""
    x_min, y_min, x_max, y_max = box_px
    size = camera.intrinsics
    return (
        x_min <= EDGE_MARGIN_PX,
        y_min <= EDGE_MARGIN_PX,
        x_max >= size.width_px - EDGE_MARGIN_PX,
        y_max >= size.height_px - EDGE_MARGIN_PX,
    )


def _place_ball(box_px: BoxPx, camera: CameraModel, tilt_rad: Vec2) -> tuple[GroundPoint | None, bool]:
    x_min, y_min, x_max, y_max = box_px
    left, top, right, bottom = cut_sides(box_px, camera)
    noise, rule = camera.noise, camera.contact
    width, height = x_max - x_min, y_max - y_min
    column, up = 0.5 * (x_min + x_max), rule.ball
    sigma_u = math.hypot(noise.column_px, noise.box_share * width)
    sigma_v = math.hypot(noise.row_px, noise.box_share * height)
    if bottom and not top:
        # Its foot is out of the picture, its top is not: range by the plane through the ball's top.
        up = 1.0
        sigma_v = math.hypot(sigma_v, _CUT_SHARE * width)
    if left != right and not bottom:
        # A ball is as wide as high: rebuild the hidden side.
        width = height
        column = x_max - 0.5 * height if left else x_min + 0.5 * height
        sigma_u = math.hypot(sigma_u, _CUT_SHARE * height)
    elif left or right:
        sigma_u = math.hypot(sigma_u, 0.5 * width)
    u = column - 0.5
    rows = ball_row_slopes(u, width, height, camera)
    v = _with_rows(y_max - up * height - 0.5, rows, rule)
    per_ball = (0.0, 0.0) if bottom and not top else (-height, 2.0 * BALL_RADIUS_M)
    slopes = (*per_ball, rows)
    point = camera.ground_point(u, v, tilt_rad, 2.0 * BALL_RADIUS_M * up, (sigma_u, sigma_v), slopes)
    return point, left or top or right or bottom


def _place_standing(
    object_class: ObjectClass, box_px: BoxPx, camera: CameraModel, tilt_rad: Vec2
) -> tuple[GroundPoint | None, bool]:
    x_min, y_min, x_max, y_max = box_px
    left, _, right, bottom = cut_sides(box_px, camera)
    noise, rule = camera.noise, camera.contact
    width, height = x_max - x_min, y_max - y_min
    is_robot = object_class is ObjectClass.ROBOT
    # A goal's foot is the near post's when seen at an angle: its row says less than a robot's.
    share = noise.box_share if is_robot else max(noise.box_share, 0.1)
    sigma_u = math.hypot(noise.column_px, noise.box_share * width)
    sigma_v = math.hypot(noise.row_px, share * height)
    if is_robot and bottom and not (left or right):
        return _place_by_width(box_px, camera, tilt_rad, sigma_u), True
    if left or right:
        sigma_u = math.hypot(sigma_u, 0.5 * width)
    if bottom:
        # The foot is nearer than what is seen: the place is too far, by an unknown part of the box.
        sigma_v = math.hypot(sigma_v, 0.5 * height)
    up = rule.robot if is_robot else rule.goal
    point = camera.ground_point(
        0.5 * (x_min + x_max) - 0.5, y_max - up * height - 0.5, tilt_rad, 0.0, (sigma_u, sigma_v)
    )
    # A tall object cut at its top is placed as well as ever: only its foot counts.
    if point is not None and is_robot:
        point = _behind(point, camera, rule.robot_depth_m)
    return point, left or right or bottom


def _place_by_width(box_px: BoxPx, camera: CameraModel, tilt_rad: Vec2, sigma_u: float) -> GroundPoint | None:
    """Place a robot whose foot is below the picture: bearing from its middle, range from how wide a robot is."""
    x_min, _, x_max, y_max = box_px
    rays = camera.rays_in_robot([[x - 0.5, y_max - 0.5] for x in (x_min, x_max)], tilt_rad)
    left, right = (math.atan2(float(ray[1]), float(ray[0])) for ray in rays)
    half, bearing = 0.5 * math.remainder(left - right, math.tau), math.remainder(right, math.tau)
    if not 0.0 < half < 0.5 * math.pi:
        return None
    bearing += half
    distance = MAX_ROBOT_RADIUS_M / math.sin(half)
    c, s = math.cos(bearing), math.sin(bearing)
    along = (distance * math.hypot(_WIDTH_SHARE, 2.0 * sigma_u / (x_max - x_min))) ** 2
    across = (distance * math.hypot(sigma_u / camera.intrinsics.fx, camera.noise.yaw_rad)) ** 2
    along, across = along + camera.noise.position_m**2, across + camera.noise.position_m**2
    mixed = c * s * (along - across)
    return GroundPoint(
        (camera.mounting.x_m + distance * c, camera.mounting.y_m + distance * s),
        ((c * c * along + s * s * across, mixed), (mixed, s * s * along + c * c * across)),
    )


def _behind(point: GroundPoint, camera: CameraModel, depth_m: float) -> GroundPoint:
    """Move a place away from the camera along its line of sight."""
    x, y = point.position_in_robot_m
    dx, dy = x - camera.mounting.x_m, y - camera.mounting.y_m
    stretch = depth_m / max(math.hypot(dx, dy), 1e-6)
    return GroundPoint((x + stretch * dx, y + stretch * dy), point.covariance_m2)


def ball_points_px(boxes_px: ArrayLike, camera: CameraModel) -> FloatArray:
    """Return the pixels (N, 2) by which uncut ball boxes (N, 4) are placed; the plane is `ball_plane_m`."""
    boxes = np.asarray(boxes_px, dtype=float).reshape(-1, 4)
    u = 0.5 * (boxes[:, 0] + boxes[:, 2]) - 0.5
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    foot = boxes[:, 3] - camera.contact.ball * height - 0.5
    return np.stack((u, _with_rows(foot, ball_row_slopes(u, width, height, camera), camera.contact)), axis=1)


def ball_row_slopes(u: Any, width: Any, height: Any, camera: CameraModel) -> tuple[Any, ...]:
    """Return by how much a ball's row moves per pixel of each of `BALL_ROWS`; floats, or arrays of one shape.

    The bow is the squared column tangent. The others count in full for a ball of `SMALL_BALL` or less, and fade with
    the box's area: near balls fill their boxes, and what a margin does to far ones says nothing about them. What the
    box's height and width tell is by how much it is lower, or narrower, than `SMALL_BALL` (half of it at most): such
    boxes miss a part of the ball, or of the margin, and on one side of the picture another than on the other.

    Args:
        u: column of the box's middle, pixels.
        width: of the box, pixels, above 0.
        height: the same.
        camera: its focal lengths make pixels to tangents, so that the rule does not depend on the picture's size.
    """
    lens = camera.intrinsics
    column = (u - lens.cx) / lens.fx
    small_width, small_height = SMALL_BALL[0] * lens.fx, SMALL_BALL[1] * lens.fy
    full = small_width * small_width
    share = full / _larger(width * height, full)
    lower = share * (small_height / _larger(height, 0.5 * small_height) - 1.0)
    narrower = share * (small_width / _larger(width, 0.5 * small_width) - 1.0)
    return column**2, lower, narrower, share * column, lower * column


def _larger(a: Any, b: float) -> Any:
    """Return max(a, b), for floats and arrays alike."""
    return 0.5 * (a + b + abs(a - b))


def _with_rows(v: Any, slopes: tuple[Any, ...], rule: ContactRule) -> Any:
    """Add what the contact rule adds to a ball's row."""
    for name, slope in zip(BALL_ROWS, slopes, strict=True):
        v = v + getattr(rule, name) * slope
    return v


def ball_plane_m(camera: CameraModel) -> float:
    """Return the height of the plane on which `ball_points_px` are placed, metres."""
    return 2.0 * BALL_RADIUS_M * camera.contact.ball


def side_bearings(box_px: BoxPx, camera: CameraModel, tilt_rad: Vec2 = (0.0, 0.0)) -> tuple[float | None, float | None]:
    """Return the bearings (robot frame, rad, counter-clockwise) of a box's left and right side: a goal's two posts.

    Measured from the camera, at the foot of the box; None for a side that the picture's edge cuts.
    """
    x_min, _, x_max, y_max = box_px
    left, _, right, _ = cut_sides(box_px, camera)
    rays = camera.rays_in_robot([[x_min - 0.5, y_max - 0.5], [x_max - 0.5, y_max - 0.5]], tilt_rad)
    angles = [math.atan2(float(ray[1]), float(ray[0])) for ray in rays]
    return (None if left else angles[0]), (None if right else angles[1])
