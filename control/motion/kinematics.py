"""Body twist and wheel speeds of an omni-directional base, both ways."""

from __future__ import annotations

import math

import numpy as np

from robot.core.body import RobotBody
from robot.core.geometry import FloatArray, Twist2

WheelSpeeds = tuple[float, float, float, float]


class OmniKinematics:
    """Rigid-body kinematics of four omni wheels without slip.

    The rim of the wheel at angle a, mounted at radius R, moves along (-sin a, cos a) when its speed is positive, so
    `wheel_radius * speed = -sin(a) vx + cos(a) vy + R omega`. Four wheels measure three unknowns: the way back is
    the pseudo-inverse, the least-squares twist (Siegwart, Nourbakhsh: Autonomous Mobile Robots, section 3.2).

    Args:
        body: geometry; wheel order and sign as `RobotBody` documents.

    Raises:
        ValueError: the wheels cannot move the body in all three directions.
    """

    def __init__(self, body: RobotBody) -> None:
        rows = [[-math.sin(a), math.cos(a), body.wheel_mount_radius_m] for a in body.wheel_angles_rad]
        self.wheels_from_twist: FloatArray = np.array(rows, dtype=np.float64) / body.wheel_radius_m
        if np.linalg.matrix_rank(self.wheels_from_twist) < 3:
            raise ValueError(f"these wheel angles cannot drive in all directions: {body.wheel_angles_rad}")
        self.twist_from_wheels: FloatArray = np.linalg.pinv(self.wheels_from_twist).astype(np.float64)
        self._rows = [(float(r[0]), float(r[1]), float(r[2])) for r in self.wheels_from_twist]

    def wheel_speeds(self, twist: Twist2) -> WheelSpeeds:
        """Return the four wheel speeds in rad/s that give this body twist."""
        vx, vy, omega = twist.vx_m_s, twist.vy_m_s, twist.omega_rad_s
        a, b, c, d = (x * vx + y * vy + w * omega for x, y, w in self._rows)
        return a, b, c, d

    def twist(self, wheel_speeds_rad_s: WheelSpeeds) -> Twist2:
        """Return the least-squares body twist of four wheel speeds in rad/s."""
        vx, vy, omega = self.twist_from_wheels @ np.asarray(wheel_speeds_rad_s, dtype=np.float64)
        return Twist2(float(vx), float(vy), float(omega))

    def fastest_wheel_rad_s(self, twist: Twist2) -> float:
        """Return the largest absolute wheel speed that this twist needs, rad/s."""
        return max(abs(w) for w in self.wheel_speeds(twist))
