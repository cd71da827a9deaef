"""A Kalman filter for one thing on the floor: position and velocity, slowed down by friction, reflected by walls."""

from __future__ import annotations

import math

import numpy as np
from filterpy.kalman import ExtendedKalmanFilter

from perception.estimation.config import TrackConfig
from perception.estimation.tracks.bounces import OPEN, Hit, Surroundings
from perception.estimation.tracks.friction import slide
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2

BIAS_FLOOR = 0.25
"""Share of the calibration's variance that the filter keeps open; the rest is added where the belief is shown."""

_BOUNCES_AT_M_S = 0.15
"""Slower things than this are not reflected: their belief may lie in a wall by mistake."""

_H = np.hstack([np.eye(2), np.zeros((2, 2))])


def _jacobian(_: FloatArray) -> FloatArray:
    return _H


def _position(x: FloatArray) -> FloatArray:
    return x[:2]


class PointFilter(ExtendedKalmanFilter):  # type: ignore[misc]
    """State (x, y, vx, vy) in a floor-fixed frame, metres and m/s; `x` is (4,), `P` (4, 4).

    Rolling friction takes speed from the whole belief, the spread of the velocity included: something that may be
    moving at no more than a few cm/s has stopped a moment later. So a ball at rest converges to zero velocity instead
    of following the noise, and no mode switch is needed. A ball that was kicked or has bounced slides first:
    `surface_m_s` is then its spin as a surface velocity, and None as long as it rolls.
    """

    def __init__(self, config: TrackConfig, position_m: Vec2, covariance_m2: FloatArray) -> None:
        super().__init__(dim_x=4, dim_z=2)
        self.config = config
        self.x = np.array([position_m[0], position_m[1], 0.0, 0.0])
        self.P = np.zeros((4, 4))
        self.P[:2, :2] = covariance_m2
        self.P[2, 2] = self.P[3, 3] = config.birth_velocity_sigma_m_s**2
        self.surface_m_s: Vec2 | None = None

    def advance(self, dt_s: float, ego_variance_m2: float = 0.0, surroundings: Surroundings = OPEN) -> None:
        """Predict `dt_s` seconds ahead.

        Args:
            dt_s: how far.
            ego_variance_m2: what the robot's own motion adds to the position's variance.
            surroundings: what it would bounce off on its way.
        """
        if dt_s <= 0.0:
            return
        cfg = self.config
        x, y, vx, vy = self.x.tolist()
        slid_s, before = 0.0, (x, y)
        qv = (cfg.velocity_noise_m_s_per_rts**2 + (cfg.velocity_noise_per_speed**2) * (vx * vx + vy * vy)) * dt_s
        if self.surface_m_s is not None and cfg.slide_deceleration_m_s2 > 0.0:
            (dvx, dvy), surface, slid_s = slide((vx, vy), self.surface_m_s, cfg.slide_deceleration_m_s2, dt_s)
            x, y, vx, vy = x + slid_s * (vx + 0.5 * dvx), y + slid_s * (vy + 0.5 * dvy), vx + dvx, vy + dvy
            self.surface_m_s = surface if slid_s >= dt_s else None
            qv += (cfg.slide_noise_m_s_per_rts**2) * slid_s
        rolls_s = dt_s - slid_s
        speed = math.sqrt(vx * vx + vy * vy + float(self.P[2, 2] + self.P[3, 3]))
        keep, reach_s = 1.0, rolls_s
        if cfg.deceleration_m_s2 > 0.0 and rolls_s > 0.0:
            moving_s = min(rolls_s, speed / cfg.deceleration_m_s2)
            keep = max(0.0, 1.0 - cfg.deceleration_m_s2 * moving_s / speed) if speed > 1e-9 else 0.0
            reach_s = 0.5 * moving_s * (1.0 + keep)
        self.x = np.array([x + reach_s * vx, y + reach_s * vy, keep * vx, keep * vy])
        way_s = slid_s + reach_s
        f = np.array([[1.0, 0.0, way_s, 0.0], [0.0, 1.0, 0.0, way_s], [0.0, 0.0, keep, 0.0], [0.0, 0.0, 0.0, keep]])
        qp = cfg.position_noise_m_per_rts**2 * dt_s + qv * dt_s * dt_s / 3.0 + ego_variance_m2
        cross = 0.5 * qv * dt_s
        q = np.array([[qp, 0.0, cross, 0.0], [0.0, qp, 0.0, cross], [cross, 0.0, qv, 0.0], [0.0, cross, 0.0, qv]])
        self.P = f @ self.P @ f.T + q
        if (surroundings.walls or surroundings.discs) and math.hypot(vx, vy) > _BOUNCES_AT_M_S:
            hit = surroundings.first_hit(before, (float(self.x[0]), float(self.x[1])))
            if hit is not None:
                self._bounce(hit)

    def _bounce(self, hit: Hit) -> None:
        """Reflect what lies behind the point of contact; restitution and moment are known roughly."""
        cfg = self.config
        n = np.array(hit.normal)
        t = np.array([-n[1], n[0]])
        inwards = float(self.x[2:] @ n)
        if inwards >= 0.0:
            return
        turn = np.eye(2) - (1.0 + cfg.restitution) * np.outer(n, n)
        sideways = float(self.x[2:] @ t)
        old_velocity = self.x[2:].copy()
        place = np.array(hit.place)
        self.x = np.concatenate((place + turn @ (self.x[:2] - place), turn @ self.x[2:]))
        m = np.zeros((4, 4))
        m[:2, :2] = m[2:, 2:] = turn
        loose_m2 = (1.0 + cfg.restitution) ** 2 * (0.25 * float(n @ self.P[:2, :2] @ n) + hit.sigma_m**2)
        self.P = m @ self.P @ m.T
        self.P[:2, :2] += loose_m2 * np.outer(n, n)
        self.P[2:, 2:] += (cfg.bounce_sigma * inwards) ** 2 * np.outer(n, n)
        self.P[2:, 2:] += cfg.bounce_sigma**2 * (sideways**2 + 0.25 * inwards**2) * np.outer(t, t)
        spin = np.array(self.surface_m_s) if self.surface_m_s is not None else old_velocity
        sx, sy = (cfg.bounce_spin_share * float(spin @ n) * n + float(spin @ t) * t).tolist()
        self.surface_m_s = (sx, sy)

    def distance2(self, position_m: FloatArray, covariance_m2: FloatArray) -> tuple[float, float]:
        """Squared Mahalanobis distance of a sighting, and the logarithm of its innovation covariance's determinant.

        The distance is infinite where it is no number.
        """
        s = self.P[:2, :2] + covariance_m2
        a, b, c = float(s[0, 0]), float(s[0, 1]), float(s[1, 1])
        determinant = a * c - b * b
        if not 0.0 < determinant < math.inf:
            return math.inf, 0.0
        dx, dy = float(position_m[0] - self.x[0]), float(position_m[1] - self.x[1])
        d2 = (c * dx * dx - 2.0 * b * dx * dy + a * dy * dy) / determinant
        return (d2 if math.isfinite(d2) else math.inf), math.log(determinant)

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
        self.surface_m_s = None

    def copy(self) -> PointFilter:
        """A second filter with the same belief, for looking ahead."""
        twin = PointFilter(self.config, (float(self.x[0]), float(self.x[1])), self.P[:2, :2])
        twin.x, twin.P, twin.surface_m_s = self.x.copy(), self.P.copy(), self.surface_m_s
        return twin

    def sigma_m(self) -> float:
        """Standard deviation of the position along its worst axis (upper bound), metres."""
        return math.sqrt(float(self.P[0, 0] + self.P[1, 1]))


def _missing(p: FloatArray, floor: FloatArray) -> FloatArray:
    """Return what must be added to a covariance so that it is at least `floor` in every direction, both (2, 2)."""
    values, vectors = np.linalg.eigh(floor - p)
    lifted: FloatArray = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return lifted
