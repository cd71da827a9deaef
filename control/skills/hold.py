"""Stand still with the ball at the dribbler; creep after it when the break-beam loses it."""

from __future__ import annotations

import math
from typing import ClassVar

from control.planning.free_range import nearest_ahead_m
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Pose2, Twist2


@SKILLS.register("hold")
class Hold:
    """States: `hold` (gentle brake, dribbler on), `regrip` (the beam was open for `lost_s`: creep forward; not
    against a wall, where that would only squeeze the ball out).

    Never DONE: holding is the end of stage 1, other plays leave it. FAILED: regripping found nothing.
    """

    name: ClassVar[str] = "hold"

    def __init__(self) -> None:
        self._closed_ns = 0
        self._regrip_ns: int | None = None
        self._regrip_from: Pose2 | None = None

    def enter(self, view: View) -> None:
        """Trust the break-beam as of now."""
        self._closed_ns = view.t_now_ns
        self._regrip_ns, self._regrip_from = None, None

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config, dribbler = view.config.hold, view.config.dock.dribbler_rad_s
        standing = view.stop(brake_m_s2=config.brake_m_s2, dribbler_rad_s=dribbler)
        if view.notes.beam_stuck and view.ball_seen_elsewhere:
            return SkillStep(view.stop(), "lost", "the ball is seen elsewhere", Status.FAILED)
        if view.has_ball or view.notes.beam_stuck:
            self._closed_ns = view.t_now_ns
            self._regrip_ns, self._regrip_from = None, None
            return SkillStep(standing, "hold", "ball at the dribbler")
        if view.seconds_since(self._closed_ns) <= config.lost_s:
            return SkillStep(standing, "hold", "break-beam open, waiting")
        if self._regrip_ns is None or self._regrip_from is None:
            self._regrip_ns, self._regrip_from = view.t_now_ns, view.pose
        moved = math.dist((view.pose.x_m, view.pose.y_m), (self._regrip_from.x_m, self._regrip_from.y_m))
        here = (view.pose.x_m, view.pose.y_m)
        ahead = nearest_ahead_m(view.memory.wall_points(here, 0.4), here, view.pose.theta_rad, 0.04)
        at_wall = ahead < view.body.ball_hold_x_m() + view.config.dock.wall_zone_m
        if at_wall or moved > config.regrip_m or view.seconds_since(self._regrip_ns) > config.regrip_s:
            return SkillStep(view.stop(), "lost", "the ball has left the dribbler", Status.FAILED)
        creep = view.drive(Twist2(config.regrip_speed_m_s, 0.0, 0.0), dribbler_rad_s=dribbler)
        return SkillStep(creep, "regrip", "break-beam open: creeping after the ball")
