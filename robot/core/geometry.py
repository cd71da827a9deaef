"""Planar poses, twists and angles.

Axes (drawn in the README): robot x forward, y left, counter-clockwise positive, origin at the robot's centre on the
floor. Field: origin at the centre, x towards the goal the robot attacks. Metres, radians in (-pi, pi].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def wrap_angle(angle_rad: float) -> float:
    """Return the same direction in (-pi, pi]; NaN stays NaN.

    Args:
        angle_rad: any finite angle in radians.
    """
    wrapped = math.remainder(angle_rad, math.tau)
    return math.pi if wrapped == -math.pi else wrapped


def wrap_angles(angles_rad: FloatArray) -> FloatArray:
    """Return the same directions in [-pi, pi), for arrays."""
    wrapped: FloatArray = np.remainder(angles_rad + math.pi, math.tau) - math.pi
    return wrapped


@dataclass(frozen=True, slots=True)
class Pose2:
    """A rigid transform of the plane: `field_from_robot = Pose2(x, y, theta)` maps robot points to field points.

    Transforms compose by matching inner names: `field_from_camera = field_from_robot @ robot_from_camera`.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    theta_rad: float = 0.0

    def __matmul__(self, other: Pose2) -> Pose2:
        """Compose: `(a_from_b @ b_from_c)` is `a_from_c`."""
        c, s = math.cos(self.theta_rad), math.sin(self.theta_rad)
        return Pose2(
            self.x_m + c * other.x_m - s * other.y_m,
            self.y_m + s * other.x_m + c * other.y_m,
            wrap_angle(self.theta_rad + other.theta_rad),
        )

    def inverse(self) -> Pose2:
        """Return the transform the other way round: the inverse of `a_from_b` is `b_from_a`."""
        c, s = math.cos(self.theta_rad), math.sin(self.theta_rad)
        return Pose2(-c * self.x_m - s * self.y_m, s * self.x_m - c * self.y_m, wrap_angle(-self.theta_rad))

    def transform(self, point_m: tuple[float, float]) -> tuple[float, float]:
        """Map one point, metres, from the inner frame to the outer one."""
        c, s = math.cos(self.theta_rad), math.sin(self.theta_rad)
        x, y = point_m
        return (self.x_m + c * x - s * y, self.y_m + s * x + c * y)

    def rotate(self, vector: tuple[float, float]) -> tuple[float, float]:
        """Turn a free vector (a velocity, say) from the inner frame into the outer one."""
        c, s = math.cos(self.theta_rad), math.sin(self.theta_rad)
        x, y = vector
        return (c * x - s * y, s * x + c * y)

    def distance_to(self, other: Pose2) -> float:
        """Distance between the two origins in metres."""
        return math.hypot(self.x_m - other.x_m, self.y_m - other.y_m)

    def is_finite(self) -> bool:
        """True when no component is NaN or infinite."""
        return math.isfinite(self.x_m) and math.isfinite(self.y_m) and math.isfinite(self.theta_rad)


@dataclass(frozen=True, slots=True)
class Twist2:
    """A planar velocity, forward and left (m/s), counter-clockwise (rad/s), in the frame that the name gives."""

    vx_m_s: float = 0.0
    vy_m_s: float = 0.0
    omega_rad_s: float = 0.0

    def speed_m_s(self) -> float:
        """Magnitude of the translation in m/s."""
        return math.hypot(self.vx_m_s, self.vy_m_s)

    def is_finite(self) -> bool:
        """True when no component is NaN or infinite."""
        return math.isfinite(self.vx_m_s) and math.isfinite(self.vy_m_s) and math.isfinite(self.omega_rad_s)


def rotation(theta_rad: float) -> FloatArray:
    """Return the (2, 2) rotation matrix of `theta_rad`, counter-clockwise."""
    c, s = math.cos(theta_rad), math.sin(theta_rad)
    return np.array([[c, -s], [s, c]])


def rotate_covariance(covariance: FloatArray, theta_rad: float) -> FloatArray:
    """Turn a (2, 2) covariance with its frame: R C R^T, made symmetric again."""
    r = rotation(theta_rad)
    turned = r @ covariance @ r.T
    return 0.5 * (turned + turned.T)


def exponential_map(twist: Twist2, dt_s: float) -> Pose2:
    """Integrate a constant body twist exactly for `dt_s` seconds (SE(2) exponential; Sola et al. 2018, app. B).

    Returns:
        `start_from_end`: the end pose seen from the start pose.
    """
    angle = twist.omega_rad_s * dt_s
    if abs(angle) < 1e-9:
        sinc, cosc = 1.0 - angle * angle / 6.0, angle / 2.0
    else:
        sinc, cosc = math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle
    dx, dy = twist.vx_m_s * dt_s, twist.vy_m_s * dt_s
    return Pose2(sinc * dx - cosc * dy, cosc * dx + sinc * dy, wrap_angle(angle))


def logarithm_map(start_from_end: Pose2, dt_s: float) -> Twist2:
    """Return the constant body twist that leads to `start_from_end` in `dt_s` seconds: inverse of `exponential_map`.

    Args:
        start_from_end: the end pose seen from the start pose; a turn of exactly pi is taken counter-clockwise.
        dt_s: positive.
    """
    angle = start_from_end.theta_rad
    half = 0.5 * angle
    cot = 1.0 - half * half / 3.0 if abs(half) < 1e-5 else half / math.tan(half)
    x, y = start_from_end.x_m, start_from_end.y_m
    return Twist2((cot * x + half * y) / dt_s, (cot * y - half * x) / dt_s, angle / dt_s)
