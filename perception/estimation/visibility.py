"""Would the camera have shown an object standing there? Without an answer a missing detection proves nothing."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from perception.camera.model import CameraModel
from perception.estimation.config import FootprintConfig
from robot.core.messages import Vec2


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
