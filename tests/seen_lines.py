"""What a line finder would see of Division B from given poses: exact geometry with noise, no rendering."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np

from perception.calibration.line_attitude import LineView
from perception.camera import CameraModel, load_camera
from perception.field.model import FieldModel, field_model
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, Pose2

C922 = load_camera("c922_640x480")
MODEL = field_model(FieldGeometry())
RANGE_M = 3.5


def mounted(pitch_deg: float = 0.0, roll_deg: float = 0.0, yaw_deg: float = 0.0, height_mm: float = 0.0) -> CameraModel:
    """Return the C922 as it really is: wrong by so much against its file."""
    m = C922.mounting
    return dataclasses.replace(
        C922,
        mounting=dataclasses.replace(
            m,
            height_m=m.height_m + height_mm / 1000.0,
            pitch_rad=m.pitch_rad + math.radians(pitch_deg),
            roll_rad=math.radians(roll_deg),
            yaw_rad=math.radians(yaw_deg),
        ),
    )


@cache
def _samples(model: FieldModel) -> tuple[FloatArray, np.ndarray]:
    points, _, names = model.sample(0.04)
    return points, np.array(names)


def lines_seen(
    true: CameraModel, pose: Pose2, rng: np.random.Generator, noise_px: float = 0.5, tilt_rad=(0.0, 0.0)
) -> tuple[tuple[tuple[float, float, float, float], ...], tuple[tuple[float, float], ...]]:
    """Return (segments, points), pixels, of all lines within 3.5 m of a robot at a field pose."""
    points, names = _samples(MODEL)
    c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
    local = (points - (pose.x_m, pose.y_m)) @ np.array([[c, -s], [s, c]])
    pixels = true.project(np.column_stack((local, np.zeros(len(local)))), tilt_rad)
    inside = np.isfinite(pixels).all(axis=1) & (pixels > 2).all(axis=1) & (pixels < (637, 477)).all(axis=1)
    inside &= np.hypot(*local.T) < RANGE_M
    segments, centres = [], []
    for name in dict.fromkeys(names):
        mine = np.flatnonzero(inside & (names == name))
        if len(mine) < 6:
            continue
        noisy = pixels[mine] + rng.normal(0, noise_px, (len(mine), 2))
        centres += [(float(u), float(v)) for u, v in noisy[:: max(1, len(mine) // 15)]]
        if name != "circle":
            segments.append((*(float(v) for v in noisy[0]), *(float(v) for v in noisy[-1])))
    return tuple(segments), tuple(centres)


def line_views(
    true: CameraModel, poses: list[Pose2], noise_px: float = 0.5, seed: int = 1, gap_s: float = 0.25
) -> list[LineView]:
    """Return views from field poses; the odometry frame is that of the first pose."""
    rng = np.random.default_rng(seed)
    seen = []
    for k, pose in enumerate(poses):
        segments, points = lines_seen(true, pose, rng, noise_px)
        seen.append(
            LineView(
                t_ns=int(k * gap_s * 1e9),
                segments_px=segments,
                points_px=points,
                odom_from_robot=poses[0].inverse() @ pose,
            )
        )
    return seen
