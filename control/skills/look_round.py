"""Turn round on the spot until the place is known well: lines of one direction tell it across them only."""

from __future__ import annotations

import math
from typing import ClassVar

from control.planning.turned import Turned
from control.planning.viewpoint import open_side
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Twist2


@SKILLS.register("look_round")
class LookRound:
    """DONE: the place is known to `CoordinatesConfig.sure_m`, or the robot has turned once. Never FAILED."""

    name: ClassVar[str] = "look_round"

    def __init__(self) -> None:
        self._turned = Turned()

    def enter(self, view: View) -> None:
        """Begin to turn, towards the side where the picture shows more of the field."""
        self._turned.begin(view.world.robot, open_side(view.world.free_range_m, self._turned.sign))

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config, sigma_m = view.config.coordinates, view.sigma_m
        round_once = self._turned.update(view.world.robot) >= math.tau
        if sigma_m <= config.sure_m or round_once:
            return SkillStep(view.stop(), "sure", f"the place is known to {sigma_m:.3f} m", Status.DONE)
        turn = Twist2(0.0, 0.0, self._turned.sign * config.turn_rate_rad_s)
        return SkillStep(view.drive(turn), "turn", f"the place is known to {sigma_m:.3f} m only")
