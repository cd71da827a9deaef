"""Stage 3: find out where the robot is, drive to the target, stand still; the trial ends after 10 s of that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from control.plays.play import PLAYS, SkillPlay
from control.skills.skill import SkillStep, Status, View
from robot.core.geometry import Pose2

_NEAR_M = 0.6
"""So near the heading is kept: turning to the target would cost more than it shows."""


@PLAYS.register("stage3")
class Stage3(SkillPlay):
    """Find the place, go to the target, stand; a pose that is lost sends the robot back to looking.

    The seed reaches the estimator before the start (`RefereeCommand.seed_in_field_m` at STOP), the target this play
    (`Notes.target_in_field_m`). The robot looks where it drives, and round itself at the target where the lines that
    it has seen do not tell its place well.
    """

    name: ClassVar[str] = "stage3"
    on_field: ClassVar[bool] = True
    first: ClassVar[str] = "find_place"
    table: ClassVar[Mapping[tuple[str, Status], str]] = {
        ("find_place", Status.DONE): "go_to",
        ("go_to", Status.DONE): "stand",  # by way of `look_round`, the first time
        ("look_round", Status.DONE): "go_to",
        ("go_to", Status.FAILED): "find_place",
        ("stand", Status.FAILED): "go_to",
    }

    def __init__(self) -> None:
        super().__init__()
        self._looked = False

    def interrupt(self, view: View) -> str | None:
        """Look again as soon as the pose is no longer believed."""
        return None if view.on_field else "find_place"

    def ended(self, view: View, skill: str, step: SkillStep) -> str | None:
        """Aim before each drive: from here, looking towards the target. Look round once at the target, if unsure."""
        following = super().ended(view, skill, step)
        if following == "stand" and not self._looked and view.sigma_m > view.config.coordinates.sure_m:
            self._looked, following = True, "look_round"
        if following == "go_to":
            target = view.notes.target_in_field_m
            if target is None:
                return "stand"
            here = view.pose
            dx, dy = target[0] - here.x_m, target[1] - here.y_m
            heading = math.atan2(dy, dx) if math.hypot(dx, dy) > _NEAR_M else here.theta_rad
            view.notes.goal_in_world = Pose2(*target, heading)
        return following
