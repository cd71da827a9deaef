"""Gauss-Newton on many poses at once: each slides to where its points lie on markings."""

from __future__ import annotations

import numpy as np

from perception.localisation.field_map import FieldMap
from perception.localisation.views import Views, residuals
from robot.core.geometry import FloatArray

_POINTS = 160
_TILT_SIGMA_RAD = 0.004
_REACH = 9.0
"""Squared sigmas at which a point loses half of its pull (Cauchy)."""

_LOOSE_M = 0.06
"""Added to every point's sigma: a candidate from the grid is off by as much."""

_LEAST = np.diag([1e-3, 1e-3, 1e-3, 0.0, 0.0])


def refine(field_map: FieldMap, views: Views, poses: FloatArray, tilts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Do one round.

    Args:
        field_map: the map.
        views: what was seen.
        poses: (H, 3) `field_from_odom`.
        tilts: (H, 2) pitch and roll of the camera off its calibration.

    Returns:
        Better poses and tilts.
    """
    points = views.joined().every(_POINTS)
    offset, variance, by_all = residuals(field_map, points, poses, tilts)
    variance = variance + _LOOSE_M**2
    weight = 1.0 / (variance * (1.0 + offset**2 / (_REACH * variance)) ** 2)
    weighted = by_all * weight[..., None]
    gain = weighted.transpose(0, 2, 1) @ by_all + _LEAST
    slope = (weighted.transpose(0, 2, 1) @ offset[..., None])[..., 0]
    prior = 1.0 / _TILT_SIGMA_RAD**2
    gain[:, 3, 3] += prior
    gain[:, 4, 4] += prior
    slope[:, 3:] += prior * tilts
    step = np.linalg.solve(gain, slope[..., None])[..., 0]
    return poses - step[:, :3], tilts - step[:, 3:]
