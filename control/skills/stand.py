"""Stand at the goal, and go on to it when a better pose says that the robot is not there."""

from __future__ import annotations

from typing import ClassVar

from control.skills.skill import SKILLS, SkillStep, Status, View


@SKILLS.register("stand")
class Stand:
    """Stands at `Notes.goal_in_world`; all that counts is the place, not the heading.

    Never DONE. FAILED: a pose that is sure (`CoordinatesConfig.sure_m`) is off by more than `again_m`; at most
    `corrections` times a trial, so that a pose that wavers ends, too. One that is not sure is not followed.
    """

    name: ClassVar[str] = "stand"

    def __init__(self) -> None:
        self._since_ns = 0
        self._corrections = 0

    def enter(self, view: View) -> None:
        """Start the clock."""
        self._since_ns = view.t_now_ns

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config, goal = view.config.coordinates, view.notes.goal_in_world
        off_m = 0.0 if goal is None else view.pose.distance_to(goal)
        settled = view.seconds_since(self._since_ns) > config.settle_s and view.sigma_m <= config.sure_m
        if settled and off_m > config.again_m and self._corrections < config.corrections:
            self._corrections += 1
            return SkillStep(view.stop(), "off", f"{off_m:.2f} m from the goal", Status.FAILED)
        return SkillStep(view.stop(), "stand", f"{off_m:.3f} m from the goal")
