"""Bundle adjustment with known structure: mounting and the pose of each picture at once, held together by odometry.

Line points lie on the field's markings; what is minimised is their distance across them (Triggs et al., "Bundle
adjustment - a modern synthesis", 2000). `line_fit` says where it begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perception.calibration.line_attitude import AttitudeConfig, LineView
from perception.calibration.line_map import LineMap
from perception.camera.model import CameraModel
from perception.camera.parameters import MOUNTING, CalibrationUncertainty
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray, Pose2

_STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class LineFitConfig:
    """What is known beforehand (one sigma each), and the noise.

    The camera's place ahead of the centre comes from the drawing; height and angles are to be found. `point_px` is
    a line point's noise, `point_m` what the markings themselves may be off; odometry drifts by `slip_share` of the
    way and `turn_share` of the turn. Points beyond `max_range_m` say little and are left out. `repeats` pictures
    with the same errors count as one. What is known worse than `max_sigma` would make a camera file worse:
    yaw is then kept as in the file, anything else is refused.
    """

    prior_sigma: dict[str, float] = field(
        default_factory=lambda: {
            "x_m": 0.003,
            "y_m": 0.002,
            "height_m": 0.02,
            "pitch_rad": 0.15,
            "roll_rad": 0.1,
            "yaw_rad": 0.1,
        }
    )
    attitude: AttitudeConfig = field(default_factory=AttitudeConfig)
    point_px: float = 0.8
    point_m: float = 0.006
    slip_share: float = 0.03
    slip_m: float = 0.0006
    turn_share: float = 0.01
    turn_rad: float = 0.001
    max_range_m: float = 3.0
    max_views: int = 80
    repeats: float = 4.0
    min_headings: int = 6
    max_error_m: float = 0.03
    max_sigma: dict[str, float] = field(
        default_factory=lambda: {
            "height_m": 0.005,
            "pitch_rad": math.radians(1.0),
            "roll_rad": math.radians(1.0),
            "yaw_rad": math.radians(2.0),  # a turn and a metre ahead and back: 1.2 to 1.8
        }
    )


def mounting_values(camera: CameraModel) -> FloatArray:
    """Return the mounting as (6,), in the order of `MOUNTING`, SI units."""
    return np.array([getattr(camera.mounting, name) for name in MOUNTING])


def with_mounting(base: CameraModel, theta: FloatArray) -> CameraModel:
    """Return the camera with the mounting of `theta` (6,).

    Raises:
        CalibrationError: no camera can be there.
    """
    try:
        return replace(base, mounting=replace(base.mounting, **dict(zip(MOUNTING, theta.tolist(), strict=True))))
    except ValueError as error:
        raise CalibrationError(
            f"the lines put the camera where none can be: {error}", hint="check --field, and the camera's [mounting]"
        ) from error


class LineBundle:
    """Mounting (6) and the pose of each view (3 each): Gauss-Newton with robust weights, dense (a few hundred)."""

    def __init__(
        self,
        views: Sequence[LineView],
        start: CameraModel,
        first: CameraModel,
        markings: LineMap,
        config: LineFitConfig,
    ) -> None:
        self.views, self.base, self.markings, self.config = views, start, markings, config
        self.first = mounting_values(first)
        self.prior = mounting_values(start)
        self.prior_sigma = np.array([config.prior_sigma[name] for name in MOUNTING])
        self.pixels = []
        for view in views:
            pixels = np.array(view.points_px, dtype=float)
            near = np.hypot(*first.ground_points(pixels, view.tilt_rad).T) < config.max_range_m
            self.pixels.append(pixels[near])
        self.owner = np.concatenate([np.full(len(p), i) for i, p in enumerate(self.pixels)])

    def _local(self, theta: FloatArray) -> FloatArray:
        camera = with_mounting(self.base, theta)
        parts = [camera.ground_points(p, v.tilt_rad) for p, v in zip(self.pixels, self.views, strict=True)]
        return np.concatenate(parts)

    def points(self, theta: FloatArray, poses: Sequence[Pose2]) -> FloatArray:
        """Return all line points on the field (N, 2)."""
        return self._place(self._local(theta), poses)

    def _place(self, local: FloatArray, poses: Sequence[Pose2]) -> FloatArray:
        table = np.array([(p.x_m, p.y_m, math.cos(p.theta_rad), math.sin(p.theta_rad)) for p in poses])[self.owner]
        c, s = table[:, 2], table[:, 3]
        x, y = c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1]
        return np.stack((x + table[:, 0], y + table[:, 1]), axis=1)

    def solve(self, field_from_odom: Pose2) -> tuple[FloatArray, list[Pose2], FloatArray, FloatArray, np.ndarray]:
        """Return (mounting, poses, covariance (6, 6), errors (N,), used (N,))."""
        theta = self.first
        poses = [field_from_odom @ view.odom_from_robot for view in self.views]
        for gate in (0.25, 0.25, 0.15, 0.15, 0.1, 0.1, 0.06, 0.06, 0.06, 0.06):
            theta, poses, normal = self._step(theta, poses, gate)
        placed = self.points(theta, poses)
        errors = self.markings.nearest(placed)[0]
        used = np.isfinite(errors) & (np.abs(errors) < 0.06)
        scale = max(1.0, self._chi2(theta, poses, errors, used)) * self.config.repeats
        covariance = np.asarray(np.linalg.inv(normal)[:6, :6] * scale, dtype=float)
        return theta, poses, covariance, errors, used

    def _sigmas(self, theta: FloatArray, normals: FloatArray, poses: Sequence[Pose2]) -> FloatArray:
        """Return the noise of each point across its marking, metres (N,)."""
        camera = replace(with_mounting(self.base, theta), uncertainty=CalibrationUncertainty())
        quiet = replace(camera.noise, pitch_rad=0.0, roll_rad=0.0, yaw_rad=0.0, height_m=0.0, position_m=0.0)
        camera = replace(camera, noise=quiet)
        parts = [
            camera.ground_covariance(p, v.tilt_rad, sigma_px=self.config.point_px)
            for p, v in zip(self.pixels, self.views, strict=True)
        ]
        heading = np.array([p.theta_rad for p in poses])[self.owner]
        c, s = np.cos(heading), np.sin(heading)
        local = np.stack((c * normals[:, 0] + s * normals[:, 1], -s * normals[:, 0] + c * normals[:, 1]), axis=1)
        spread = np.einsum("ni,nij,nj->n", local, np.concatenate(parts), local)
        return np.asarray(np.sqrt(np.nan_to_num(spread, nan=1e6) + self.config.point_m**2))

    def _chi2(self, theta: FloatArray, poses: Sequence[Pose2], errors: FloatArray, used: np.ndarray) -> float:
        _, normals = self.markings.nearest(self.points(theta, poses))
        return float(np.mean((errors[used] / self._sigmas(theta, normals, poses)[used]) ** 2))

    def _step(self, theta: FloatArray, poses: list[Pose2], gate: float) -> tuple[FloatArray, list[Pose2], FloatArray]:
        local = self._local(theta)
        placed = self._place(local, poses)
        off, normals = self.markings.nearest(np.nan_to_num(placed, nan=1e3))
        sigma = self._sigmas(theta, normals, poses)
        weight = (1.0 + (off / np.maximum(0.4 * gate, 2.0 * sigma)) ** 2) ** -2 / sigma**2
        weight = np.where(np.abs(off) < np.maximum(gate, 3.0 * sigma), weight, 0.0) * (sigma < 0.1)
        size = 6 + 3 * len(poses)
        normal, right = np.zeros((size, size)), np.zeros(size)
        by_mounting = np.stack([self._by_mounting(theta, k, normals, poses, local) for k in range(6)], axis=1)
        middle = np.array([(p.x_m, p.y_m) for p in poses])[self.owner]
        arm = placed - middle
        by_pose = np.stack((normals[:, 0], normals[:, 1], -arm[:, 1] * normals[:, 0] + arm[:, 0] * normals[:, 1]), 1)
        for i in range(len(poses)):
            mine = (self.owner == i) & (weight > 0.0)
            rows = np.concatenate((by_mounting[mine], by_pose[mine]), axis=1)
            at = np.r_[0:6, 6 + 3 * i : 9 + 3 * i]
            normal[np.ix_(at, at)] += rows.T @ (weight[mine, None] * rows)
            right[at] -= rows.T @ (weight[mine] * off[mine])
        normal[:6, :6] += np.diag(self.prior_sigma**-2.0)
        right[:6] -= (theta - self.prior) / self.prior_sigma**2
        self._odometry(poses, normal, right)
        move = np.linalg.solve(normal + 1e-9 * np.eye(size), right)
        moved = [
            Pose2(p.x_m + move[k], p.y_m + move[k + 1], p.theta_rad + move[k + 2])
            for p, k in zip(poses, range(6, size, 3), strict=True)
        ]
        return theta + np.clip(move[:6], -0.05, 0.05), moved, normal

    def _by_mounting(
        self, theta: FloatArray, index: int, normals: FloatArray, poses: Sequence[Pose2], local: FloatArray
    ) -> FloatArray:
        step = np.zeros(6)
        step[index] = _STEP
        change = (self._local(theta + step) - local) / _STEP
        heading = np.array([p.theta_rad for p in poses])[self.owner]
        c, s = np.cos(heading), np.sin(heading)
        x, y = c * change[:, 0] - s * change[:, 1], s * change[:, 0] + c * change[:, 1]
        return np.asarray(np.nan_to_num(x * normals[:, 0] + y * normals[:, 1]))

    def _odometry(self, poses: Sequence[Pose2], normal: FloatArray, right: FloatArray) -> None:
        """Tie neighbouring poses together by the odometry between them."""
        c = self.config
        for i in range(len(poses) - 1):
            was = self.views[i].odom_from_robot.inverse() @ self.views[i + 1].odom_from_robot
            now = poses[i].inverse() @ poses[i + 1]
            off = np.array(
                (now.x_m - was.x_m, now.y_m - was.y_m, math.remainder(now.theta_rad - was.theta_rad, math.tau))
            )
            way, turn = math.hypot(was.x_m, was.y_m), abs(was.theta_rad)
            # A turn on the spot slips sideways, too: a millimetre or two for each radian.
            sigma_m = math.hypot(c.slip_m, c.slip_share * way + 0.002 * turn)
            sigma = np.array((sigma_m, sigma_m, math.hypot(c.turn_rad, c.turn_share * turn)))
            cos, sin = math.cos(poses[i].theta_rad), math.sin(poses[i].theta_rad)
            back = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
            first = -back
            first[0, 2], first[1, 2] = now.y_m, -now.x_m
            rows = np.concatenate((first, back), axis=1) / sigma[:, None]
            at = np.r_[6 + 3 * i : 12 + 3 * i]
            normal[np.ix_(at, at)] += rows.T @ rows
            right[at] -= rows.T @ (off / sigma)
