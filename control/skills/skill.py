"""What a skill is: the view that it gets each tick, the step that it answers with, and the helpers that all share."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from control.config import ControlConfig
from control.planning.memory import FieldMemory
from control.registry import Registry
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Localisation, MotionTarget, TargetMode, WorldModel

Vec2 = tuple[float, float]


class Status(enum.Enum):
    """Whether a skill goes on, has done its work, or gives up."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class IgnoredPlace:
    """A place where a ball was believed and was not: nothing there counts until `until_ns`."""

    position_in_world_m: Vec2
    radius_m: float
    until_ns: int


@dataclass(slots=True)
class Notes:
    """What skills of one trial tell each other: the only state that outlives a skill."""

    misses: int = 0
    """How often docking or holding has failed."""
    empty_docks: int = 0
    """Docks in a row that met nothing: a ball that was held in between is real, however hard to keep."""
    hint_in_world_m: Vec2 | None = None
    ignored: list[IgnoredPlace] = field(default_factory=list)
    beam_stuck: bool = False
    """The break-beam stays closed although the ball was seen elsewhere: it says nothing until it opens."""
    driven_over_m: Vec2 | None = None
    """Where docks have passed without meeting a ball, world frame."""
    driven_over: int = 0
    """How many docks in a row have passed over that same place."""
    goal_in_world: Pose2 | None = None
    """Where `go_to` should go."""
    target_in_field_m: Vec2 | None = None
    """Where the referee wants the robot to be at the end (stage 3), field frame."""

    def ignore(self, place: Vec2, radius_m: float, now_ns: int, for_s: float) -> None:
        """Do not believe in a ball there for some time; forgets the places whose time is over."""
        self.ignored = [p for p in self.ignored if p.until_ns > now_ns]
        self.ignored.append(IgnoredPlace(place, radius_m, now_ns + int(for_s * NS_PER_S)))


@dataclass(frozen=True, slots=True)
class View:
    """All that a skill may look at in one tick."""

    world: WorldModel
    t_now_ns: int
    seq: int
    config: ControlConfig
    body: RobotBody
    field: FieldGeometry
    memory: FieldMemory
    notes: Notes
    bump_normal: Vec2 | None = None
    """Set in the tick in which the robot has run into something: the unit vector away from it, world frame."""
    speed_share: float = 1.0
    """Below 1 in DEGRADED mode: multiplies every speed limit."""

    @property
    def pose(self) -> Pose2:
        """The robot in the world frame."""
        return self.world.robot.world_from_robot

    @property
    def on_field(self) -> bool:
        """True while the pose is believed to be the robot's place on the field."""
        return self.world.robot.localisation in (Localisation.SEEDED, Localisation.TRACKING)

    @property
    def sigma_m(self) -> float:
        """Standard deviation of the robot's place along the axis on which it is known worse, metres."""
        covariance = self.world.robot.covariance
        return math.sqrt(max(covariance[0][0], covariance[1][1], 0.0))

    def seconds_since(self, t_ns: int) -> float:
        """Time from `t_ns` to now, in seconds."""
        return (self.t_now_ns - t_ns) / NS_PER_S

    @property
    def has_ball(self) -> bool:
        """True while the break-beam is closed and can be believed."""
        return self.world.ball.in_dribbler and not self.notes.beam_stuck and not self.ball_seen_elsewhere

    @property
    def ball_seen_elsewhere(self) -> bool:
        """True when the last picture shows the ball too far away to be at the dribbler."""
        ball = self.world.ball
        return ball.valid and ball.visible and math.hypot(*ball.ball_in_robot_m) > self.config.play.beam_trust_range_m

    @property
    def ball_age_s(self) -> float:
        """Time since the ball was last sighted, seconds; infinite without a track."""
        return self.world.ball.age_ns / NS_PER_S if self.ball is not None else math.inf

    @property
    def ball(self) -> Vec2 | None:
        """The ball in the world frame, or None: no track, a broken one, or one at an ignored place."""
        ball = self.world.ball
        if not ball.valid or not all(math.isfinite(v) for v in ball.ball_in_world_m):
            return None
        for place in self.notes.ignored:
            near = math.dist(place.position_in_world_m, ball.ball_in_world_m) <= place.radius_m
            if near and self.t_now_ns < place.until_ns:
                return None
        return ball.ball_in_world_m

    def in_robot(self, point_in_world_m: Vec2) -> Vec2:
        """Map a world point into the robot frame of this tick."""
        return self.pose.inverse().transform(point_in_world_m)

    # --- targets --------------------------------------------------------------------------------------------------

    def stop(self, *, brake_m_s2: float | None = None, dribbler_rad_s: float = 0.0) -> MotionTarget:
        """Return a target that brakes and stands; gently when `brake_m_s2` says so."""
        return MotionTarget(
            seq=self.seq,
            t_capture_ns=self.t_now_ns,
            t_receive_ns=self.t_now_ns,
            valid=True,
            mode=TargetMode.STOP,
            max_accel_m_s2=brake_m_s2 or self.config.motion.max_brake_m_s2,
            dribbler_rad_s=dribbler_rad_s,
        )

    def drive(self, twist: Twist2, *, accel_m_s2: float | None = None, dribbler_rad_s: float = 0.0) -> MotionTarget:
        """Return a target with a body twist."""
        motion = self.config.motion
        share = self.speed_share
        return MotionTarget(
            seq=self.seq,
            t_capture_ns=self.t_now_ns,
            t_receive_ns=self.t_now_ns,
            valid=True,
            mode=TargetMode.TWIST,
            twist_in_robot=Twist2(twist.vx_m_s * share, twist.vy_m_s * share, twist.omega_rad_s * share),
            max_speed_m_s=motion.max_speed_m_s,
            max_omega_rad_s=motion.max_omega_rad_s,
            max_accel_m_s2=accel_m_s2 or motion.max_accel_m_s2,
            dribbler_rad_s=dribbler_rad_s,
        )

    def go(
        self,
        goal_in_world: Pose2,
        *,
        speed_m_s: float,
        omega_rad_s: float | None = None,
        accel_m_s2: float | None = None,
        dribbler_rad_s: float = 0.0,
    ) -> MotionTarget:
        """Return a target with a pose in the world frame, to be reached with no speed left."""
        motion = self.config.motion
        return MotionTarget(
            seq=self.seq,
            t_capture_ns=self.t_now_ns,
            t_receive_ns=self.t_now_ns,
            valid=True,
            mode=TargetMode.POSE,
            pose_in_robot=self.pose.inverse() @ goal_in_world,
            max_speed_m_s=speed_m_s * self.speed_share,
            max_omega_rad_s=(omega_rad_s or motion.max_omega_rad_s) * self.speed_share,
            max_accel_m_s2=accel_m_s2 or motion.max_accel_m_s2,
            dribbler_rad_s=dribbler_rad_s,
        )


@dataclass(frozen=True, slots=True)
class SkillStep:
    """A skill's answer for one tick: what to do, in which of its states, why, and whether it is over."""

    target: MotionTarget
    state: str
    reason: str = ""
    status: Status = Status.RUNNING


class Skill(Protocol):
    """A small state machine. `enter` starts it afresh; `step` is called every tick until it is DONE or FAILED."""

    name: ClassVar[str]

    def enter(self, view: View) -> None:
        """Begin: forget everything from the last time."""
        ...

    def step(self, view: View) -> SkillStep:
        """Decide for one tick. Pure in the view and the skill's own state."""
        ...


SKILLS: Registry[Skill] = Registry("skill")
