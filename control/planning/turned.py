"""How far the robot has turned on the spot."""

from __future__ import annotations

from robot.core.geometry import wrap_angle
from robot.core.messages import RobotState


class Turned:
    """The angle turned one way since `begin`, by dead reckoning: the world frame jumps when the pose is found."""

    def __init__(self) -> None:
        self.sign = 1.0
        self.rad = 0.0
        self._theta_rad = 0.0

    def begin(self, robot: RobotState, sign: float) -> None:
        """Count from here; `sign` +1 counts to the left."""
        self.sign, self.rad, self._theta_rad = sign, 0.0, _heading_rad(robot)

    def update(self, robot: RobotState) -> float:
        """Return the angle so far, radians: below 0 where the robot has turned the other way."""
        theta_rad = _heading_rad(robot)
        self.rad += self.sign * wrap_angle(theta_rad - self._theta_rad)
        self._theta_rad = theta_rad
        return self.rad


def _heading_rad(robot: RobotState) -> float:
    return (robot.odom_from_robot or robot.world_from_robot).theta_rad
