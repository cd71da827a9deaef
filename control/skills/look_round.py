"""Turn round on the spot until the place is known well: lines of one direction tell it across them only."""

from __future__ import annotations

import math
from typing import ClassVar

from control.planning.viewpoint import open_side
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Twist2, wrap_angle


@SKILLS.register("look_round")
class LookRound:
    """DONE: the place is known to `CoordinatesConfig.sure_m`, or the robot has turned once. Never FAILED."""

    name: ClassVar[str] = "look_round"

    def __init__(self) -> None:
        self._sign, self._theta_rad, self._turned_rad = 1.0, 0.0, 0.0

    def enter(self, view: View) -> None:
        """Begin to turn, towards the side where the picture shows more of the field."""
        self._sign = open_side(view.world.free_range_m, self._sign)
        self._theta_rad, self._turned_rad = view.pose.theta_rad, 0.0

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config, sigma_m = view.config.coordinates, view.sigma_m
        self._turned_rad += self._sign * wrap_angle(view.pose.theta_rad - self._theta_rad)
        self._theta_rad = view.pose.theta_rad
        if sigma_m <= config.sure_m or self._turned_rad >= math.tau:
            return SkillStep(view.stop(), "sure", f"the place is known to {sigma_m:.3f} m", Status.DONE)
        turn = Twist2(0.0, 0.0, self._sign * config.turn_rate_rad_s)
        return SkillStep(view.drive(turn), "turn", f"the place is known to {sigma_m:.3f} m only")
