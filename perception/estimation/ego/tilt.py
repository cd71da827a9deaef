"""Pitch and roll of the body under acceleration, from the accelerometer: what makes a far ball jump at every start."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perception.estimation.config import TiltConfig
from robot.core.messages import Vec2


@dataclass(frozen=True, slots=True)
class Tilt:
    """The body's (pitch, roll) and the standard deviation of each; positive lowers the nose and the right side."""

    angles_rad: Vec2 = (0.0, 0.0)
    sigma_rad: float = 0.0


class TiltFilter:
    """Body angle proportional to the smoothed acceleration.

    The spring between body and wheels is stiff (several hertz), so the angle follows the acceleration within some
    20 ms; its ringing afterwards is not modelled but kept as uncertainty for `memory_s`. The accelerometer's own
    share of gravity is small against the acceleration (g times 0.0025 rad per m/s^2: 2.5 %) and is left in.
    """

    def __init__(self, config: TiltConfig) -> None:
        self._config = config
        self._accel_m_s2: Vec2 = (0.0, 0.0)
        self._recent_m_s2 = 0.0

    def advance(self, accel_in_robot_m_s2: Vec2 | None, dt_s: float) -> Tilt:
        """Take one accelerometer sample (None where there is none: the angle then fades away)."""
        cfg = self._config
        ax, ay = accel_in_robot_m_s2 or (0.0, 0.0)
        blend = 1.0 - math.exp(-dt_s / cfg.filter_s)
        x, y = self._accel_m_s2
        self._accel_m_s2 = (x + blend * (ax - x), y + blend * (ay - y))
        now = math.hypot(*self._accel_m_s2)
        self._recent_m_s2 = max(now, self._recent_m_s2 * math.exp(-dt_s / cfg.memory_s))
        gain = cfg.angle_per_accel_rad_s2_m
        angles = (-gain * self._accel_m_s2[0], gain * self._accel_m_s2[1])
        return Tilt(angles, cfg.unknown_share * gain * self._recent_m_s2)
