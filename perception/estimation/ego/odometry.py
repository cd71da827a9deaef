"""Telemetry into motion: checks each sensor by itself, watches the wheels for slip, and says how far to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perception.estimation.config import MotionConfig
from perception.estimation.ego.ekf import GYRO_BIAS, SCALE, SIZE, VX, VY, Correction, Motion
from robot.core.body import RobotBody
from robot.core.geometry import FloatArray
from robot.core.messages import TelemetryFrame, Vec2, Verdict

SOFT_GATE = 11.34
"""chi-square, 3 degrees of freedom, 99 %: wheels that disagree more with the inertial prediction count as slipping."""

REST_RIM_M_S = 0.004
REST_RATE_RAD_S = 0.2
REST_FRAMES = 20
"""No encoder tick for so many frames, at a rate that is no more than a bias: the robot stands. Wheels tell the gyro's
bias only then: in motion the scrub of their rollers turns them by some 0.1 rad/s more or less than the body, for
seconds, which no averaging removes (seen in simulation: 10 degrees of heading lost in 5 s)."""

NO_INFORMATION = 1e3


def wheel_matrix(body: RobotBody) -> FloatArray:
    """Return the (4, 3) matrix from body twist (m/s, m/s, rad/s) to rim speeds (m/s), in the body's wheel order."""
    angles = np.array(body.wheel_angles_rad)
    return np.column_stack([-np.sin(angles), np.cos(angles), np.full(4, body.wheel_mount_radius_m)])


def true_velocity(config: MotionConfig, vx_m_s: float, vy_m_s: float) -> Vec2:
    """Apply the fitted odometry constants to a reported body velocity, m/s."""
    return config.scale_x * vx_m_s, config.scale_y * vy_m_s + config.lateral_per_forward * vx_m_s


@dataclass(frozen=True, slots=True)
class MotionInput:
    """What one telemetry frame gives the filter: a motion to predict with, a wheel correction or None, a verdict."""

    motion: Motion
    correction: Correction | None
    verdict: Verdict
    slip_m_s: float = 0.0


class TelemetryReader:
    """Turns `TelemetryFrame`s into filter inputs. One bad sensor does not cost the others.

    Four wheels measure three degrees of freedom: what is left over (`slip_m_s`) can only be slip or a bad encoder,
    and inflates the wheels' noise. Slip of all wheels at once shows as disagreement with the accelerometer, which
    the correction's soft gate handles.
    """

    def __init__(self, config: MotionConfig, body: RobotBody) -> None:
        self._config = config
        self._wheel_radius_m = body.wheel_radius_m
        self._still_frames = 0
        matrix = wheel_matrix(body)
        # Rows of plain floats: for twelve products they are faster than a matrix.
        self._twist_from_rims = np.linalg.pinv(matrix).tolist()
        # The unit vector of rim speeds that no rigid motion can cause.
        self._null = np.linalg.svd(matrix)[0][:, 3].tolist()

    def read(self, frame: TelemetryFrame) -> MotionInput:
        """Check and convert one frame. The verdict names the worst sensor; what is good is still used."""
        cfg = self._config
        verdict = Verdict.OK
        twist, slip, wheels = self._wheels(frame)
        gyro_verdict = _check(cfg.max_gyro_rad_s, frame.gyro_z_rad_s)
        accel_verdict = _check(cfg.max_accel_m_s2, *frame.accel_in_robot_m_s2)
        for part in (accel_verdict, gyro_verdict, wheels):
            verdict = part if part is not Verdict.OK else verdict

        gyro_ok, accel_ok, wheels_ok = (v is Verdict.OK for v in (gyro_verdict, accel_verdict, wheels))
        if gyro_ok:
            rate, rate_density = cfg.scale_theta * frame.gyro_z_rad_s, cfg.gyro_noise_rad_s_per_rthz
        else:
            rate, rate_density = (twist[2] if wheels_ok else 0.0), (0.02 if wheels_ok else 0.5)
        accel = frame.accel_in_robot_m_s2 if accel_ok else (0.0, 0.0)
        density = cfg.accel_noise_m_s2_per_rthz if accel_ok else cfg.accel_missing_m_s2_per_rthz
        motion = Motion(rate, accel, accel_density=density, rate_density=rate_density)
        still = wheels_ok and abs(rate) < REST_RATE_RAD_S and self._fastest_rim_m_s(frame) < REST_RIM_M_S
        self._still_frames = self._still_frames + 1 if still else 0
        correction = self._correction(twist, slip, rate if gyro_ok else None) if wheels_ok else None
        return MotionInput(motion, correction, verdict, slip)

    def _wheels(self, frame: TelemetryFrame) -> tuple[tuple[float, float, float], float, Verdict]:
        limit = self._config.max_wheel_m_s / self._wheel_radius_m
        verdict = _check(limit, *frame.wheel_speed_rad_s)
        if verdict is not Verdict.OK:
            return (0.0, 0.0, 0.0), 0.0, verdict
        rims = [self._wheel_radius_m * speed for speed in frame.wheel_speed_rad_s]
        vx, vy, omega = (_dot(row, rims) for row in self._twist_from_rims)
        vx, vy = true_velocity(self._config, vx, vy)
        return (vx, vy, omega), abs(_dot(self._null, rims)), Verdict.OK

    def _fastest_rim_m_s(self, frame: TelemetryFrame) -> float:
        return self._wheel_radius_m * max(abs(speed) for speed in frame.wheel_speed_rad_s)

    def _correction(self, twist: tuple[float, float, float], slip_m_s: float, rate: float | None) -> Correction:
        cfg = self._config
        vx, vy, omega = twist
        trust = 1.0 + (slip_m_s / cfg.slip_threshold_m_s) ** 2
        sigma = (cfg.wheel_noise_m_s + cfg.wheel_noise_ratio * math.hypot(vx, vy)) * trust
        if rate is None:
            sigma_bias, bias = NO_INFORMATION, 0.0
        else:
            at_rest = self._still_frames >= REST_FRAMES
            sigma_bias, bias = (cfg.rest_rate_noise_rad_s if at_rest else NO_INFORMATION), rate - omega
        return Correction(
            z=np.array([vx, vy, bias]),
            predict=_predict_wheels,
            jacobian=_jacobian_wheels,
            covariance=np.diag([sigma**2, sigma**2, sigma_bias**2]),
            gate=SOFT_GATE,
            soft=True,
        )


def _predict_wheels(x: FloatArray) -> FloatArray:
    return np.array([(1.0 + x[SCALE]) * x[VX], (1.0 + x[SCALE]) * x[VY], x[GYRO_BIAS]])


def _jacobian_wheels(x: FloatArray) -> FloatArray:
    h = np.zeros((3, SIZE))
    h[0, VX] = h[1, VY] = 1.0 + x[SCALE]
    h[0, SCALE], h[1, SCALE] = x[VX], x[VY]
    h[2, GYRO_BIAS] = 1.0
    return h


def _dot(a: list[float], b: list[float]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]


def _check(limit: float, *values: float) -> Verdict:
    for value in values:
        if not math.isfinite(value):
            return Verdict.INVALID
        if abs(value) > limit:
            return Verdict.OUT_OF_RANGE
    return Verdict.OK
