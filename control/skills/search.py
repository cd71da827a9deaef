"""Find the ball: look around, drive to where most unseen carpet comes into view, look around again."""

from __future__ import annotations

import math
from typing import ClassVar

from control.planning.free_range import clear_distance_m
from control.planning.keep_in import keep_in
from control.planning.viewpoint import longest_way, next_viewpoint, open_side, spin_sign, unseen_bearings
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Pose2, Twist2, wrap_angle
from robot.core.messages import MotionTarget, Vec2

_REPLAN_S = 0.1
_ROLLED_M = 1.5
_STUCK_S = 0.7
_STUCK_M = 0.1
_BLOCKED_AHEAD_M = 0.35
_BLOCKED_RADIUS_M = 0.3


def _of_pass(values: tuple[float, ...], number: int) -> float:
    """Return the value of a pass over the field; the last one repeats."""
    return values[min(number, len(values) - 1)]


@SKILLS.register("search")
class Search:
    """States: `hint` (look where the ball was lost), `look` and `turn` by turns, `travel`, `candidate` (turn towards a
    possible ball).

    DONE when a ball track has enough fresh sightings. Never FAILED: there is nothing better to do than to look.
    """

    name: ClassVar[str] = "search"

    def __init__(self) -> None:
        self._state = "spin"
        self._since_ns = 0
        self._sign = 1.0
        self._turned_rad = 0.0
        self._lead_s = 0.0
        self._last_theta_rad: float | None = None
        self._planned_ns: int | None = None
        self._pass = 0
        self._goal: Vec2 | None = None
        self._resume = "spin"
        self._nearest_m = math.inf
        self._nearest_ns = 0
        self._picture_ns = 0
        self._ended_pictures = 0
        self._whole_turn = False

    def enter(self, view: View) -> None:
        """Start with the place where the ball was lost, if there is one; the memory of the field is kept."""
        hint = view.notes.hint_in_world_m
        if hint is not None:
            bearing = math.atan2(view.in_robot(hint)[1], view.in_robot(hint)[0])
            self._sign = math.copysign(1.0, bearing)
            view.memory.forget_around(hint, _ROLLED_M)
        self._goal = None
        self._switch("spin" if hint is None else "hint", view)

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config, ball = view.config.search, view.world.ball
        if view.ball is not None and view.ball_age_s <= config.confirm_age_s:
            if ball.sightings >= config.confirm_sightings:
                view.notes.hint_in_world_m = ball.ball_in_world_m
                return SkillStep(self._face(view, ball.ball_in_world_m), "found", "ball confirmed", Status.DONE)
            if self._state != "candidate":
                self._resume = self._state if self._state != "hint" else "spin"
                self._switch("candidate", view)
        match self._state:
            case "candidate":
                return self._candidate(view)
            case "hint":
                return self._hint(view)
            case "travel":
                return self._travel(view)
            case _:
                return self._spin(view)

    def _switch(self, state: str, view: View) -> None:
        self._state, self._since_ns = state, view.t_now_ns
        self._last_theta_rad, self._planned_ns, self._turned_rad, self._lead_s = None, None, 0.0, 0.0
        self._whole_turn = False

    def _face(self, view: View, place: tuple[float, float]) -> MotionTarget:
        x, y = view.in_robot(place)
        facing = Pose2(view.pose.x_m, view.pose.y_m, wrap_angle(view.pose.theta_rad + math.atan2(y, x)))
        return view.go(facing, speed_m_s=view.config.search.travel_speed_m_s)

    def _candidate(self, view: View) -> SkillStep:
        config = view.config.search
        if view.ball is None or view.ball_age_s > config.candidate_lost_s:
            place = view.world.ball.ball_in_world_m
            if view.ball is not None:
                view.notes.ignore(place, config.ignore_radius_m, view.t_now_ns, config.ignore_s)
            self._switch(self._resume, view)
            return SkillStep(view.stop(), "candidate", "candidate vanished")
        return SkillStep(self._face(view, view.ball), "candidate", "turning to a possible ball")

    def _hint(self, view: View) -> SkillStep:
        hint = view.notes.hint_in_world_m
        if hint is None or view.seconds_since(self._since_ns) > 2.0 * view.config.search.hint_look_s:
            view.notes.hint_in_world_m = None
            self._switch("spin", view)
            return self._spin(view)
        return SkillStep(self._face(view, hint), "hint", "looking where the ball was lost")

    def _spin(self, view: View) -> SkillStep:
        config = view.config.search
        theta = view.pose.theta_rad
        if self._last_theta_rad is not None:
            self._turned_rad += self._sign * wrap_angle(theta - self._last_theta_rad)
        self._last_theta_rad = theta
        if self._planned_ns is None or view.seconds_since(self._planned_ns) >= _REPLAN_S:
            bearings = unseen_bearings(view.memory, view.pose)
            first = self._planned_ns is None
            self._planned_ns = view.t_now_ns
            if not (bearings or self._whole_turn) or self._turned_rad > math.tau:
                return self._leave(view)
            if first and bearings and min(abs(b) for b in bearings) > config.half_view_rad:
                self._lead_s = _of_pass(config.look_s, self._pass)  # what lies ahead was looked at: begin by turning
            if first:
                self._sign = open_side(view.world.free_range_m, self._sign)
            if first or self._turned_rad < 0.0:
                self._sign = spin_sign(bearings, self._sign)
        look_s = _of_pass(config.look_s, self._pass)
        phase_s = math.fmod(view.seconds_since(self._since_ns) + self._lead_s, look_s + config.turn_s)
        looking = phase_s < look_s
        rate = config.look_rate_rad_s if looking else config.turn_rate_rad_s
        target = view.drive(Twist2(0.0, 0.0, self._sign * rate))
        return SkillStep(target, "look" if looking else "turn", f"looking around, pass {self._pass + 1}")

    def _leave(self, view: View) -> SkillStep:
        """Choose the next place, or begin a new pass where everything was looked at."""
        config = view.config.search
        self._goal = next_viewpoint(view.memory, view.pose, config)
        reason = "driving to unseen carpet"
        if self._goal is None:
            self._pass += 1
            view.memory.forget_looks(_of_pass(config.look_ranges_m, self._pass))
            self._goal = longest_way(view.memory, view.pose, config)
            reason = "all was looked at: another pass"
        if self._goal is None:  # boxed in: nothing known to be free, by walls that others' pushes made it believe in
            view.memory.forget_blocks()
            self._switch("spin", view)
            self._whole_turn = True  # or it would find nothing worth a look, and stand for ever
            return SkillStep(view.stop(), "spin", "no free way")
        self._switch("travel", view)
        self._nearest_m, self._nearest_ns, self._ended_pictures = math.inf, view.t_now_ns, 0
        return self._travel(view, reason)

    def _travel(self, view: View, reason: str = "driving to unseen carpet") -> SkillStep:
        config, pose = view.config.search, view.pose
        if self._goal is None or self._arrived(view, self._goal):
            # Spin from the next tick on: where the next goal is reached at once too, turning to it now would recurse.
            self._switch("spin", view)
            return SkillStep(view.stop(), "spin", "arrived")
        x, y = self._goal
        heading = math.atan2(y - pose.y_m, x - pose.x_m)
        goal = keep_in(Pose2(x, y, heading), view.world.robot, view.field, config.wall_distance_m)
        # the camera should see where the robot goes: turn first, then drive; and without a carpet's edge go slowly
        turned = abs(wrap_angle(heading - pose.theta_rad)) < 0.5
        speed = config.travel_speed_m_s * (1.0 if turned else 0.3) * (1.0 if view.memory.has_edges else 0.5)
        return SkillStep(view.go(goal, speed_m_s=speed, accel_m_s2=config.travel_accel_m_s2), "travel", reason)

    def _arrived(self, view: View, goal: Vec2) -> bool:
        """True at the goal, before a wall, or when the robot does not come nearer (something holds it)."""
        config, pose = view.config.search, view.pose
        x, y = goal
        distance = math.dist((x, y), (pose.x_m, pose.y_m))
        heading = math.atan2(y - pose.y_m, x - pose.x_m)
        if distance <= config.travel_arrive_m:
            return True
        if view.bump_normal is not None:  # a wall that the camera takes for carpet
            (nx, ny), r = view.bump_normal, view.body.radius_m
            view.memory.block_wall((pose.x_m - r * nx, pose.y_m - r * ny), view.bump_normal)
            return True
        if abs(wrap_angle(heading - pose.theta_rad)) > 0.2:
            self._nearest_ns = view.t_now_ns  # still turning
        elif self._wall_ahead(view):
            return True
        if distance < self._nearest_m - _STUCK_M:
            self._nearest_m, self._nearest_ns = distance, view.t_now_ns
        if view.seconds_since(self._nearest_ns) < _STUCK_S:
            return False
        c, s = math.cos(heading), math.sin(heading)
        view.memory.block((pose.x_m + _BLOCKED_AHEAD_M * c, pose.y_m + _BLOCKED_AHEAD_M * s), _BLOCKED_RADIUS_M)
        return True

    def _wall_ahead(self, view: View) -> bool:
        """True when two pictures in a row show the carpet's end close ahead: a single one may be a glitch."""
        taken_ns = view.t_now_ns - view.world.free_range_age_ns
        if taken_ns != self._picture_ns:
            ahead = clear_distance_m(view.world.free_range_m, 0.0, view.body.radius_m)
            ended = ahead is not None and ahead < view.config.search.wall_distance_m
            self._picture_ns, self._ended_pictures = taken_ns, self._ended_pictures + 1 if ended else 0
        return self._ended_pictures >= 2
