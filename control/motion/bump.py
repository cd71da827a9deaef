"""Bumps: a body that is stopped by something decelerates far harder than its wheels could brake it."""

from __future__ import annotations

import math

from robot.core.geometry import Twist2
from robot.core.messages import TelemetryFrame, Vec2

_MOVING_M_S = 0.3
_OPPOSED = 0.2
"""A force along the way the body was going is a push from behind, no wall."""


class BumpDetector:
    """Watches the accelerometer; each telemetry frame counts once.

    Wheel odometry cannot tell: against a wall the wheels slip on at the commanded speed, and the pose drifts through
    the wall with them.

    Args:
        threshold_m_s2: specific force along the floor that no driving reaches; 0 switches the detector off.
    """

    def __init__(self, threshold_m_s2: float) -> None:
        self._threshold_m_s2 = threshold_m_s2
        self._last_t_mcu_us: int | None = None

    def normal_in_robot(self, telemetry: TelemetryFrame | None, twist: Twist2) -> Vec2 | None:
        """Return the unit vector away from what was hit, robot frame, or None when nothing was.

        A single sample of a blow points anywhere between the surface's normal and its friction, so that it is
        averaged with the direction the body came from.

        Args:
            telemetry: the newest frame.
            twist: the body's velocity as the estimator has it; it lags behind a blow.
        """
        if telemetry is None or telemetry.t_mcu_us == self._last_t_mcu_us:
            return None
        self._last_t_mcu_us = telemetry.t_mcu_us
        x, y = telemetry.accel_in_robot_m_s2
        size = math.hypot(x, y)
        if self._threshold_m_s2 <= 0.0 or not math.isfinite(size) or size < self._threshold_m_s2:
            return None
        x, y, speed = x / size, y / size, twist.speed_m_s()
        if speed > _MOVING_M_S:
            x, y = x - twist.vx_m_s / speed, y - twist.vy_m_s / speed
        length = math.hypot(x, y)
        return (x / length, y / length) if length > _OPPOSED else None
