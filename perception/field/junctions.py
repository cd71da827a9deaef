"""Where segments meet: what a robot can tell one place of the field from another by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.field.edge import floor_is_seen
from perception.field.features import LineSegment, SeenJunction
from perception.field.model import JunctionKind, junction_of_arms
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Vec2

_ARM_M = 0.12
"""A line that goes on this far beyond a meeting point has an arm there."""
_LOOK_M = 0.18
"""How far beyond it is looked whether floor is to be seen at all."""
_LEAST_M = 0.05
_SLACK_PX = 12.0
_SQUARE_RAD = math.radians(17.0)


def find_junctions(
    segments: Sequence[LineSegment],
    camera: CameraModel,
    mask: NDArray[np.bool_],
    boxes_px: tuple[BoxPx, ...] = (),
    tilt_rad: Vec2 = (0.0, 0.0),
) -> tuple[SeenJunction, ...]:
    """Return where two segments meet at right angles on the floor, if all four directions from there can be seen.

    A direction without an arm counts only where floor is seen: what a robot hides may well go on.
    """
    if len(segments) < 2:
        return ()
    ends = np.array([segment.ends_in_robot_m for segment in segments])
    way = ends[:, 1] - ends[:, 0]
    length = np.hypot(way[:, 0], way[:, 1])
    unit = way / np.maximum(length, 1e-9)[:, None]
    sine = np.abs(np.outer(unit[:, 0], unit[:, 1]) - np.outer(unit[:, 1], unit[:, 0]))
    square = np.triu(sine >= math.cos(_SQUARE_RAD)) & (length >= _LEAST_M) & (length >= _LEAST_M)[:, None]
    pairs = [(ends[i], ends[j]) for i, j in np.argwhere(square).tolist()]
    found = [_meeting(a, b, camera, mask, boxes_px, tilt_rad) for a, b in pairs]
    return tuple(junction for junction in found if junction is not None)


def _meeting(
    a: FloatArray,
    b: FloatArray,
    camera: CameraModel,
    mask: NDArray[np.bool_],
    boxes: tuple[BoxPx, ...],
    tilt_rad: Vec2,
) -> SeenJunction | None:
    (a0, a1), (b0, b1) = a, b
    ua, ub = a1 - a0, b1 - b0
    long_a, long_b = math.hypot(*ua), math.hypot(*ub)
    ua, ub = ua / long_a, ub / long_b
    sine = float(ua[0] * ub[1] - ua[1] * ub[0])
    away = b0 - a0
    at_a = float(away[0] * ub[1] - away[1] * ub[0]) / sine
    at_b = float(away[0] * ua[1] - away[1] * ua[0]) / sine
    place = a0 + at_a * ua
    pixel = camera.project([[place[0], place[1], 0.0]], tilt_rad)[0]
    if not np.isfinite(pixel).all():
        return None
    # Metres per pixel along each segment: far segments end where the last scan line happened to see them.
    slack = [max(0.06, _SLACK_PX * _pixel_size(camera, place, u, tilt_rad)) for u in (ua, ub)]
    if not (-slack[0] < at_a < long_a + slack[0] and -slack[1] < at_b < long_b + slack[1]):
        return None
    arms: list[Vec2] = []
    for at, length, unit, gap in ((at_a, long_a, ua, slack[0]), (at_b, long_b, ub, slack[1])):
        for sign, reach in ((-1.0, at), (1.0, length - at)):
            need = max(_ARM_M, gap)
            if reach > need:
                arms.append((sign * float(unit[0]), sign * float(unit[1])))
            elif not floor_is_seen(camera, (place + sign * max(_LOOK_M, need) * unit)[None], mask, boxes, tilt_rad)[0]:
                return None
    if len(arms) == 2 and abs(arms[0][0] * arms[1][0] + arms[0][1] * arms[1][1]) > 0.5:
        return None  # both arms of one segment: the other one ends nowhere
    junction = junction_of_arms((float(place[0]), float(place[1])), arms)
    if junction is None:
        return None
    seen = camera.ground_point(float(pixel[0]), float(pixel[1]), tilt_rad)
    if seen is None:
        return None
    heading = junction.heading_rad
    if junction.kind is JunctionKind.X:
        heading = math.atan2(ua[1], ua[0])
    return SeenJunction(
        kind=junction.kind,
        pixel_px=(float(pixel[0]), float(pixel[1])),
        position_in_robot_m=junction.position_m,
        covariance_m2=seen.covariance_m2,
        heading_in_robot_rad=heading,
    )


def _pixel_size(camera: CameraModel, place: FloatArray, unit: FloatArray, tilt_rad: Vec2) -> float:
    """Return how many metres along `unit` one pixel is at a place on the floor."""
    ends = np.array([[*(place - 0.02 * unit), 0.0], [*(place + 0.02 * unit), 0.0]])
    pixels = camera.project(ends, tilt_rad)
    apart = float(np.hypot(*(pixels[1] - pixels[0])))
    return 0.04 / max(apart, 1e-3) if math.isfinite(apart) else 1.0
