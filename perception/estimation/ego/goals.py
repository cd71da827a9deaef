"""A goal's box into corrections of the pose: the bearings of its two posts and, weakly, the row of its foot.

The width of the box is in the two bearings (their difference is the range), so it is not used again. An edge that is
cut by the picture's border says nothing and is left out. A symmetric field has two goals: the one that fits the
present belief better is meant; a box that fits neither is an outlier.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import chi2

from perception.camera.model import PIXEL_CENTRE_PX, CameraModel
from perception.estimation.config import VisionConfig
from perception.estimation.ego.ekf import SIZE, THETA, Correction, X, Y
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, wrap_angle
from robot.core.messages import FieldObservation

FIELD_MARGIN_M = 0.5


def goal_corners(field: FieldGeometry, side: int) -> FloatArray:
    """Return the corners (4, 2) of a goal on the floor, field frame, metres: two posts, then two behind them.

    Args:
        field: the map.
        side: 1 for the goal at +x, -1 for the one at -x.
    """
    x, y, depth = field.length_m / 2, field.goal_width_m / 2, field.goal_depth_m
    return np.array([(side * x, y), (side * x, -y), (side * (x + depth), y), (side * (x + depth), -y)])


class GoalModel:
    """Makes corrections from goal boxes, for one camera and one field."""

    def __init__(self, config: VisionConfig, field: FieldGeometry, camera: CameraModel) -> None:
        self._config = config
        self._camera = camera
        m = camera.mounting
        self._camera_m = (m.x_m, m.y_m)
        self._height_m = m.height_m
        self._gates = [math.inf] + [float(chi2.ppf(config.gate_probability, n)) for n in (1, 2, 3)]
        x_min, x_max, _, _ = field.wall_bounds_m()
        self._goals = [
            goal_corners(field, side)
            for side in (1, -1)
            if x_min - FIELD_MARGIN_M <= side * field.length_m / 2 <= x_max + FIELD_MARGIN_M
        ]

    def correction(
        self,
        observation: FieldObservation,
        image_size_px: tuple[int, int],
        x: FloatArray,
        p: FloatArray,
        turn_rate_rad_s: float,
        interval_s: float,
    ) -> Correction | None:
        """Return the correction that a goal box makes to the pose, or None when the box says nothing.

        Args:
            observation: class GOAL; only its box and score are used.
            image_size_px: the picture that the box is counted in (width, height).
            x: the state at the capture time, (SIZE,): decides which goal is meant.
            p: its covariance.
            turn_rate_rad_s: how fast the robot turned then: jitter of the capture time becomes a bearing error.
            interval_s: time since the last goal that was used.
        """
        cfg, k = self._config, self._camera.intrinsics
        across, down = k.width_px / image_size_px[0], k.height_px / image_size_px[1]
        left, right = across * observation.box_px[0], across * observation.box_px[2]
        top, bottom = down * observation.box_px[1], down * observation.box_px[3]
        pad = cfg.goal_padding_px
        if observation.score < cfg.min_goal_score or right - left < cfg.min_goal_width_px:
            return None
        m = cfg.edge_margin_px
        use_left, use_right = left > m, right < k.width_px - m
        use_foot = bottom < k.height_px - m
        if not (use_left or use_right):
            return None
        z = self.measure(left + pad, top + pad, right - pad, bottom - pad)
        edge = math.hypot(cfg.post_sigma_px, cfg.post_sigma_ratio * (right - left)) / k.fx
        sigma = np.array([edge, edge, cfg.foot_sigma_px / k.fy])
        rows = [i for i, use in enumerate((use_left, use_right, use_foot)) if use]
        covariance = np.diag(np.square(sigma))
        common = math.hypot(turn_rate_rad_s * cfg.timing_sigma_s, cfg.common_bearing_sigma_rad)
        covariance[:2, :2] += common**2
        covariance = covariance[np.ix_(rows, rows)]
        # Noise with correlation time T, sampled every dt, averages like white noise of (1 + 2 T / dt) the variance.
        inflation = 1.0 + 2.0 * cfg.correlation_s / max(interval_s, 1e-3)
        best: tuple[float, Correction] | None = None
        for corners in self._goals:
            predict, jacobian = self._goal(corners, rows)
            correction = Correction(
                z[rows], predict, jacobian, covariance, _difference, self._gates[len(rows)], inflation=inflation
            )
            h = jacobian(x)
            y = _difference(z[rows], predict(x))
            distance2 = float(y @ np.linalg.solve(h @ p @ h.T + covariance, y))
            if best is None or distance2 < best[0]:
                best = (distance2, correction)
        return best[1] if best is not None else None

    def measure(self, left: float, top: float, right: float, bottom: float) -> FloatArray:
        """Return (azimuth of the left edge, of the right edge, depression of the foot), radians, from the camera.

        Azimuths are in the robot frame, counter-clockwise. Box edges in pixels, without the detector's padding.
        """
        k = self._camera.intrinsics
        # A camera that looks down sees vertical posts lean outwards at the top: the box's edge is where the post
        # sticks out most, its top on the outside of the picture and its foot on the inside.
        row_left = top if left < k.cx else bottom
        row_right = top if right > k.cx else bottom
        pixels = np.array([[left, row_left], [right, row_right], [0.5 * (left + right), bottom]]) - PIXEL_CENTRE_PX
        rays = self._camera.rays_in_robot(pixels)
        return np.array(
            [
                math.atan2(rays[0, 1], rays[0, 0]),
                math.atan2(rays[1, 1], rays[1, 0]),
                math.atan2(-rays[2, 2], math.hypot(rays[2, 0], rays[2, 1])),
            ]
        )

    def _goal(
        self, corners: FloatArray, rows: list[int]
    ) -> tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]:
        seen: tuple[FloatArray, FloatArray, FloatArray] | None = None

        def view(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            nonlocal seen
            # An update asks for prediction and Jacobian at the same state: look once.
            if seen is None or seen[0] is not x:
                seen = (x, *self.view(x, corners))
            return seen

        def predict(x: FloatArray) -> FloatArray:
            return view(x)[1][rows]

        def jacobian(x: FloatArray) -> FloatArray:
            return view(x)[2][rows]

        return predict, jacobian

    def view(self, x: FloatArray, corners: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the expected (left azimuth, right azimuth, depression of the foot) and the (3, SIZE) Jacobian.

        Args:
            x: the state: its pose is where the robot stands.
            corners: (4, 2) field frame. Seen at an angle, the goal's inside or outside wall shows beside a post: the
                box ends at the outermost corner. The foot belongs to the nearer post.
        """
        c, s = math.cos(x[THETA]), math.sin(x[THETA])
        offset = corners - x[:2]
        rx, ry = offset @ np.array([c, s]), offset @ np.array([-s, c])
        dx, dy = rx - self._camera_m[0], ry - self._camera_m[1]
        d2 = np.maximum(dx * dx + dy * dy, 1e-4)
        azimuth = np.arctan2(dy, dx)
        middle = math.atan2(float(dy.mean()), float(dx.mean()))
        spread = np.array([wrap_angle(a - middle) for a in azimuth.tolist()])
        left, right, near = int(spread.argmax()), int(spread.argmin()), int(d2[:2].argmin())
        z, h = np.zeros(3), np.zeros((3, SIZE))
        for row, i in ((0, left), (1, right)):
            z[row] = azimuth[i]
            # d(dx, dy)/d(x, y) = -R^T, d(dx, dy)/d theta = (ry, -rx).
            gx, gy = -dy[i] / d2[i], dx[i] / d2[i]
            h[row, X], h[row, Y], h[row, THETA] = -(gx * c - gy * s), -(gx * s + gy * c), gx * ry[i] - gy * rx[i]
        d = math.sqrt(d2[near])
        z[2] = math.atan2(self._height_m, d)
        slope = -self._height_m / (d * d + self._height_m**2)
        ux, uy = dx[near] / d, dy[near] / d
        h[2, X], h[2, Y] = -slope * (ux * c - uy * s), -slope * (ux * s + uy * c)
        h[2, THETA] = slope * (ux * ry[near] - uy * rx[near])
        return z, h


def _difference(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.array([wrap_angle(float(d)) for d in a - b])
