"""Four omni wheels: DC motors, wheel inertia, and a grip that slips. Plain floats: one call a millisecond.

Per wheel: line torque of a DC motor (stall torque, back-EMF), wheel inertia, and traction f = k (w r - v) limited to
the grip times the wheel's load, solved semi-implicitly so that the stiff slip needs no smaller step. After the
measurements of other teams: 0 to 3 m/s in about 0.5 s, and encoders that really slip.
"""

from __future__ import annotations

import math

from robot.core.body import RobotBody
from sim.setup import BatteryConfig, DriveConfig

GRAVITY_M_S2 = 9.81


class Drive:
    """The drive train of one robot. `angle_rad` and `speed_rad_s` are the wheels', in the order of `RobotBody`."""

    def __init__(self, config: DriveConfig, battery: BatteryConfig, body: RobotBody, mass_kg: float) -> None:
        self._config, self._battery = config, battery
        self._radius = body.wheel_radius_m
        self._reach = body.wheel_mount_radius_m
        self._rows = tuple((-math.sin(a), math.cos(a), math.cos(a), math.sin(a)) for a in body.wheel_angles_rad)
        load = mass_kg * GRAVITY_M_S2 / 4.0
        self._grip_n = config.grip * load
        self._roller_n = config.roller_drag * load
        self.angle_rad = [0.0, 0.0, 0.0, 0.0]
        self.speed_rad_s = [0.0, 0.0, 0.0, 0.0]
        self.slipping = False
        self.battery_v = battery.open_circuit_v
        self.current_a = 0.0

    def step(
        self, duty: tuple[float, float, float, float], vx: float, vy: float, omega: float, dt: float
    ) -> tuple[float, float, float]:
        """Turn the wheels for `dt` seconds.

        Args:
            duty: of each motor, -1..1 of the battery voltage.
            vx: body velocity forward, m/s.
            vy: body velocity to the left, m/s.
            omega: turn rate, rad/s.
            dt: seconds.

        Returns:
            Force forward, force to the left (N), torque (Nm) on the body.
        """
        c = self._config
        r, k, grip = self._radius, c.slip_stiffness_n_s_m, self._grip_n
        supply = self.battery_v / c.nominal_v
        stall = c.stall_torque_nm
        back = stall / c.no_load_speed_rad_s
        inertia = c.wheel_inertia_kg_m2 / dt
        free = inertia + back
        fx = fy = torque = load = 0.0
        slipping = False
        speeds, angles = self.speed_rad_s, self.angle_rad
        for i in range(4):
            rx, ry, ax, ay = self._rows[i]
            w = speeds[i]
            d = duty[i]
            contact = rx * vx + ry * vy + self._reach * omega
            drag = c.drag_torque_nm * max(-1.0, min(1.0, w))
            push = inertia * w + stall * d * supply - drag
            new = (push + r * k * contact) / (free + r * r * k)
            traction = k * (r * new - contact)
            if traction > grip or traction < -grip:
                traction = grip if traction > 0.0 else -grip
                new = (push - r * traction) / free
                slipping = True
            angles[i] += 0.5 * (w + new) * dt
            speeds[i] = new
            load += d * (stall * d * supply - back * new)
            across = ax * vx + ay * vy
            roller = -self._roller_n * max(-1.0, min(1.0, across / 0.05))
            fx += traction * rx + roller * ax
            fy += traction * ry + roller * ay
            torque += traction * self._reach
        self.slipping = slipping
        self.current_a = max(0.0, load) / (4.0 * stall) * self._battery.motor_stall_a
        sag = self._battery.open_circuit_v - self._battery.resistance_ohm * self.current_a - self.battery_v
        self.battery_v += 0.05 * sag  # the supply's capacitors: 20 ms
        return fx, fy, torque
