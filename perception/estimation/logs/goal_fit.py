"""Fits how a camera sees a known goal in logs with a reference: its yaw and pitch, its lag, and the boxes' padding.

Needed where a mounting was never measured: the boxes of one known goal, seen from known places while the robot moves
and turns, determine the camera's direction, and turning determines its lag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from perception.camera.model import CameraModel
from perception.estimation.config import MotionConfig, VisionConfig
from perception.estimation.ego.ekf import SIZE
from perception.estimation.ego.goals import GoalModel, goal_corners
from perception.estimation.logs.evaluation import reference_of
from perception.estimation.logs.motion_fit import calibrated_path
from perception.estimation.logs.navigation_log import NavigationLog
from robot.core.errors import CalibrationError
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, wrap_angles
from robot.core.messages import BoxPx

PARAMETERS = ("yaw_rad", "pitch_rad", "delay_s", "goal_padding_px")
PRIOR_SIGMA = np.array([0.1, 0.03, 0.15, 10.0])
REACH = np.array([0.3, 0.15, 0.35, 40.0])
"""The fit looks no further than this from where it starts."""

SIGMA = np.array([0.015, 0.015, 0.006, 0.006])
"""Noise of left and right edge, foot and top, rad."""

CORRELATION = 0.2
"""Share of a box's information that is new against the frame before."""

MIN_BOXES = 20


@dataclass(frozen=True, slots=True, eq=False)
class GoalFit:
    """The fitted camera and vision constants, standard deviations in the order of `PARAMETERS`, robust residuals.

    `residual_rad` is (4,): the median absolute error of left edge, right edge, foot and top, times 1.48.
    """

    camera: CameraModel
    vision: VisionConfig
    sigmas: FloatArray
    residual_rad: FloatArray
    boxes: int


def fit_goal_view(
    logs: Sequence[NavigationLog],
    motion: MotionConfig,
    vision: VisionConfig,
    camera: CameraModel,
    field: FieldGeometry,
) -> GoalFit:
    """Fit yaw, pitch, lag and padding to the goal boxes of logs with a reference.

    Args:
        logs: each with a reference; those without boxes do no harm.
        motion: fitted odometry constants: they carry the reference pose of a row back to the moment of its picture.
        vision: start values; everything else in it is kept.
        camera: start values; everything else in it is kept.
        field: which goal there is.

    Raises:
        CalibrationError: too few boxes.
        DataError: a log without reference.
    """
    views = [_View(log, motion) for log in logs]
    boxes = sum(len(v.rows) for v in views)
    if boxes < MIN_BOXES:
        raise CalibrationError(
            f"only {boxes} goal boxes in these logs", hint=f"give logs with {MIN_BOXES} goal boxes or more"
        )
    start = np.array([camera.mounting.yaw_rad, camera.mounting.pitch_rad, vision.delay_s, vision.goal_padding_px])

    def rebuilt(q: FloatArray) -> tuple[CameraModel, VisionConfig]:
        mounting = replace(camera.mounting, yaw_rad=float(q[0]), pitch_rad=float(q[1]))
        return replace(camera, mounting=mounting), replace(vision, delay_s=float(q[2]), goal_padding_px=float(q[3]))

    def errors(q: FloatArray) -> FloatArray:
        now, seeing = rebuilt(q)
        model = GoalModel(seeing, field, now)
        return np.concatenate([view.errors(model, now, seeing, field) for view in views])

    def residuals(q: FloatArray) -> FloatArray:
        e = errors(q) / SIGMA * math.sqrt(CORRELATION)
        return np.concatenate([e[np.isfinite(e)], (q - start) / PRIOR_SIGMA])

    solution = least_squares(
        residuals, start, loss="soft_l1", x_scale=PRIOR_SIGMA, bounds=(start - REACH, start + REACH)
    )
    sigmas = np.sqrt(np.diagonal(np.linalg.inv(solution.jac.T @ solution.jac)))
    left = errors(solution.x)
    spread = np.array([1.48 * float(np.median(np.abs(c[np.isfinite(c)]))) for c in left.T])
    fitted, seeing = rebuilt(solution.x)
    return GoalFit(fitted, seeing, sigmas, spread, boxes)


class _View:
    """One log's boxes, with the robot's path through the reference and, between its rows, calibrated odometry."""

    def __init__(self, log: NavigationLog, motion: MotionConfig) -> None:
        self.rows = [row for row, box in enumerate(log.boxes) if box is not None]
        self._boxes: list[BoxPx] = [box for box in log.boxes if box is not None]
        self._t_s = log.t_s
        self._reference = reference_of(log)
        self._moved_t_s, self._moved = calibrated_path(log, motion)

    def errors(self, model: GoalModel, camera: CameraModel, vision: VisionConfig, field: FieldGeometry) -> FloatArray:
        """Return measured minus expected left, right, foot and top angles, (M, 4) rad; NaN where an edge is cut."""
        result = np.full((len(self.rows), 4), np.nan)
        corners = [goal_corners(field, 1)]
        size, m, pad = camera.intrinsics, vision.edge_margin_px, vision.goal_padding_px
        for i, (row, (left, top, right, bottom)) in enumerate(zip(self.rows, self._boxes, strict=True)):
            x = np.zeros(SIZE)
            x[:3] = self._pose_at_picture(row, vision.delay_s)
            expected, _ = model.view(x, corners[0])
            measured = model.measure(left + pad, top + pad, right - pad, bottom - pad)
            sky = camera.rays_in_robot([[0.5 * (left + right) - 0.5, top + pad - 0.5]])[0]
            above = math.atan2(-sky[2], math.hypot(sky[0], sky[1]))
            distance_m = camera.mounting.height_m / math.tan(expected[2])
            rise = math.atan2(camera.mounting.height_m - field.goal_height_m, distance_m)
            result[i, :3] = wrap_angles(measured - expected)
            result[i, 3] = above - rise
            cut = [left <= m, right >= size.width_px - m, bottom >= size.height_px - m, top <= m]
            result[i, cut] = np.nan
        return result

    def _pose_at_picture(self, row: int, delay_s: float) -> FloatArray:
        """Return the reference pose of a row, moved back by odometry to the moment of its picture."""
        now, then = (
            np.array([np.interp(t, self._moved_t_s, self._moved[:, k]) for k in range(3)])
            for t in (self._t_s[row], self._t_s[row] - delay_s)
        )
        turn = self._reference[row, 2] - now[2]
        c, s = math.cos(turn), math.sin(turn)
        dx, dy = then[0] - now[0], then[1] - now[1]
        x, y, theta = self._reference[row]
        return np.array([x + c * dx - s * dy, y + s * dx + c * dy, theta + then[2] - now[2]])
