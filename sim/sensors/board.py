"""All that the microcontroller's pins see, sampled once a millisecond."""

from __future__ import annotations

import math

from firmware_bridge.firmware.library import SensorInputs
from sim.sensors.imu import Accelerometer, Gyro
from sim.sensors.noise import NormalStream
from sim.setup import Source, TrialSetup, generator
from sim.world.arena import STEP_S
from sim.world.world import World


class SensorBoard:
    """Encoders, IMU, break-beam and voltages of one robot; each with its own generator."""

    def __init__(self, setup: TrialSetup, ticks_per_rev: int) -> None:
        self._ticks_per_rad = ticks_per_rev / math.tau
        self._gyro = Gyro(setup.imu, setup.seed)
        self._accelerometer = Accelerometer(setup.imu, setup.seed)
        self._battery_noise_v = setup.battery.noise_v
        self._battery = NormalStream(generator(setup.seed, Source.BATTERY))

    def read(self, world: World) -> SensorInputs:
        """Sample everything now."""
        drive, scale = world.drive, self._ticks_per_rad
        a, w = drive.angle_rad, drive.speed_rad_s
        rim = 0.25 * (abs(w[0]) + abs(w[1]) + abs(w[2]) + abs(w[3]))
        pitch, roll = world.tilt_rad
        ax, ay = world.accel_in_robot_m_s2
        fx, fy = self._accelerometer.read(ax, ay, pitch, roll, rim, STEP_S)
        return SensorInputs(
            wheel_ticks=(
                math.floor(a[0] * scale),
                math.floor(a[1] * scale),
                math.floor(a[2] * scale),
                math.floor(a[3] * scale),
            ),
            gyro_z_rad_s=self._gyro.read(world.omega_rad_s, STEP_S),
            accel_x_m_s2=fx,
            accel_y_m_s2=fy,
            battery_v=drive.battery_v + self._battery_noise_v * self._battery.draw(),
            current_a=drive.current_a,
            kicker_v=world.mouth.kicker_v,
            dribbler_rad_s=world.mouth.bar_rad_s,
            break_beam=world.break_beam,
        )
