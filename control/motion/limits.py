"""From what a skill wants to what the wheels are told: every bound of the robot is enforced here, and only here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from control.config import ControlConfig, MotionLimits
from control.motion.bump import BumpDetector
from control.motion.kinematics import OmniKinematics
from control.motion.rates import RateLimits, RateState, clip_norm, next_rate
from control.motion.trajectory import speed_to_stop, twist_towards
from control.planning.free_range import clear_distance_m
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.geometry import Twist2
from robot.core.messages import MotionCommand, MotionTarget, TargetMode, Vec2, WorldModel


@dataclass(slots=True)
class _Bounds:
    """The bounds of one tick, after those of the target and of carrying."""

    speed_m_s: float
    omega_rad_s: float
    accel_m_s2: float
    brake_m_s2: float


class MotionLimiter:
    """Turns each `MotionTarget` into a `MotionCommand` inside speed, acceleration, jerk and wheel-speed limits.

    Accelerations are those of the body over the floor: the last command is turned by what the body has turned
    since, because a constant velocity over the floor changes in a turning body's axes. The angular velocity has its
    own acceleration and jerk limits. Limits that changed the command are named in `applied_limits`.

    Args:
        config: the control room's configuration; `config.motion` is used.
        body: for the wheels and the radius.
    """

    def __init__(self, config: ControlConfig, body: RobotBody) -> None:
        self._limits: MotionLimits = config.motion
        self._body = body
        self._kinematics = OmniKinematics(body)
        self._max_speed_m_s = min(config.motion.max_speed_m_s, body.max_speed_m_s)
        self._max_omega_rad_s = min(config.motion.max_omega_rad_s, body.max_omega_rad_s)
        self._bumps = BumpDetector(config.motion.bump_accel_m_s2)
        self._linear = RateState()
        self._angular = RateState()
        self._t_last_ns: int | None = None
        self._seq = 0

    def apply(self, target: MotionTarget, world: WorldModel, t_now_ns: int) -> MotionCommand:
        """Return the command of this tick and remember it as the one that was sent.

        Args:
            target: what is wanted; NaN or infinity anywhere in it means stop.
            world: for carrying (break-beam), the free range ahead, and whether the wheels are armed.
            t_now_ns: time of this tick; a time not after the last one changes nothing but the stop flag.
        """
        applied: list[str] = []
        dt_s = self._tick_s(t_now_ns, applied)
        if world.telemetry is not None and (world.telemetry.estop or not world.telemetry.armed):
            # the wheels do not follow: ramps must start from rest when they are armed again
            self._linear, self._angular = RateState(), RateState()
            return self._command(target, t_now_ns, ("not_armed",), stop=True)
        if self._bumps.normal_in_robot(world.telemetry, world.robot.twist_in_robot) is not None:
            # something has stopped the body: driving on at the old speed would only spin the wheels
            applied.append("bump")
            self._linear = RateState()
        usable = _is_finite(target)
        if not usable:
            applied.append("nan_guard")
        stopping = target.mode is TargetMode.STOP or not usable
        bounds = self._bounds(target, world, stopping, applied)
        goal = Twist2() if stopping else self._goal(target, world, bounds, applied)
        if dt_s > 0.0:
            self._move(goal, bounds, dt_s, applied)
        standing = self._linear.velocity == (0.0, 0.0) and self._angular.velocity[0] == 0.0
        if not usable:
            target = _without_tools(target)
        return self._command(target, t_now_ns, tuple(applied), stop=stopping and standing)

    def _tick_s(self, t_now_ns: int, applied: list[str]) -> float:
        limits = self._limits
        if self._t_last_ns is None:
            dt_s = limits.nominal_tick_s
        else:
            dt_s = (t_now_ns - self._t_last_ns) / NS_PER_S
        self._t_last_ns = t_now_ns if self._t_last_ns is None else max(t_now_ns, self._t_last_ns)
        if dt_s > limits.max_tick_s:
            applied.append("late_tick")
        return min(max(dt_s, 0.0), limits.max_tick_s)

    def _bounds(self, target: MotionTarget, world: WorldModel, stopping: bool, applied: list[str]) -> _Bounds:
        limits = self._limits
        asked_accel = target.max_accel_m_s2
        if not math.isfinite(asked_accel) or asked_accel <= 0.0:
            asked_accel = limits.max_brake_m_s2
        bounds = _Bounds(
            speed_m_s=self._max_speed_m_s if stopping else min(self._max_speed_m_s, max(0.0, target.max_speed_m_s)),
            omega_rad_s=self._max_omega_rad_s
            if stopping
            else min(self._max_omega_rad_s, max(0.0, target.max_omega_rad_s)),
            accel_m_s2=min(limits.max_accel_m_s2, asked_accel),
            brake_m_s2=min(limits.max_brake_m_s2, asked_accel),
        )
        if world.ball.in_dribbler and target.dribbler_rad_s > 0.0 and not stopping:
            applied.append("carrying")
            bounds.omega_rad_s = min(bounds.omega_rad_s, limits.carry_omega_rad_s)
            turning = min(1.0, abs(self._angular.velocity[0]) / limits.carry_omega_rad_s)
            share = 1.0 - (1.0 - limits.carry_turning_share) * turning
            bounds.speed_m_s = min(bounds.speed_m_s, limits.carry_speed_m_s * share)
            bounds.accel_m_s2 = min(bounds.accel_m_s2, limits.carry_accel_m_s2)
            bounds.brake_m_s2 = min(bounds.brake_m_s2, limits.carry_accel_m_s2)
        return bounds

    def _goal(self, target: MotionTarget, world: WorldModel, bounds: _Bounds, applied: list[str]) -> Twist2:
        limits = self._limits
        if target.mode is TargetMode.POSE:
            twist = twist_towards(
                target.pose_in_robot,
                max_speed_m_s=bounds.speed_m_s,
                max_omega_rad_s=bounds.omega_rad_s,
                decel_m_s2=limits.profile_share * bounds.brake_m_s2,
                angular_decel_rad_s2=limits.profile_share * limits.max_angular_accel_rad_s2,
                response_s=limits.response_s,
                ramp_s=0.5 * bounds.brake_m_s2 / limits.max_jerk_m_s3,
            )
        else:
            twist = target.twist_in_robot
        velocity = clip_norm((twist.vx_m_s, twist.vy_m_s), bounds.speed_m_s)
        omega = max(-bounds.omega_rad_s, min(bounds.omega_rad_s, twist.omega_rad_s))
        if velocity != (twist.vx_m_s, twist.vy_m_s):
            applied.append("speed")
        if omega != twist.omega_rad_s:
            applied.append("omega")
        guarded = self._before_the_wall(velocity, world, bounds)
        if guarded != velocity:
            applied.append("free_range")
        return Twist2(*guarded, omega)

    def _before_the_wall(self, velocity: Vec2, world: WorldModel, bounds: _Bounds) -> Vec2:
        """Return the velocity slowed so that the robot can stop before the carpet's edge that the camera shows."""
        limits = self._limits
        speed = math.hypot(*velocity)
        age_s = world.free_range_age_ns / NS_PER_S
        if speed <= limits.creep_speed_m_s or not world.free_range_m or age_s > limits.free_range_max_age_s:
            return velocity
        # the picture is old: the direction as it was seen from the body then
        direction = math.atan2(velocity[1], velocity[0]) + world.robot.twist_in_robot.omega_rad_s * age_s
        clear = clear_distance_m(world.free_range_m, direction, self._body.radius_m)
        if clear is None or not math.isfinite(clear):
            return velocity
        moved = math.hypot(world.robot.twist_in_robot.vx_m_s, world.robot.twist_in_robot.vy_m_s) * age_s
        left = clear - moved - self._body.radius_m - limits.wall_margin_m
        brake = limits.profile_share * bounds.brake_m_s2
        return clip_norm(velocity, speed_to_stop(left, brake, limits.response_s, limits.creep_speed_m_s))

    def _move(self, goal: Twist2, bounds: _Bounds, dt_s: float, applied: list[str]) -> None:
        limits = self._limits
        linear = RateLimits(self._max_speed_m_s, bounds.accel_m_s2, bounds.brake_m_s2, limits.max_jerk_m_s3)
        spin = limits.max_angular_accel_rad_s2
        angular = RateLimits(self._max_omega_rad_s, spin, spin, limits.max_angular_jerk_rad_s3)
        seen_now = self._linear.turned(self._angular.velocity[0] * dt_s)
        self._linear = next_rate(seen_now, (goal.vx_m_s, goal.vy_m_s), linear, dt_s)
        self._angular = next_rate(self._angular, (goal.omega_rad_s, 0.0), angular, dt_s)
        if self._linear.velocity != (goal.vx_m_s, goal.vy_m_s) or self._angular.velocity[0] != goal.omega_rad_s:
            applied.append("acceleration")
        fastest = self._kinematics.fastest_wheel_rad_s(self._twist())
        if fastest > limits.max_wheel_speed_rad_s:
            # the motors cannot do it anyway; scaling all three keeps the direction, which clipping wheels would not
            applied.append("wheel_speed")
            share = limits.max_wheel_speed_rad_s / fastest
            (vx, vy), omega = self._linear.velocity, self._angular.velocity[0]
            self._linear = RateState((vx * share, vy * share), self._linear.accel)
            self._angular = RateState((omega * share, 0.0), self._angular.accel)

    def _twist(self) -> Twist2:
        return Twist2(*self._linear.velocity, self._angular.velocity[0])

    def _command(self, target: MotionTarget, t_now_ns: int, applied: tuple[str, ...], *, stop: bool) -> MotionCommand:
        seq = self._seq
        self._seq += 1
        kick = min(max(0.0, target.kick_speed_m_s), self._body.max_kick_speed_m_s)
        return MotionCommand(
            seq=seq,
            t_capture_ns=t_now_ns,
            t_receive_ns=t_now_ns,
            valid=True,
            twist_in_robot=Twist2() if stop else self._twist(),
            dribbler_rad_s=max(0.0, target.dribbler_rad_s),
            kick_speed_m_s=kick,
            chip=target.chip and kick > 0.0,
            stop=stop,
            valid_for_ms=self._limits.valid_for_ms,
            applied_limits=applied,
        )


def _is_finite(target: MotionTarget) -> bool:
    """True when every number that the target's mode uses is finite."""
    numbers = [target.max_speed_m_s, target.max_omega_rad_s, target.max_accel_m_s2]
    numbers += [target.dribbler_rad_s, target.kick_speed_m_s]
    if target.mode is TargetMode.TWIST and not target.twist_in_robot.is_finite():
        return False
    if target.mode is TargetMode.POSE and not target.pose_in_robot.is_finite():
        return False
    return all(math.isfinite(n) for n in numbers)


def _without_tools(target: MotionTarget) -> MotionTarget:
    """Return a plain stop: a target with a broken number is not believed about its dribbler or kicker either."""
    return replace(target, mode=TargetMode.STOP, dribbler_rad_s=0.0, kick_speed_m_s=0.0, chip=False)
