"""The robot's own EKF: pose, body velocity, gyro bias, odometry scale, what the camera is off by; on filterpy's.

The filter knows neither clocks nor history: `advance` moves it by one stretch of motion, `correct` applies one
measurement behind a chi-square gate. `history.DelayedFilter` decides in which order that happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from filterpy.kalman import ExtendedKalmanFilter

from perception.estimation.config import MotionConfig
from robot.core.geometry import FloatArray, Pose2, Twist2, wrap_angle
from robot.core.messages import Vec2

X, Y, THETA = 0, 1, 2
"""Pose in the world frame, metres and radians."""
VX, VY = 3, 4
"""Velocity in the body frame, m/s."""
GYRO_BIAS = 5
"""The gyro reads true rate + this, rad/s."""
SCALE, TURN_SCALE = 6, 7
"""What is left of the odometry's scale errors: wheels read (1 + SCALE) of the truth, the gyro (1 + TURN_SCALE)."""
CAMERA_PITCH, CAMERA_ROLL, CAMERA_YAW = 8, 9, 10
"""By how much the camera stands off its calibration, rad: the same in every picture, so no averaging removes it."""
SIZE = 11

_EYE = np.eye(SIZE)

_CAMERA = np.arange(CAMERA_PITCH, SIZE)
CAMERA = slice(CAMERA_PITCH, SIZE)
POSE = slice(0, 3)
VELOCITY = slice(3, 5)


@dataclass(frozen=True, slots=True)
class Motion:
    """What drives the filter over one stretch of time, held constant over it.

    With `accel_m_s2` the velocity is a state, pushed by the accelerometer; without it the velocity *is*
    `velocity_m_s`, as odometry reported it. `rate_noise` multiplies the turn noise (wheels standing in for a gyro).
    """

    rate_rad_s: float
    accel_m_s2: Vec2 | None = None
    velocity_m_s: Vec2 = (0.0, 0.0)
    accel_density: float = 0.15
    rate_density: float = 0.003


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """One measurement for the EKF: `z = predict(x) + noise(covariance)`, `jacobian(x)` is (len(z), SIZE).

    `residual` is a - b where angles are wrapped; `gate` the largest squared Mahalanobis distance that passes, or
    infinity; `soft` inflates the noise of what fails the gate instead of refusing it. `inflation` multiplies the
    noise after the gate: errors that repeat from frame to frame must not be averaged away as if they were new.
    """

    z: FloatArray
    predict: Callable[[FloatArray], FloatArray]
    jacobian: Callable[[FloatArray], FloatArray]
    covariance: FloatArray
    residual: Callable[[FloatArray, FloatArray], FloatArray] = np.subtract
    gate: float = math.inf
    soft: bool = False
    inflation: float = 1.0


class EgoFilter(ExtendedKalmanFilter):  # type: ignore[misc]
    """The EKF. State layout: module constants from X to CAMERA; `x` is (SIZE,), `P` (SIZE, SIZE)."""

    def __init__(self, config: MotionConfig, camera_sigma_rad: float = 0.004, camera_walk: float = 0.0) -> None:
        super().__init__(dim_x=SIZE, dim_z=3)
        self.config = config
        self._camera_walk2 = camera_walk**2
        self.x = np.zeros(SIZE)
        constants = [config.gyro_bias_sigma_rad_s, config.scale_sigma, config.turn_scale_sigma]
        self.P = np.diag(np.square([1e-4, 1e-4, 1e-4, 0.05, 0.05, *constants, *3 * [camera_sigma_rad]]))
        self.F = np.eye(SIZE)
        self.Q = np.zeros((SIZE, SIZE))
        self._next_x = self.x

    # --- motion -------------------------------------------------------------------------------------------------

    def advance(self, motion: Motion, dt_s: float) -> None:
        """Predict over `dt_s` seconds of constant `motion` (midpoint rule for the pose)."""
        if dt_s <= 0.0:
            return
        if motion.accel_m_s2 is None:
            mid, turn = self._odometry_step(motion, dt_s)
        else:
            mid, turn = self._inertial_step(motion, motion.accel_m_s2, dt_s)
        self._path_noise(mid, turn, dt_s)
        self.predict()
        self.x[THETA] = wrap_angle(float(self.x[THETA]))

    def predict_x(self, u: float = 0) -> None:
        """Take the non-linear prediction that `advance` prepared (filterpy's hook)."""
        self.x = self._next_x

    def rate_rad_s(self, reported_rad_s: float) -> float:
        """Return the true turn rate for a reported one, by the present bias and scale."""
        return (reported_rad_s - float(self.x[GYRO_BIAS])) * (1.0 - float(self.x[TURN_SCALE]))

    def _inertial_step(self, motion: Motion, accel: Vec2, dt: float) -> tuple[Vec2, float]:
        x, y, theta, vx, vy, bias, _, turn_scale = self.x[:CAMERA_PITCH].tolist()
        unbiased = motion.rate_rad_s - bias
        omega = unbiased * (1.0 - turn_scale)
        dvx, dvy = (accel[0] + omega * vy) * dt, (accel[1] - omega * vx) * dt
        mx, my = vx + 0.5 * dvx, vy + 0.5 * dvy
        heading = theta + 0.5 * omega * dt
        c, s = math.cos(heading), math.sin(heading)
        nxt = self.x.copy()
        nxt[X], nxt[Y], nxt[THETA] = x + (c * mx - s * my) * dt, y + (s * mx + c * my) * dt, theta + omega * dt
        nxt[VX], nxt[VY] = vx + dvx, vy + dvy
        self._next_x = nxt

        f = self.F
        f[: VELOCITY.stop] = _EYE[: VELOCITY.stop]
        dx, dy = -(s * mx + c * my) * dt, (c * mx - s * my) * dt
        f[X, THETA], f[Y, THETA] = dx, dy
        f[X, VX], f[X, VY], f[Y, VX], f[Y, VY] = c * dt, -s * dt, s * dt, c * dt
        f[VX, VY], f[VY, VX] = omega * dt, -omega * dt
        for column, turn in ((GYRO_BIAS, -dt * (1.0 - turn_scale)), (TURN_SCALE, -dt * unbiased)):
            f[X, column], f[Y, column], f[THETA, column] = 0.5 * turn * dx, 0.5 * turn * dy, turn
            f[VX, column], f[VY, column] = turn * vy, -turn * vx
        q = motion.accel_density**2 * dt
        self.Q[VX, VX] = self.Q[VY, VY] = q
        self.Q[GYRO_BIAS, GYRO_BIAS] = self.config.gyro_bias_walk_rad_s_per_rts**2 * dt
        self.Q[THETA, THETA] = motion.rate_density**2 * dt
        return (mx, my), omega

    def _odometry_step(self, motion: Motion, dt: float) -> tuple[Vec2, float]:
        x, y, theta, _, _, bias, scale, turn_scale = self.x[:CAMERA_PITCH].tolist()
        unbiased = motion.rate_rad_s - bias
        omega = unbiased * (1.0 - turn_scale)
        rx, ry = motion.velocity_m_s
        vx, vy = rx * (1.0 - scale), ry * (1.0 - scale)
        # Chord of the arc, so that a step split in two ends where the whole one does.
        half = 0.5 * omega * dt
        chord = dt * (math.sin(half) / half if abs(half) > 1e-6 else 1.0)
        c, s = math.cos(theta + half), math.sin(theta + half)
        nxt = self.x.copy()
        nxt[X], nxt[Y], nxt[THETA] = x + (c * vx - s * vy) * chord, y + (s * vx + c * vy) * chord, theta + omega * dt
        nxt[VX], nxt[VY] = vx, vy
        self._next_x = nxt

        f = self.F
        f[: VELOCITY.stop] = 0.0
        dx, dy = -(s * vx + c * vy) * chord, (c * vx - s * vy) * chord
        f[X, X] = f[Y, Y] = f[THETA, THETA] = 1.0
        f[X, THETA], f[Y, THETA] = dx, dy
        f[X, SCALE], f[Y, SCALE] = -(c * rx - s * ry) * chord, -(s * rx + c * ry) * chord
        for column, turn in ((GYRO_BIAS, -dt * (1.0 - turn_scale)), (TURN_SCALE, -dt * unbiased)):
            f[X, column], f[Y, column], f[THETA, column] = 0.5 * turn * dx, 0.5 * turn * dy, turn
        f[VX, SCALE], f[VY, SCALE] = -rx, -ry
        self.Q[VX, VX] = self.Q[VY, VY] = self.config.wheel_noise_m_s**2
        self.Q[GYRO_BIAS, GYRO_BIAS] = self.config.gyro_bias_walk_rad_s_per_rts**2 * dt
        self.Q[THETA, THETA] = motion.rate_density**2 * dt
        return (vx, vy), omega

    def _path_noise(self, velocity: Vec2, omega: float, dt: float) -> None:
        """Add the noise that grows with the path: slip, scrub and floor, not with time."""
        self.Q[_CAMERA, _CAMERA] = self._camera_walk2 * dt
        cfg = self.config
        path, turn = math.hypot(*velocity) * dt, abs(omega) * dt
        self.Q[X, X] = self.Q[Y, Y] = cfg.translation_m_per_sqrt_m**2 * path
        self.Q[THETA, THETA] += cfg.rotation_rad_per_sqrt_rad**2 * turn + cfg.rotation_rad_per_sqrt_m**2 * path

    # --- measurements -------------------------------------------------------------------------------------------

    def correct(self, correction: Correction) -> float:
        """Apply one measurement; returns its squared Mahalanobis distance, which says whether the gate let it in.

        The state is untouched when the distance exceeds `correction.gate` (and `soft` is off), or is not finite.
        """
        before = (self.x, self.P)
        # Most measurements pass, so the update itself is the test; what fails is undone (update binds new arrays).
        distance2 = self._update(correction, correction.covariance)
        if not math.isfinite(distance2):
            self.x, self.P = before
            return math.inf
        if distance2 > correction.gate and not correction.soft:
            self.x, self.P = before
            return distance2
        weight = correction.inflation * max(1.0, distance2 / correction.gate if correction.soft else 1.0)
        if weight > 1.0:
            self.x, self.P = before
            self._update(correction, weight * correction.covariance)
        self.x[THETA] = wrap_angle(float(self.x[THETA]))
        self.P = 0.5 * (self.P + self.P.T)
        return distance2

    def _update(self, correction: Correction, covariance: FloatArray) -> float:
        """Update as filterpy does (Joseph form), without its copies: a replay does this a dozen times a frame."""
        h = correction.jacobian(self.x)
        y = correction.residual(correction.z, correction.predict(self.x))
        ph = self.P @ h.T
        inverse = np.linalg.inv(h @ ph + covariance)
        gain = ph @ inverse
        keep = _EYE - gain @ h
        self.x = self.x + gain @ y
        self.P = keep @ self.P @ keep.T + gain @ covariance @ gain.T
        return float(y @ inverse @ y)

    # --- views --------------------------------------------------------------------------------------------------

    def pose(self) -> Pose2:
        """`world_from_robot`."""
        return Pose2(float(self.x[X]), float(self.x[Y]), float(self.x[THETA]))

    def twist(self, reported_rate_rad_s: float) -> Twist2:
        """Body twist, with the turn rate taken from the last reported rate."""
        return Twist2(float(self.x[VX]), float(self.x[VY]), self.rate_rad_s(reported_rate_rad_s))

    def gyro_bias_rad_s(self) -> float:
        """What the gyro reads too much."""
        return float(self.x[GYRO_BIAS])

    def is_finite(self) -> bool:
        """True when neither state nor covariance holds NaN or infinity, and no variance is negative."""
        # A sum is finite only if all its terms are (terms near overflow would be no state either).
        return math.isfinite(float(self.x.sum()) + float(self.P.sum())) and min(self.P.diagonal().tolist()) >= 0.0

    def reset_pose(self, pose: Pose2, sigma_m: float, sigma_theta_rad: float) -> None:
        """Put the pose elsewhere, with its own uncertainty; velocity, bias and scales keep what they know."""
        self.x = self.x.copy()
        self.x[POSE] = pose.x_m, pose.y_m, wrap_angle(pose.theta_rad)
        self.P = self.P.copy()
        self.P[POSE, :] = 0.0
        self.P[:, POSE] = 0.0
        self.P[X, X] = self.P[Y, Y] = sigma_m**2
        self.P[THETA, THETA] = sigma_theta_rad**2
