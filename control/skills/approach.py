"""Drive to the place from which the ball can be docked: behind it, facing it, clear of walls."""

from __future__ import annotations

import math
from typing import ClassVar

from control.motion.trajectory import speed_to_stop
from control.planning.approach_line import approach_heading
from control.planning.free_range import nearest_ahead_m
from control.planning.keep_in import keep_in
from control.skills.skill import SKILLS, SkillStep, Status, View
from robot.core.geometry import Pose2, wrap_angle
from robot.core.messages import MotionTarget

Vec2 = tuple[float, float]

_ORBIT_STEP_RAD = math.radians(50.0)
_ORBIT_FROM_RAD = math.radians(60.0)
_WALLS_WITHIN_M = 1.2
_ALONG_WALLS_M_S = 0.2


@SKILLS.register("approach")
class Approach:
    """States: `drive` (straight, or round the ball), `align` (at the pre-dock place), `coast` (not seen, still far:
    on towards its last place), `look` (not seen: stop and face that place).

    DONE: at the pre-dock distance, ball ahead, seen lately. FAILED: the ball was lost, or time is up.
    """

    name: ClassVar[str] = "approach"

    def __init__(self) -> None:
        self._since_ns = 0
        self._seen_ns = 0
        self._ball: Vec2 | None = None
        self._line_rad: float | None = None

    def enter(self, view: View) -> None:
        """Start the clock."""
        self._since_ns = view.t_now_ns
        self._ball, self._seen_ns = view.notes.hint_in_world_m, view.t_now_ns
        self._line_rad = None

    def step(self, view: View) -> SkillStep:
        """See `Skill.step`."""
        config = view.config.approach
        if view.ball is not None:
            self._ball = view.notes.hint_in_world_m = view.ball
            self._seen_ns = view.t_now_ns - view.world.ball.age_ns
        if self._ball is None or view.seconds_since(self._since_ns) > config.timeout_s:
            reason = "no ball" if self._ball is None else "time is up"
            return SkillStep(view.stop(), "lost", reason, Status.FAILED)
        distance = math.dist(self._ball, (view.pose.x_m, view.pose.y_m))
        unseen_s = view.seconds_since(self._seen_ns)
        if unseen_s > config.look_s and distance > config.blind_m:
            # far away a detector misses many frames, and the nearer the surer it is: go on, slowly, before stopping
            if distance > config.sure_m and unseen_s < config.coast_s:
                return SkillStep(self._towards(view, self._ball, config.coast_speed_m_s), "coast", "ball not seen")
            return self._look(view, self._ball, unseen_s)
        return self._drive(view, self._where_it_will_be(view, self._ball))

    def _drive(self, view: View, ball: Vec2) -> SkillStep:
        config = view.config.approach
        heading = self._heading(view, ball)
        x, y = Pose2(*ball, heading).inverse().transform((view.pose.x_m, view.pose.y_m))
        error = wrap_angle(heading - view.pose.theta_rad)
        at_distance = -x <= config.pre_dock_m + config.lateral_tolerance_m
        aligned = abs(y) <= config.lateral_tolerance_m and abs(error) <= config.heading_tolerance_rad
        if at_distance and aligned and x < 0.0:
            return SkillStep(self._straight(view, ball, heading, -x), "ready", "behind the ball", Status.DONE)
        if at_distance and x < 0.0 and abs(y) < config.pre_dock_m:
            return SkillStep(self._to(view, ball, heading), "align", f"{y:+.3f} m beside the line")
        off = abs(wrap_angle(math.atan2(-y, -x)))
        if off > math.radians(8.0):
            return SkillStep(self._around(view, ball, heading), "drive", "going round the ball")
        return SkillStep(self._straight(view, ball, heading, math.hypot(x, y)), "drive", "straight to the ball")

    def _look(self, view: View, ball: Vec2, unseen_s: float) -> SkillStep:
        """Stop and face the place where the ball should be; give up when it stays unseen."""
        config = view.config.approach
        if unseen_s > config.coast_s + config.lost_s:
            if view.ball is not None and view.world.ball.sightings < 4 * view.config.search.confirm_sightings:
                search = view.config.search
                view.notes.ignore(ball, search.ignore_radius_m, view.t_now_ns, search.ignore_s)
            return SkillStep(view.stop(), "lost", "the ball is not where it should be", Status.FAILED)
        x, y = view.in_robot(ball)
        facing = Pose2(view.pose.x_m, view.pose.y_m, wrap_angle(view.pose.theta_rad + math.atan2(y, x)))
        return SkillStep(view.go(facing, speed_m_s=config.speed_m_s), "look", "the ball is not seen")

    def _towards(self, view: View, ball: Vec2, speed_m_s: float) -> MotionTarget:
        """Drive to where the ball would surely be seen, facing it."""
        config, pose = view.config.approach, view.pose
        heading = math.atan2(ball[1] - pose.y_m, ball[0] - pose.x_m)
        goal = Pose2(*ball, heading) @ Pose2(-0.8 * config.sure_m, 0.0, 0.0)
        return view.go(goal, speed_m_s=speed_m_s, accel_m_s2=config.accel_m_s2)

    def _where_it_will_be(self, view: View, ball: Vec2) -> Vec2:
        """Return the ball's place when the robot gets there, for a ball that rolls (and slows down)."""
        config = view.config.approach
        vx, vy = view.world.ball.velocity_in_world_m_s
        speed = math.hypot(vx, vy)
        if view.ball is None or speed < config.moving_ball_m_s or view.ball_age_s > 0.2:
            return ball
        way = math.dist(ball, (view.pose.x_m, view.pose.y_m))
        lead_s = min(1.0, way / config.speed_m_s, speed / config.ball_decel_m_s2)
        rolled = lead_s * (1.0 - 0.5 * config.ball_decel_m_s2 * lead_s / speed)
        return ball[0] + vx * rolled, ball[1] + vy * rolled

    def _heading(self, view: View, ball: Vec2) -> float:
        """Return the world heading in which to take the ball: direct, unless walls or misses advise otherwise.

        After a second miss the ball is taken a little from the side, left and right by turns: whatever made the robot
        miss should not repeat itself. That line is fixed at the start; one that followed the robot would circle.
        """
        config = view.config.approach
        direct = math.atan2(ball[1] - view.pose.y_m, ball[0] - view.pose.x_m)
        if view.notes.misses >= 2:
            if self._line_rad is None:
                self._line_rad = direct + config.retry_offset_rad * (1.0 if view.notes.misses % 2 else -1.0)
            direct = self._line_rad
        walls = view.memory.wall_points(ball, config.wall_reach_m, config.ball_edge_m)
        return approach_heading(ball, (view.pose.x_m, view.pose.y_m), direct, walls, view.body, config)

    def _straight(self, view: View, ball: Vec2, heading: float, distance_m: float) -> MotionTarget:
        """Drive at the ball, so slowly at the pre-dock distance that docking can take over without a stop."""
        config, motion = view.config.approach, view.config.motion
        bearing = math.atan2(view.in_robot(ball)[1], view.in_robot(ball)[0])
        brake = motion.profile_share * min(config.accel_m_s2, motion.max_brake_m_s2)
        speed = min(
            config.speed_m_s,
            speed_to_stop(distance_m - config.pre_dock_m, brake, motion.response_s, view.config.dock.speed_m_s),
        )
        if abs(bearing) > config.turn_first_rad:
            speed = min(speed, 0.25 * config.speed_m_s)
        contact = Pose2(*ball, heading) @ Pose2(-view.body.ball_hold_x_m(), 0.0, 0.0)
        return view.go(contact, speed_m_s=speed, accel_m_s2=config.accel_m_s2)

    def _to(self, view: View, ball: Vec2, heading: float) -> MotionTarget:
        config = view.config.approach
        behind = Pose2(*ball, heading) @ Pose2(-config.pre_dock_m, 0.0, 0.0)
        return self._carefully(view, behind, 0.5 * config.speed_m_s)

    def _around(self, view: View, ball: Vec2, heading: float) -> MotionTarget:
        """Drive to the pre-dock place, round the ball when it is in the way, always facing it."""
        config = view.config.approach
        dx, dy = view.pose.x_m - ball[0], view.pose.y_m - ball[1]
        facing = math.atan2(-dy, -dx)
        left = wrap_angle(heading - facing)
        side = heading
        if abs(left) > _ORBIT_FROM_RAD:
            side = facing + math.copysign(_ORBIT_STEP_RAD, left)
        goal = Pose2(*ball, side) @ Pose2(-config.pre_dock_m, 0.0, 0.0)
        return self._carefully(view, Pose2(goal.x_m, goal.y_m, facing), config.speed_m_s)

    def _carefully(self, view: View, goal: Pose2, speed_m_s: float) -> MotionTarget:
        """Drive to a pose, sideways or backwards too, slowing down before walls that the camera may not show now."""
        config, motion, pose = view.config.approach, view.config.motion, view.pose
        goal = keep_in(goal, view.world.robot, view.field, view.body.radius_m)
        way = math.atan2(goal.y_m - pose.y_m, goal.x_m - pose.x_m)
        walls = view.memory.wall_points((pose.x_m, pose.y_m), _WALLS_WITHIN_M)
        ahead = nearest_ahead_m(walls, (pose.x_m, pose.y_m), way, view.body.radius_m)
        room = ahead - view.body.radius_m - config.wall_clearance_m
        brake = motion.profile_share * config.accel_m_s2
        safe = speed_to_stop(min(room, _WALLS_WITHIN_M), brake, motion.response_s, _ALONG_WALLS_M_S)
        return view.go(goal, speed_m_s=min(speed_m_s, safe), accel_m_s2=config.accel_m_s2)
