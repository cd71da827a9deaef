"""Drive to a pose in the world frame and stop there."""

from __future__ import annotations

import math
from typing import ClassVar

from control.planning.keep_in import keep_in
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import wrap_angle

_AT_M = 0.015
_AT_RAD = 0.03
_STILL_M_S = 0.05
_TIMEOUT_S = 10.0


@SKILLS.register("go_to")
class GoTo:
    """Goes to `Notes.goal_in_world`. DONE: there, and standing. FAILED: no goal, or not there in time."""

    name: ClassVar[str] = "go_to"

    def __init__(self) -> None:
        self._since_ns = 0

    def enter(self, view: View) -> None:
        """Start the clock."""
        self._since_ns = view.t_now_ns

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        goal = view.notes.goal_in_world
        if goal is None or not goal.is_finite():
            return SkillStep(view.stop(), "lost", "no goal", Status.FAILED)
        goal = keep_in(goal, view.world.robot, view.field, view.body.radius_m)
        distance = view.pose.distance_to(goal)
        error = abs(wrap_angle(goal.theta_rad - view.pose.theta_rad))
        still = view.world.robot.twist_in_robot.speed_m_s() < _STILL_M_S
        if distance <= _AT_M and error <= _AT_RAD and still:
            return SkillStep(view.stop(), "there", "goal reached", Status.DONE)
        if view.seconds_since(self._since_ns) > _TIMEOUT_S:
            return SkillStep(view.stop(), "late", f"{distance:.2f} m short of the goal", Status.FAILED)
        dribbler = view.config.dock.dribbler_rad_s if view.has_ball else 0.0
        speed = view.config.approach.speed_m_s
        target = view.go(goal, speed_m_s=speed, accel_m_s2=view.config.approach.accel_m_s2, dribbler_rad_s=dribbler)
        reason = f"{distance:.2f} m, {math.degrees(error):.0f} deg to go"
        return SkillStep(target, "drive", reason)
