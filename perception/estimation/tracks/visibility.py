"""Would the camera have shown an object standing there? Without an answer a missing detection proves nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from perception.camera.model import CameraModel
from perception.estimation.config import FootprintConfig
from robot.core.messages import Vec2

_HIDDEN_MARGIN_RAD = 0.01


@dataclass(frozen=True, slots=True)
class Occluder:
    """A robot that hides what stands behind it: the bearings between which it does, from the camera, and its range."""

    right_rad: float
    left_rad: float
    range_m: float


def occluder(place_in_robot_m: Vec2, radius_m: float, camera_m: Vec2) -> Occluder:
    """Return what a round thing of that radius hides."""
    x, y = place_in_robot_m[0] - camera_m[0], place_in_robot_m[1] - camera_m[1]
    range_m, bearing = math.hypot(x, y), math.atan2(y, x)
    half = math.asin(min(1.0, radius_m / max(range_m, 1e-6)))
    return Occluder(bearing - half, bearing + half, range_m)


def hidden(place_in_robot_m: Vec2, radius_m: float, camera_m: Vec2, occluders: Iterable[Occluder]) -> bool:
    """True when something of that radius is wholly or partly hidden: then a missing box proves nothing.

    Args:
        place_in_robot_m: its centre, robot frame.
        radius_m: half its width.
        camera_m: the camera's place on the floor, robot frame.
        occluders: what stands in the way.
    """
    x, y = place_in_robot_m[0] - camera_m[0], place_in_robot_m[1] - camera_m[1]
    range_m, bearing = math.hypot(x, y), math.atan2(y, x)
    half = math.asin(min(1.0, radius_m / max(range_m, 1e-6))) + _HIDDEN_MARGIN_RAD
    return any(
        range_m > o.range_m + 0.5 * radius_m and o.right_rad - half < bearing < o.left_rad + half for o in occluders
    )


class Visibility(Protocol):
    """Answers where an object ought to be seen."""

    def range_if_visible(self, position_in_robot_m: Vec2, height_m: float) -> float | None:
        """Return the range at which a frame ought to show an object of that height there, or None where it cannot."""
        ...


class FootprintVisibility:
    """A wedge on the floor, for robots without a camera model."""

    def __init__(self, footprint: FootprintConfig) -> None:
        self._footprint = footprint

    def range_if_visible(self, position_in_robot_m: Vec2, height_m: float) -> float | None:
        """See `Visibility`."""
        x, y = position_in_robot_m
        range_m = math.hypot(x, y)
        f = self._footprint
        inside = f.min_range_m < range_m < f.max_range_m and abs(math.atan2(y, x)) < f.half_angle_rad
        return range_m if inside else None


class CameraVisibility:
    """The camera model itself: the object's foot and top must lie inside the picture, with a margin."""

    def __init__(self, camera: CameraModel, margin_px: float = 10.0, max_range_m: float = 6.0) -> None:
        self._camera = camera
        self._margin_px = margin_px
        self._max_range_m = max_range_m

    def range_if_visible(self, position_in_robot_m: Vec2, height_m: float) -> float | None:
        """See `Visibility`."""
        x, y = position_in_robot_m
        range_m = math.hypot(x, y)
        if not 0.0 < range_m < self._max_range_m or x <= 0.0:
            return None
        pixels = self._camera.project(np.array([[x, y, 0.0], [x, y, height_m]]))
        k, m = self._camera.intrinsics, self._margin_px
        u, v = pixels[:, 0], pixels[:, 1]
        inside = (u > m) & (u < k.width_px - m) & (v > m) & (v < k.height_px - m)
        return range_m if bool(inside.all()) else None
