"""The robot's body as numbers: shared by kinematics, odometry, the camera's mounting checks and the simulator."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robot.core.field import BALL_RADIUS_M

BODY_LIMITS: dict[str, tuple[float, float]] = {
    "radius_m": (0.02, 0.5),
    "height_m": (0.02, 1.0),
    "mass_kg": (0.1, 50.0),
    "yaw_inertia_kg_m2": (0.0001, 10.0),
    "wheel_mount_radius_m": (0.02, 0.5),
    "wheel_radius_m": (0.005, 0.2),
    "encoder_ticks_per_rev": (16, 1048576),
    "mouth_x_m": (0.0, 0.5),
    "mouth_width_m": (0.005, 0.5),
    "max_speed_m_s": (0.0, 5.0),
    "max_omega_rad_s": (0.0, 30.0),
    "max_kick_speed_m_s": (0.0, 6.5),
}
"""What a robot can be, ends included. Where the firmware has a parameter for it, its limits are these
(`firmware_bridge/protocol/schema.toml`; a test holds them together)."""

WHEEL_ANGLE_LIMIT_RAD = 6.3


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotBody:
    """Dimensions and limits of one robot.

    `wheel_angles_rad` are the wheels' positions around the body, counter-clockwise from the front (x axis), in the
    order in which wheels are numbered everywhere (front left, back left, back right, front right). A positive wheel
    speed drives the body counter-clockwise: the rim at angle a moves along (-sin a, cos a).

    Raises:
        ValueError: a value outside of `BODY_LIMITS`, or a wheel angle beyond a turn; most often its unit is wrong.
    """

    radius_m: float = 0.089
    height_m: float = 0.147
    mass_kg: float = 2.6
    yaw_inertia_kg_m2: float = 0.0110
    wheel_angles_rad: tuple[float, float, float, float] = (
        math.radians(60.0),
        math.radians(135.0),
        math.radians(225.0),
        math.radians(300.0),
    )
    wheel_mount_radius_m: float = 0.0785
    wheel_radius_m: float = 0.027
    encoder_ticks_per_rev: int = 2048
    mouth_x_m: float = 0.072
    mouth_width_m: float = 0.078
    max_speed_m_s: float = 3.0
    max_omega_rad_s: float = 10.0
    max_kick_speed_m_s: float = 6.5

    def __post_init__(self) -> None:
        for name, (low, high) in BODY_LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {value}: is it in SI units?")
        for angle in self.wheel_angles_rad:
            if not abs(angle) <= WHEEL_ANGLE_LIMIT_RAD:
                raise ValueError(f"wheel_angles_rad must lie within a turn, not {angle}: are they in radians?")

    def ball_hold_x_m(self, ball_radius_m: float = BALL_RADIUS_M) -> float:
        """Distance from the robot's centre to a ball that touches the dribbler, metres."""
        return self.mouth_x_m + ball_radius_m
