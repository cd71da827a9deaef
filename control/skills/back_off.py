"""After a miss: back away until the ball must be in the picture again, and look."""

from __future__ import annotations

import math
from typing import ClassVar

from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Pose2


@SKILLS.register("back_off")
class BackOff:
    """States: `back` (straight back, dribbler off so that the ball stays), `look` (stand and wait for a sighting).

    DONE: the ball was seen since the skill began. FAILED: it was not.
    """

    name: ClassVar[str] = "back_off"

    def __init__(self) -> None:
        self._since_ns = 0
        self._looking_ns: int | None = None
        self._goal: Pose2 | None = None

    def enter(self, view: View) -> None:
        """Fix the place to back off to, in the world frame."""
        self._since_ns = view.t_now_ns
        self._looking_ns = None
        self._goal = view.pose @ Pose2(-view.config.hold.back_off_m, 0.0, 0.0)

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config = view.config.hold
        goal = self._goal or view.pose
        left = math.dist((view.pose.x_m, view.pose.y_m), (goal.x_m, goal.y_m))
        age_s = view.ball_age_s
        seen = age_s < 0.15 and age_s < view.seconds_since(self._since_ns) - 0.1
        if seen and left < 0.6 * config.back_off_m:
            return SkillStep(view.stop(), "seen", "the ball is in view again", Status.DONE)
        back_s = 1.0 + 2.0 * config.back_off_m / config.back_off_speed_m_s
        if left > 0.04 and self._looking_ns is None and view.seconds_since(self._since_ns) < back_s:
            target = view.go(goal, speed_m_s=config.back_off_speed_m_s)
            return SkillStep(target, "back", f"{left:.2f} m to go")
        if self._looking_ns is None:
            self._looking_ns = view.t_now_ns
        if view.seconds_since(self._looking_ns) > config.look_s:
            return SkillStep(view.stop(), "lost", "the ball is not in view", Status.FAILED)
        return SkillStep(view.stop(), "look", "waiting for a sighting")
