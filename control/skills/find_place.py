"""Find out where on the field the robot is: turn round, which shows the most lines; then from another place."""

from __future__ import annotations

import math
from typing import ClassVar

from control.planning.free_range import clear_distance_m
from control.planning.turned import Turned
from control.planning.viewpoint import open_side
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Twist2

_WIDE = 0.85
"""A direction is as good as the widest when this share of its carpet is seen there: pictures differ."""


@SKILLS.register("find_place")
class FindPlace:
    """States: `turn` (on the spot), `move` (after a whole turn in vain: a hop to where the turn showed most carpet).

    DONE as soon as the pose is known; an ambiguous one (`RobotState.mirror_ambiguous`) after a whole turn, in which
    nothing has told the two ends apart. Never FAILED: there is nothing better to do than to look.
    """

    name: ClassVar[str] = "find_place"

    def __init__(self) -> None:
        self._state = "turn"
        self._turned = Turned()
        self._widest_m = 0.0
        self._since_ns = 0

    def enter(self, view: View) -> None:
        """Begin to turn, towards the side where the picture shows more of the field."""
        self._turn(view, open_side(view.world.free_range_m, self._turned.sign))

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config, robot = view.config.coordinates, view.world.robot
        round_once = self._turned.update(robot) >= math.tau
        if view.on_field and (round_once or not robot.mirror_ambiguous):
            return SkillStep(view.stop(), "found", "the pose is known", Status.DONE)
        ahead_m = clear_distance_m(view.world.free_range_m, 0.0, view.body.radius_m)
        if ahead_m is not None:  # None: no edge in the corridor, so it says nothing
            self._widest_m = max(self._widest_m, ahead_m)
            if self._state == "turn" and round_once and ahead_m > max(config.hop_clear_m, _WIDE * self._widest_m):
                self._state, self._since_ns = "move", view.t_now_ns
        walled = ahead_m is not None and ahead_m < config.hop_clear_m
        if self._state == "move" and (walled or view.seconds_since(self._since_ns) > config.hop_s):
            self._turn(view, self._turned.sign)
        if self._state == "move":
            return SkillStep(view.drive(Twist2(config.hop_speed_m_s, 0.0, 0.0)), "move", "looking from another place")
        rate = self._turned.sign * config.turn_rate_rad_s
        return SkillStep(view.drive(Twist2(0.0, 0.0, rate)), "turn", "looking for the lines that tell the place")

    def _turn(self, view: View, sign: float) -> None:
        self._state, self._widest_m = "turn", 0.0
        self._turned.begin(view.world.robot, sign)
