"""The body nods: pitch and roll as damped springs pushed by acceleration. The camera on its mast feels it most."""

from __future__ import annotations

import math

from sim.setup import NodConfig


class Nod:
    """Pitch (positive: nose down) and roll (positive: right side down) of one body, and their rates."""

    def __init__(self, config: NodConfig) -> None:
        self._gain = config.angle_per_accel_rad_s2_m
        self._omega = math.tau * config.frequency_hz
        self._damping = 2.0 * config.damping * self._omega
        self.pitch_rad = self.roll_rad = 0.0
        self.pitch_rate_rad_s = self.roll_rate_rad_s = 0.0

    def step(self, accel_x_m_s2: float, accel_y_m_s2: float, dt: float) -> None:
        """Push with the body's acceleration for `dt` seconds (semi-implicit Euler)."""
        stiffness = self._omega * self._omega
        # Speeding up lifts the nose; speeding up to the left lowers the right side.
        self.pitch_rate_rad_s += dt * (
            stiffness * (-self._gain * accel_x_m_s2 - self.pitch_rad) - self._damping * self.pitch_rate_rad_s
        )
        self.roll_rate_rad_s += dt * (
            stiffness * (self._gain * accel_y_m_s2 - self.roll_rad) - self._damping * self.roll_rate_rad_s
        )
        self.pitch_rad += dt * self.pitch_rate_rad_s
        self.roll_rad += dt * self.roll_rate_rad_s
