"""The last straight onto the ball: dribbler on, slowly, the last part blind on the track and odometry."""

from __future__ import annotations

import math
from typing import ClassVar

from control.motion.trajectory import turn_rate
from control.planning.free_range import nearest_ahead_m
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Twist2, wrap_angle

Vec2 = tuple[float, float]

_TOUCHING_M = 0.03
_FLICKER_S = 0.08
_PROGRESS_M = 0.01
_STUCK_S = 0.7


@SKILLS.register("dock")
class Dock:
    """States: `advance` (until contact is expected), `push` (a little further), `seat` (break-beam closed: press on).

    DONE: the break-beam has been closed for `seat_s`. FAILED: no ball at the expected contact plus the overshoot,
    the ball is seen to have escaped, no progress (pressed against a wall), or time is up.

    The heading is locked on the line to the ball while the ball is seen and kept when it is not: close to the ball a
    millimetre sideways is degrees of bearing, so the last part is steered sideways, not by turning.
    """

    name: ClassVar[str] = "dock"

    def __init__(self) -> None:
        self._since_ns = 0
        self._ball: Vec2 | None = None
        self._heading_rad = 0.0
        self._closed_ns: int | None = None
        self._last_closed_ns = 0
        self._least_gap_m = math.inf
        self._progress_ns = 0

    def enter(self, view: View) -> None:
        """Remember the ball and the line to it."""
        self._since_ns = view.t_now_ns
        self._closed_ns = None
        self._ball = view.ball
        self._heading_rad = view.pose.theta_rad
        self._least_gap_m, self._progress_ns = math.inf, view.t_now_ns

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config = view.config.dock
        dribbler = config.dribbler_rad_s
        if self._at_the_bar(view):
            seated = Twist2(0.0 if self._at_a_wall(view) else config.seat_speed_m_s, 0.0, 0.0)
            pressing = view.drive(seated, accel_m_s2=config.accel_m_s2, dribbler_rad_s=dribbler)
            done = view.has_ball and view.seconds_since(self._closed_ns or view.t_now_ns) >= config.seat_s
            return SkillStep(pressing, "seat", "break-beam closed", Status.DONE if done else Status.RUNNING)
        hold_x = view.body.ball_hold_x_m()
        if view.ball is not None and view.in_robot(view.ball)[0] > hold_x + _TOUCHING_M:
            # closer than this the estimator pushes an unseen ball ahead of the hull, and contact would never be missed
            self._ball = view.ball
        if self._ball is None:
            return SkillStep(view.stop(), "lost", "no ball to dock", Status.FAILED)
        x, y = view.in_robot(self._ball)
        gap = x - hold_x
        far = x > view.config.approach.pre_dock_m + config.escaped_m or abs(y) > config.escaped_m
        if far and view.ball_age_s < 0.2:
            return SkillStep(view.stop(), "lost", "the ball escaped", Status.FAILED)
        if gap < -config.overshoot_m or view.seconds_since(self._since_ns) > config.timeout_s:
            if view.notes.beam_stuck:  # nothing can confirm the ball: the way is all there is
                return SkillStep(view.stop(dribbler_rad_s=dribbler), "blind", "contact assumed", Status.DONE)
            reason = "no ball at the expected contact" if gap < -config.overshoot_m else "time is up"
            return SkillStep(view.stop(), "miss", reason, Status.FAILED)
        if gap < self._least_gap_m - _PROGRESS_M:
            self._least_gap_m, self._progress_ns = gap, view.t_now_ns
        elif view.seconds_since(self._progress_ns) > _STUCK_S:
            return SkillStep(view.stop(), "stuck", "something holds the robot", Status.FAILED)
        state = "advance" if gap > 0.0 else "push"
        return SkillStep(
            view.drive(self._twist(view, x, y, gap), accel_m_s2=config.accel_m_s2, dribbler_rad_s=dribbler),
            state,
            f"{gap:+.3f} m to contact",
        )

    def _at_the_bar(self, view: View) -> bool:
        """True from the first closed break-beam on, until it has been open for longer than a flicker."""
        if view.has_ball:
            self._closed_ns = view.t_now_ns if self._closed_ns is None else self._closed_ns
            self._last_closed_ns = view.t_now_ns
        elif self._closed_ns is not None and view.seconds_since(self._last_closed_ns) > _FLICKER_S:
            self._closed_ns = None
        return self._closed_ns is not None

    def _twist(self, view: View, x: float, y: float, gap: float) -> Twist2:
        config, motion = view.config.dock, view.config.motion
        seen = view.ball is not None and view.ball_age_s < 0.15
        if seen and x > view.config.approach.blind_m:
            self._heading_rad = wrap_angle(view.pose.theta_rad + math.atan2(y, x))
        error = wrap_angle(self._heading_rad - view.pose.theta_rad)
        omega = turn_rate(error, 2.0, 0.3 * motion.max_angular_accel_rad_s2, motion.response_s)
        sideways = max(-config.max_lateral_m_s, min(config.max_lateral_m_s, config.lateral_gain_per_s * y))
        slowdown = config.retry_speed_share ** min(view.notes.misses, 3)
        contact = config.wall_speed_m_s if self._at_a_wall(view) else config.contact_speed_m_s
        forward = config.speed_m_s if gap > config.slow_zone_m else contact
        # a ball beside the mouth would be hit by its edge: first sideways, then on
        half_mouth = 0.5 * view.body.mouth_width_m
        if gap < 0.10 and abs(y) > 0.6 * half_mouth:
            forward *= 0.3
        return Twist2(forward * slowdown, sideways, omega)

    def _at_a_wall(self, view: View) -> bool:
        """True when a wall stands right behind the ball: pressing on would squeeze it out sideways."""
        if self._ball is None:
            return False
        reach, edge = view.config.dock.wall_zone_m, view.config.approach.ball_edge_m
        walls = view.memory.wall_points(self._ball, reach + edge, edge)
        return nearest_ahead_m(walls, self._ball, self._heading_rad, reach + edge) < reach
