"""How far the carpet goes in a direction, from the carpet's edge in the last picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robot.core.geometry import FloatArray

Vec2 = tuple[float, float]


def clear_distance_m(free_range_m: Sequence[Vec2], direction_rad: float, half_width_m: float) -> float | None:
    """Return how far a body of that half width can go straight before its centre line meets the carpet's edge.

    Args:
        free_range_m: (bearing_rad, range_m) pairs in the robot frame, as in `WorldModel`.
        direction_rad: direction of travel in the robot frame.
        half_width_m: half the width of the corridor that must be clear.

    Returns:
        Distance from the robot's centre in metres, or None where the picture does not show that direction.
    """
    nearest: float | None = None
    left_seen = right_seen = False
    for bearing_rad, range_m in free_range_m:
        offset = bearing_rad - direction_rad
        along, across = range_m * math.cos(offset), range_m * math.sin(offset)
        if along <= 0.0:
            continue
        left_seen = left_seen or across >= 0.0
        right_seen = right_seen or across <= 0.0
        if abs(across) <= half_width_m and (nearest is None or along < nearest):
            nearest = along
    return nearest if left_seen and right_seen else None


def nearest_ahead_m(points_m: FloatArray, start_m: Vec2, heading_rad: float, half_width_m: float) -> float:
    """Return how far the nearest of some points is along a corridor; infinite when none is in it.

    Args:
        points_m: (N, 2) points, for instance those of walls, in any frame.
        start_m: where the corridor begins, same frame.
        heading_rad: its direction, same frame.
        half_width_m: half its width.
    """
    if len(points_m) == 0:
        return math.inf
    dx, dy = points_m[:, 0] - start_m[0], points_m[:, 1] - start_m[1]
    c, s = math.cos(heading_rad), math.sin(heading_rad)
    along, across = dx * c + dy * s, dy * c - dx * s
    inside = along[(along > 0.0) & (np.abs(across) <= half_width_m)]
    return float(inside.min()) if inside.size else math.inf
