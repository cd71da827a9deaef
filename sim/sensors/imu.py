"""Gyro and accelerometer with scale error, walking bias, white noise, vibration and the converter's steps."""

from __future__ import annotations

import math

from sim.sensors.noise import NormalStream
from sim.setup import ImuConfig, Source, generator
from sim.world.drive import GRAVITY_M_S2


class Gyro:
    """Rate about z, rad/s, counter-clockwise positive."""

    def __init__(self, config: ImuConfig, seed: int) -> None:
        self._config = config
        self._noise = NormalStream(generator(seed, Source.GYRO))
        self.bias_rad_s = config.gyro_bias_rad_s

    def read(self, omega_rad_s: float, dt: float) -> float:
        """Return one sample; `dt` is the time since the last one."""
        c = self._config
        self.bias_rad_s += c.gyro_bias_walk_rad_s_rt_s * math.sqrt(dt) * self._noise.draw()
        value = omega_rad_s * (1.0 + c.gyro_scale_error) + self.bias_rad_s + c.gyro_noise_rad_s * self._noise.draw()
        return round(value / c.gyro_step_rad_s) * c.gyro_step_rad_s


class Accelerometer:
    """Specific force along x and y of the body, m/s^2. Gravity leaks in when the body pitches or rolls."""

    def __init__(self, config: ImuConfig, seed: int) -> None:
        self._config = config
        self._noise = NormalStream(generator(seed, Source.ACCELEROMETER))
        self._bias = [config.accel_bias_m_s2[0], config.accel_bias_m_s2[1]]

    def read(
        self, accel_x: float, accel_y: float, pitch_rad: float, roll_rad: float, wheel_rad_s: float, dt: float
    ) -> tuple[float, float]:
        """Return one sample.

        Args:
            accel_x: of the body's centre, along body x, m/s^2.
            accel_y: the same along y.
            pitch_rad: nose down positive.
            roll_rad: right side down positive.
            wheel_rad_s: mean absolute wheel speed: rollers shake the body.
            dt: time since the last sample.
        """
        c = self._config
        walk = c.accel_bias_walk_m_s2_rt_s * math.sqrt(dt)
        sigma = c.accel_noise_m_s2 + c.vibration_m_s2_per_rad_s * wheel_rad_s
        force = (accel_x - GRAVITY_M_S2 * math.sin(pitch_rad), accel_y + GRAVITY_M_S2 * math.sin(roll_rad))
        out = []
        for axis in (0, 1):
            self._bias[axis] += walk * self._noise.draw()
            value = force[axis] * (1.0 + c.accel_scale_error) + self._bias[axis] + sigma * self._noise.draw()
            value = max(-39.2, min(39.2, value))  # a 4 g range
            out.append(round(value / c.accel_step_m_s2) * c.accel_step_m_s2)
        return out[0], out[1]
