"""Stage 1: find the ball, drive to it, hold it, stand still (the trial ends when the robot has stood for 10 s)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from control.plays.play import PLAYS, SkillPlay
from control.skills.skill import SkillStep, Status, View
from robot.core.geometry import Pose2

_MOVED_M = 0.03
_MOVED_RAD = 0.15


@PLAYS.register("stage1")
class Stage1(SkillPlay):
    """Search, approach, dock, hold; every way of failing leads back to an earlier skill.

    Two rules are the play's own: a believed break-beam ends any skill (the ball may be met by chance, or lie in the
    mouth from the start), and standing still only counts after having moved once, so a robot that starts with the
    ball first drives a few centimetres.
    """

    name: ClassVar[str] = "stage1"
    first: ClassVar[str] = "search"
    table: ClassVar[Mapping[tuple[str, Status], str]] = {
        ("search", Status.DONE): "approach",
        ("approach", Status.DONE): "dock",
        ("approach", Status.FAILED): "search",
        ("dock", Status.DONE): "hold",
        ("dock", Status.FAILED): "back_off",
        ("hold", Status.FAILED): "back_off",
        ("back_off", Status.DONE): "approach",
        ("back_off", Status.FAILED): "search",
        ("go_to", Status.DONE): "hold",
        ("go_to", Status.FAILED): "hold",
    }

    def __init__(self) -> None:
        super().__init__()
        self._start: Pose2 | None = None
        self._moved = False
        self._beam_since_ns: int | None = None
        self._contradicted_ns: int | None = None

    def interrupt(self, view: View) -> str | None:
        """Go to holding as soon as the break-beam is believed, whatever the present skill."""
        self._watch_motion(view)
        if not self._beam_believed(view) or self.current in ("dock", "hold", "go_to"):
            return None
        return self._hold(view)

    def ended(self, view: View, skill: str, step: SkillStep) -> str | None:
        """Count misses, and tell balls from what only looks like one."""
        following = super().ended(view, skill, step)
        notes = view.notes
        if skill in ("dock", "hold") and step.status is Status.FAILED:
            notes.misses += 1
            notes.empty_docks = notes.empty_docks + 1 if skill == "dock" else 0
            if step.state == "miss":
                self._note_driven_over(view)
            if notes.empty_docks >= view.config.play.misses_until_ignored and view.ball is not None:
                notes.empty_docks = 0
                self._ignore(view, view.ball)
        if skill == "back_off" and step.status is Status.DONE and self._is_a_mark(view):
            notes.hint_in_world_m = None
            return "search"
        return self._hold(view) if following == "hold" and skill != "go_to" else following

    @staticmethod
    def _note_driven_over(view: View) -> None:
        notes, place = view.notes, view.notes.hint_in_world_m
        if place is None:
            return
        again = notes.driven_over_m is not None and math.dist(place, notes.driven_over_m) < view.config.play.unmoved_m
        notes.driven_over = notes.driven_over + 1 if again else 1
        notes.driven_over_m = place

    def _is_a_mark(self, view: View) -> bool:
        """True, and the place ignored from now on, when driving over the ball twice has not moved it."""
        ball, notes, config = view.ball, view.notes, view.config.play
        if ball is None or notes.driven_over_m is None or notes.driven_over < config.drives_over_a_mark:
            return False
        if math.dist(ball, notes.driven_over_m) > config.unmoved_m:
            return False
        self._ignore(view, ball)
        return True

    @staticmethod
    def _ignore(view: View, place: tuple[float, float]) -> None:
        radius_m = view.config.search.ignore_radius_m
        view.notes.ignore(place, radius_m, view.t_now_ns, view.config.play.ignore_after_misses_s)

    def _hold(self, view: View) -> str:
        if self._moved:
            return "hold"
        view.notes.goal_in_world = view.pose @ Pose2(view.config.hold.first_move_m, 0.0, 0.0)
        return "go_to"

    def _watch_motion(self, view: View) -> None:
        if self._start is None:
            self._start = view.pose
        turned = abs((self._start.inverse() @ view.pose).theta_rad)
        self._moved = self._moved or self._start.distance_to(view.pose) > _MOVED_M or turned > _MOVED_RAD

    def _beam_believed(self, view: View) -> bool:
        """True when the ball has been at the dribbler for a while: a flicker must not end a search."""
        self._watch_for_a_stuck_beam(view)
        if not view.has_ball:
            self._beam_since_ns = None
            return False
        if self._beam_since_ns is None:
            self._beam_since_ns = view.t_now_ns
        return view.seconds_since(self._beam_since_ns) >= view.config.play.beam_trust_s

    def _watch_for_a_stuck_beam(self, view: View) -> None:
        if not view.world.ball.in_dribbler:
            view.notes.beam_stuck = False
        if not view.world.ball.in_dribbler or not view.ball_seen_elsewhere:
            self._contradicted_ns = None
            return
        if self._contradicted_ns is None:
            self._contradicted_ns = view.t_now_ns
        if view.seconds_since(self._contradicted_ns) >= view.config.play.beam_stuck_s:
            view.notes.beam_stuck = True
