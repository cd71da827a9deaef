"""A Kalman filter for one thing on the floor: position and velocity, slowed down by rolling friction."""

from __future__ import annotations

import math

import numpy as np
from filterpy.kalman import ExtendedKalmanFilter

from perception.estimation.config import TrackConfig
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2

BIAS_FLOOR = 0.25
"""Share of the calibration's variance that the filter keeps open; the rest is added where the belief is shown."""

_H = np.hstack([np.eye(2), np.zeros((2, 2))])


def _jacobian(_: FloatArray) -> FloatArray:
    return _H


def _position(x: FloatArray) -> FloatArray:
    return x[:2]


class PointFilter(ExtendedKalmanFilter):  # type: ignore[misc]
    """State (x, y, vx, vy) in a floor-fixed frame, metres and m/s; `x` is (4,), `P` (4, 4).

    Friction takes speed from the whole belief, the spread of the velocity included: something that may be moving at
    no more than a few cm/s has stopped a moment later. So a ball at rest converges to zero velocity instead of
    following the noise, and no mode switch is needed.
    """

    def __init__(self, config: TrackConfig, position_m: Vec2, covariance_m2: FloatArray) -> None:
        super().__init__(dim_x=4, dim_z=2)
        self.config = config
        self.x = np.array([position_m[0], position_m[1], 0.0, 0.0])
        self.P = np.zeros((4, 4))
        self.P[:2, :2] = covariance_m2
        self.P[2, 2] = self.P[3, 3] = config.birth_velocity_sigma_m_s**2

    def advance(self, dt_s: float, ego_variance_m2: float = 0.0) -> None:
        """Predict `dt_s` seconds ahead; `ego_variance_m2` is what the robot's own motion adds to the position."""
        if dt_s <= 0.0:
            return
        cfg = self.config
        speed = math.sqrt(float(self.x[2] ** 2 + self.x[3] ** 2 + self.P[2, 2] + self.P[3, 3]))
        moving_s, keep = dt_s, 1.0
        if cfg.deceleration_m_s2 > 0.0:
            moving_s = min(dt_s, speed / cfg.deceleration_m_s2)
            keep = max(0.0, 1.0 - cfg.deceleration_m_s2 * moving_s / speed) if speed > 1e-9 else 0.0
        reach_s = 0.5 * moving_s * (1.0 + keep)
        self.F = np.array(
            [[1.0, 0.0, reach_s, 0.0], [0.0, 1.0, 0.0, reach_s], [0.0, 0.0, keep, 0.0], [0.0, 0.0, 0.0, keep]]
        )
        qv = cfg.velocity_noise_m_s_per_rts**2 * dt_s
        qp = cfg.position_noise_m_per_rts**2 * dt_s + qv * dt_s * dt_s / 3.0 + ego_variance_m2
        cross = 0.5 * qv * dt_s
        self.Q = np.array([[qp, 0.0, cross, 0.0], [0.0, qp, 0.0, cross], [cross, 0.0, qv, 0.0], [0.0, cross, 0.0, qv]])
        self.predict()

    def distance2(self, position_m: FloatArray, covariance_m2: FloatArray) -> float:
        """Squared Mahalanobis distance of a sighting; infinity where that is no number."""
        difference = position_m - self.x[:2]
        s = self.P[:2, :2] + covariance_m2
        determinant = float(s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0])
        if not determinant > 0.0:
            return math.inf
        dx, dy = float(difference[0]), float(difference[1])
        d2 = (float(s[1, 1]) * dx * dx - 2.0 * float(s[0, 1]) * dx * dy + float(s[0, 0]) * dy * dy) / determinant
        return d2 if math.isfinite(d2) else math.inf

    def observe(self, position_m: FloatArray, covariance_m2: FloatArray, bias_m2: FloatArray) -> None:
        """Apply one sighting that has passed the gate.

        Args:
            position_m: (2,) where it was seen.
            covariance_m2: (2, 2) noise of this sighting.
            bias_m2: (2, 2) error that all sightings from here share. It changes as the robot comes nearer, and the
                belief must follow: it never gets surer than `BIAS_FLOOR` of it.
        """
        self.update(position_m, _jacobian, _position, R=covariance_m2)
        p = 0.5 * (self.P + self.P.T)
        p[:2, :2] += _missing(p[:2, :2], BIAS_FLOOR * bias_m2)
        self.P = p

    def place(self, position_m: Vec2, velocity_m_s: Vec2, covariance: FloatArray) -> None:
        """Overwrite the belief: something (the dribbler) holds the object there. `covariance` is (4, 4)."""
        self.x = np.array([*position_m, *velocity_m_s])
        self.P = covariance

    def copy(self) -> PointFilter:
        """A second filter with the same belief, for looking ahead."""
        twin = PointFilter(self.config, (float(self.x[0]), float(self.x[1])), self.P[:2, :2])
        twin.x, twin.P = self.x.copy(), self.P.copy()
        return twin

    def sigma_m(self) -> float:
        """Standard deviation of the position along its worst axis (upper bound), metres."""
        return math.sqrt(float(self.P[0, 0] + self.P[1, 1]))


def _missing(p: FloatArray, floor: FloatArray) -> FloatArray:
    """Return what must be added to a covariance so that it is at least `floor` in every direction, both (2, 2)."""
    values, vectors = np.linalg.eigh(floor - p)
    lifted: FloatArray = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return lifted
