"""Line points into one correction of the pose: point to line, iterated, robust, in square-root information form.

Each point says how far it lies from the nearest marking, along that marking's normal. Sixty such numbers are
condensed into at most six (pose and what the camera stands off its calibration), so that the filter's update and its
replays cost no more than a goal's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.estimation.ego.ekf import CAMERA, POSE, SIZE, THETA, Correction
from perception.estimation.ego.landmarks import Landmarks, near_landmarks
from perception.localisation.config import MarkingConfig
from perception.localisation.field_map import FieldMap
from perception.localisation.view import LinePoints, floor_points, line_points
from robot.core.geometry import FloatArray, Twist2, rotation, wrap_angle
from robot.core.messages import DetectionBatch, Vec2

_FREE = np.r_[POSE, CAMERA]
"""What line points can tell: pose, and the camera's pitch, roll and yaw."""

_TILT = np.array([3, 4])
_ITERATIONS = 2
_COMPANY = 4
"""So many points must lie on a marking in one picture before any of them counts."""

_WEAK = 1e-9
"""Directions with less information than this share of the strongest are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class MarkingFit:
    """What line points say about a pose.

    Attributes:
        correction: for the filter, or None when too few points are explained.
        points: how many could be judged.
        explained: share of those that lie on a marking, as far as pose and noise allow.
    """

    correction: Correction | None
    points: int
    explained: float


@dataclass(frozen=True, slots=True, eq=False)
class _Residuals:
    offset_m: FloatArray
    variance_m2: FloatArray
    by_state: FloatArray
    distance_m: FloatArray
    label: NDArray[np.int16]

    def of(self, chosen: NDArray[np.bool_]) -> _Residuals:
        return _Residuals(
            self.offset_m[chosen],
            self.variance_m2[chosen],
            self.by_state[chosen],
            self.distance_m[chosen],
            self.label[chosen],
        )


class MarkingModel:
    """Makes corrections from line points, for one camera and one field."""

    def __init__(self, config: MarkingConfig, field_map: FieldMap, camera: CameraModel) -> None:
        self._config = config
        self._map = field_map
        self._camera = camera

    def points(self, batch: DetectionBatch, tilt_rad: Vec2, x: FloatArray, twist: Twist2) -> LinePoints | None:
        """Place a picture's line points on the floor by what the state `x` (SIZE,) believes of the camera."""
        return line_points(batch, self._camera, self._config, tilt_rad, x[CAMERA], twist)

    def posts(self, batch: DetectionBatch, tilt_rad: Vec2, x: FloatArray, twist: Twist2) -> LinePoints | None:
        """Place the feet of a picture's goal posts, as `points` does."""
        if not self._config.posts:
            return None
        config = replace(self._config, sigma_px=self._config.post_sigma_px)
        seen, size = batch.goal_posts_px, batch.image_size_px
        return floor_points(seen, size, self._camera, config, tilt_rad, x[CAMERA], twist)

    def fit(
        self,
        points: LinePoints,
        x: FloatArray,
        p: FloatArray,
        interval_s: float,
        tilt_sigma_rad: float = 0.0,
        posts: LinePoints | None = None,
    ) -> MarkingFit:
        """Match points against the map from the belief (x, p).

        Args:
            points: of one picture, placed by `x`.
            x: the state at the capture time, (SIZE,).
            p: its covariance.
            interval_s: time since the last picture that was used: errors repeat from picture to picture.
            tilt_sigma_rad: what is not known of the body's nod in this picture: it moves all points together.
            posts: feet of goal posts of that picture; each is taken for the nearest one, if that is near enough.
        """
        cfg = self._config
        prior = p[np.ix_(_FREE, _FREE)]
        prior[_TILT, _TILT] += tilt_sigma_rad**2
        step = np.zeros(len(_FREE))
        found = self._residuals(points, x, step)
        spread = found.variance_m2 + ((found.by_state @ prior) * found.by_state).sum(axis=1)
        judged = found.variance_m2 < cfg.trust_sigma_m**2
        reach = np.minimum(cfg.gate_sigmas * np.sqrt(spread), cfg.max_offset_m)
        inside = found.distance_m < reach + 0.03
        near = inside & (np.abs(found.offset_m) < reach)
        # One stray point beside a marking that nobody else sees would be believed in full in that direction.
        near &= np.bincount(found.label[near], minlength=self._map.markings)[found.label] >= _COMPANY
        count = int(judged.sum())
        explained = float((near & judged).sum()) / count if count else 1.0
        if int(near.sum()) < cfg.min_points:
            return MarkingFit(None, count, explained)
        information = np.linalg.inv(prior)
        some, landmarks = points[near], self._landmarks(posts, x, prior)
        found = self._with_posts(found.of(near), landmarks, x, step)
        for _ in range(_ITERATIONS):
            weight = self._weight(found)
            weighted = found.by_state * weight[:, None]
            gain = weighted.T @ found.by_state
            step = step - np.linalg.solve(gain + information, weighted.T @ found.offset_m + information @ step)
            found = self._with_posts(self._residuals(some, x, step), landmarks, x, step)
        weight = self._weight(found)
        weighted = found.by_state * weight[:, None]
        return MarkingFit(self._condense(x, step, weighted, found, interval_s, tilt_sigma_rad), count, explained)

    def _weight(self, found: _Residuals) -> FloatArray:
        """Return 1 / variance, less for points far off (Cauchy)."""
        away2 = found.offset_m**2 / found.variance_m2
        return np.asarray(1.0 / (found.variance_m2 * (1.0 + away2 / 4.0)))

    def _residuals(self, points: LinePoints, x: FloatArray, step: FloatArray) -> _Residuals:
        """Return offsets from the markings (N,), their variances and derivatives (N, 6), at x moved by `step`."""
        theta = float(x[THETA] + step[2])
        r = rotation(theta)
        places = points.places_m + points.by_tilt @ step[3:]
        turned = places @ r.T
        nearest = self._map.nearest(turned + x[:2] + step[:2])
        normal_in_robot = nearest.normal @ r
        nx, ny, noise = normal_in_robot[:, 0], normal_in_robot[:, 1], points.covariances_m2
        variance = nx * nx * noise[:, 0, 0] + 2.0 * nx * ny * noise[:, 0, 1] + ny * ny * noise[:, 1, 1]
        by_state = np.empty((len(places), len(_FREE)))
        by_state[:, :2] = nearest.normal
        by_state[:, 2] = nearest.normal[:, 1] * turned[:, 0] - nearest.normal[:, 0] * turned[:, 1]
        by_state[:, 3:] = (normal_in_robot[:, None, :] @ points.by_tilt)[:, 0]
        return _Residuals(nearest.offset_m, variance, by_state, nearest.distance_m, nearest.label)

    def _landmarks(self, posts: LinePoints | None, x: FloatArray, prior: FloatArray) -> Landmarks | None:
        """Return the posts that pass their gates, each with the place of the one that it is taken for."""
        if posts is None:
            return None
        return near_landmarks(posts, self._map.posts_m, x, prior, self._config.gate_sigmas, self._config.post_sigma_m)

    def _with_posts(
        self, found: _Residuals, landmarks: Landmarks | None, x: FloatArray, step: FloatArray
    ) -> _Residuals:
        if landmarks is None:
            return found
        offset, by_state = landmarks.residuals(x, step)
        return _Residuals(
            np.concatenate((found.offset_m, offset)),
            np.concatenate((found.variance_m2, np.ones(len(offset)))),
            np.concatenate((found.by_state, by_state)),
            found.distance_m,
            found.label,
        )

    def _condense(
        self,
        x: FloatArray,
        step: FloatArray,
        weighted: FloatArray,
        found: _Residuals,
        interval_s: float,
        tilt_sigma_rad: float,
    ) -> Correction:
        """Return the linearised points as rows of a square-root information matrix: z = L (x - x_lin) + noise."""
        cfg = self._config
        gain = weighted.T @ found.by_state
        slope = weighted.T @ -found.offset_m
        values, vectors = np.linalg.eigh(gain)
        strong = values > _WEAK * values[-1]
        root = np.sqrt(values[strong])
        rows = root[:, None] * vectors[:, strong].T
        z = (vectors[:, strong].T @ slope) / root
        at = x[_FREE] + step
        jacobian = np.zeros((len(z), SIZE))
        jacobian[:, _FREE] = rows

        def predict(state: FloatArray) -> FloatArray:
            away: FloatArray = state[_FREE] - at
            away[2] = wrap_angle(float(away[2]))
            return np.asarray(rows @ away)

        repeats = 1.0 + 2.0 * cfg.correlation_s / max(interval_s, 1e-3)
        crowded = max(1.0, len(weighted) / cfg.independent_points)
        nod = tilt_sigma_rad * rows[:, _TILT]
        noise = repeats * crowded * np.eye(len(z)) + nod @ nod.T
        return Correction(z, predict, lambda _: jacobian, noise)
