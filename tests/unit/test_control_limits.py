"""No command leaves the limits, whatever is asked; and what is asked sensibly is reached."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.config import ControlConfig, MotionLimits
from control.motion.kinematics import OmniKinematics
from control.motion.limits import MotionLimiter
from control.motion.rates import RateLimits, RateState, next_rate
from control.motion.trajectory import speed_to_stop, turn_rate
from robot.core.body import RobotBody
from robot.core.geometry import Pose2, Twist2, exponential_map
from robot.core.messages import (
    BallState,
    Localisation,
    MotionTarget,
    RobotState,
    TargetMode,
    TelemetryFrame,
    WorldModel,
)

BODY = RobotBody()
LIMITS = MotionLimits()
TICK_NS = 10_000_000
HEAD = {"seq": 0, "t_capture_ns": 0, "t_receive_ns": 0, "valid": True}
NAN = math.nan


def world(*, held: bool = False, free_range=(), twist: Twist2 | None = None, telemetry=None) -> WorldModel:
    robot = RobotState(
        **HEAD,
        world_from_robot=Pose2(),
        twist_in_robot=twist or Twist2(),
        covariance=((0.0,) * 3,) * 3,
        localisation=Localisation.ODOMETRY,
    )
    ball = BallState(**HEAD, in_dribbler=held)
    return WorldModel(**HEAD, robot=robot, ball=ball, free_range_m=tuple(free_range), telemetry=telemetry)


def drive(vx: float, vy: float = 0.0, omega: float = 0.0, **changes) -> MotionTarget:
    fields = {"max_speed_m_s": 10.0, "max_omega_rad_s": 20.0, "max_accel_m_s2": 100.0, **changes}
    return MotionTarget(**HEAD, mode=TargetMode.TWIST, twist_in_robot=Twist2(vx, vy, omega), **fields)


def stop(**changes) -> MotionTarget:
    return MotionTarget(**HEAD, mode=TargetMode.STOP, **{"max_accel_m_s2": 100.0, **changes})


wild = st.one_of(st.floats(-20.0, 20.0), st.sampled_from([NAN, math.inf, -math.inf, 0.0, 1e300]))
bounded = st.one_of(st.floats(0.0, 10.0), st.sampled_from([NAN, math.inf, -1.0, 0.0]))
targets = st.builds(
    lambda mode, a, b, c, speed, omega, accel: MotionTarget(
        **HEAD,
        mode=mode,
        twist_in_robot=Twist2(a, b, c),
        pose_in_robot=Pose2(a, b, c),
        max_speed_m_s=speed,
        max_omega_rad_s=omega,
        max_accel_m_s2=accel,
        dribbler_rad_s=speed,
        kick_speed_m_s=a,
    ),
    st.sampled_from(list(TargetMode)),
    wild,
    wild,
    wild,
    bounded,
    bounded,
    bounded,
)


def over_the_floor(commands, dt_s):
    """Return each command's velocity in axes that do not turn."""
    heading, out = 0.0, []
    for command in commands:
        t = command.twist_in_robot
        c, s = math.cos(heading), math.sin(heading)
        out.append((c * t.vx_m_s - s * t.vy_m_s, s * t.vx_m_s + c * t.vy_m_s))
        heading += t.omega_rad_s * dt_s
    return out


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(targets, st.integers(1, 25), st.booleans()), min_size=1, max_size=8))
def test_no_command_violates_speed_acceleration_or_jerk(script):
    limiter, dt = MotionLimiter(ControlConfig(), BODY), 0.01
    commands, t = [], 0
    for target, ticks, held in script:
        for _ in range(ticks):
            commands.append(limiter.apply(target, world(held=held), t))
            t += TICK_NS
    assert all(c.twist_in_robot.is_finite() for c in commands)
    velocity = [(0.0, 0.0), (0.0, 0.0), *over_the_floor(commands, dt)]
    omega = [0.0, 0.0, *(c.twist_in_robot.omega_rad_s for c in commands)]
    accel_most = max(LIMITS.max_accel_m_s2, LIMITS.max_brake_m_s2)
    for i in range(2, len(velocity)):
        now, last, before = velocity[i], velocity[i - 1], velocity[i - 2]
        assert math.hypot(*now) <= LIMITS.max_speed_m_s + 1e-9
        assert math.dist(now, last) / dt <= accel_most + 1e-6
        jerk = math.hypot(now[0] - 2 * last[0] + before[0], now[1] - 2 * last[1] + before[1]) / dt**2
        assert jerk <= LIMITS.max_jerk_m_s3 + 1e-3
        assert abs(omega[i]) <= LIMITS.max_omega_rad_s + 1e-9
        assert abs(omega[i] - omega[i - 1]) / dt <= LIMITS.max_angular_accel_rad_s2 + 1e-6
        angular_jerk = abs(omega[i] - 2 * omega[i - 1] + omega[i - 2]) / dt**2
        assert angular_jerk <= LIMITS.max_angular_jerk_rad_s3 + 1e-3


@settings(max_examples=20, deadline=None)
@given(st.lists(targets, min_size=1, max_size=20), st.floats(20.0, 100.0))
def test_wheels_are_never_asked_for_more_than_they_can(script, most):
    limiter = MotionLimiter(ControlConfig(motion=replace(LIMITS, max_wheel_speed_rad_s=most)), BODY)
    kinematics = OmniKinematics(BODY)
    for i, target in enumerate(script * 10):
        command = limiter.apply(target, world(), i * TICK_NS)
        assert kinematics.fastest_wheel_rad_s(command.twist_in_robot) <= most + 1e-6


def test_wheel_saturation_keeps_the_direction_and_says_so():
    limiter = MotionLimiter(ControlConfig(motion=replace(LIMITS, max_wheel_speed_rad_s=30.0)), BODY)
    for i in range(200):
        command = limiter.apply(drive(2.0, 1.0), world(), i * TICK_NS)
    twist = command.twist_in_robot
    assert twist.vy_m_s / twist.vx_m_s == pytest.approx(0.5, abs=0.01)
    assert "wheel_speed" in command.applied_limits


@pytest.mark.parametrize("broken", [(NAN, 0, 0), (0, NAN, 0), (0, 0, NAN), (math.inf, 0, 0)])
@pytest.mark.parametrize("mode", [TargetMode.TWIST, TargetMode.POSE])
def test_a_broken_number_brakes_and_is_named(broken, mode):
    limiter = MotionLimiter(ControlConfig(), BODY)
    for i in range(100):
        limiter.apply(drive(1.0, dribbler_rad_s=100.0), world(), i * TICK_NS)
    target = MotionTarget(
        **HEAD,
        mode=mode,
        twist_in_robot=Twist2(*broken),
        pose_in_robot=Pose2(*broken),
        dribbler_rad_s=100.0,
        kick_speed_m_s=3.0,
    )
    commands = [limiter.apply(target, world(), (100 + i) * TICK_NS) for i in range(150)]
    assert all("nan_guard" in c.applied_limits and c.kick_speed_m_s == 0.0 for c in commands)
    assert 0.9 < commands[0].twist_in_robot.vx_m_s < 1.0, "braked, not cut off"
    assert commands[-1].stop
    assert commands[-1].twist_in_robot == Twist2()
    after = [limiter.apply(drive(1.0), world(), (250 + i) * TICK_NS) for i in range(100)]
    assert after[-1].twist_in_robot.vx_m_s == pytest.approx(1.0), "and recovers"


def test_a_reachable_twist_is_reached_exactly_and_unlimited():
    limiter = MotionLimiter(ControlConfig(), BODY)
    commands = [limiter.apply(drive(1.0, -0.4, 2.0), world(), i * TICK_NS) for i in range(300)]
    speed = commands[-1].twist_in_robot
    assert (speed.vx_m_s, speed.vy_m_s, speed.omega_rad_s) == pytest.approx((1.0, -0.4, 2.0), abs=0.15)
    straight = MotionLimiter(ControlConfig(), BODY)
    commands = [straight.apply(drive(1.0), world(), i * TICK_NS) for i in range(100)]
    assert commands[-1].twist_in_robot == Twist2(1.0, 0.0, 0.0)
    assert commands[-1].applied_limits == ()
    ramp = next(i for i, c in enumerate(commands) if c.twist_in_robot.vx_m_s > 0.99)
    assert 0.33 <= ramp * 0.01 <= 0.45, "3 m/s^2 with 60 m/s^3: a third of a second and the two ramps"


def test_stop_brakes_at_the_limit_and_then_says_stop():
    limiter = MotionLimiter(ControlConfig(), BODY)
    for i in range(200):
        limiter.apply(drive(2.0), world(), i * TICK_NS)
    commands = [limiter.apply(stop(), world(), (200 + i) * TICK_NS) for i in range(120)]
    standing = next(i for i, c in enumerate(commands) if c.stop)
    assert 0.57 <= standing * 0.01 <= 0.75
    assert all(c.stop and c.twist_in_robot == Twist2() for c in commands[standing:])


def test_time_that_stands_still_or_goes_back_changes_nothing():
    limiter = MotionLimiter(ControlConfig(), BODY)
    for i in range(20):
        last = limiter.apply(drive(1.0), world(), i * TICK_NS)
    for t in (19 * TICK_NS, 5 * TICK_NS):
        assert limiter.apply(drive(2.0), world(), t).twist_in_robot == last.twist_in_robot
    assert "late_tick" in limiter.apply(drive(2.0), world(), 200 * TICK_NS).applied_limits


def test_carrying_slows_down_and_turning_slows_more():
    def settled(omega: float) -> float:
        limiter = MotionLimiter(ControlConfig(), BODY)
        for i in range(200):
            command = limiter.apply(drive(3.0, 0.0, omega, dribbler_rad_s=300.0), world(held=True), i * TICK_NS)
        return command.twist_in_robot.speed_m_s()

    assert settled(0.0) == pytest.approx(LIMITS.carry_speed_m_s)
    assert settled(8.0) == pytest.approx(LIMITS.carry_speed_m_s * LIMITS.carry_turning_share, rel=0.05)


def test_the_carpet_edge_slows_to_creeping_but_never_blocks():
    wall = tuple((b, 0.5 / math.cos(b)) for b in (-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4))

    def settled(vx: float, free_range) -> tuple[float, tuple[str, ...]]:
        limiter = MotionLimiter(ControlConfig(), BODY)
        for i in range(200):
            command = limiter.apply(drive(vx), world(free_range=free_range), i * TICK_NS)
        return command.twist_in_robot.vx_m_s, command.applied_limits

    speed, named = settled(2.0, wall)
    assert LIMITS.creep_speed_m_s <= speed < 1.3
    assert "free_range" in named
    assert settled(0.3, wall)[0] == pytest.approx(0.3)
    assert settled(-2.0, wall)[0] == pytest.approx(-2.0), "the wall ahead does not stop a robot that leaves"
    assert settled(2.0, tuple((b, 4.0) for b, _ in wall))[0] == pytest.approx(2.0)
    touching = tuple((b, 0.1 / math.cos(b)) for b, _ in wall)
    assert settled(2.0, touching)[0] == pytest.approx(LIMITS.creep_speed_m_s)


def telemetry(*, armed: bool = True, accel=(0.0, 0.0), t_mcu_us: int = 0) -> TelemetryFrame:
    return TelemetryFrame(
        **HEAD,
        t_mcu_us=t_mcu_us,
        gyro_z_rad_s=0.0,
        accel_in_robot_m_s2=accel,
        wheel_speed_rad_s=(0.0,) * 4,
        odometry_twist=Twist2(),
        odometry_pose=Pose2(),
        break_beam=False,
        dribbler_rad_s=0.0,
        kicker_charge=0.0,
        battery_v=16.0,
        armed=armed,
        estop=False,
        fault_bits=0,
        last_command_seq=0,
    )


def test_a_bump_ends_the_drive_at_once_and_counts_once():
    limiter = MotionLimiter(ControlConfig(), BODY)
    for i in range(100):
        limiter.apply(drive(2.0), world(telemetry=telemetry(t_mcu_us=i)), i * TICK_NS)
    blow = telemetry(accel=(-40.0, 5.0), t_mcu_us=100)
    after = [limiter.apply(drive(2.0), world(telemetry=blow), (100 + i) * TICK_NS) for i in range(20)]
    assert after[0].twist_in_robot.vx_m_s < 0.1
    assert "bump" in after[0].applied_limits
    assert all("bump" not in c.applied_limits for c in after[1:]), "one blow, told once"
    assert after[-1].twist_in_robot.vx_m_s > 0.3
    hard = telemetry(accel=(-6.0, 0.0), t_mcu_us=101)
    assert "bump" not in limiter.apply(drive(2.0), world(telemetry=hard), 130 * TICK_NS).applied_limits
    broken = telemetry(accel=(math.nan, 0.0), t_mcu_us=102)
    assert "bump" not in limiter.apply(drive(2.0), world(telemetry=broken), 131 * TICK_NS).applied_limits


def test_disarmed_wheels_reset_the_ramps():
    limiter = MotionLimiter(ControlConfig(), BODY)
    for i in range(100):
        limiter.apply(drive(2.0), world(telemetry=telemetry()), i * TICK_NS)
    off = limiter.apply(drive(2.0), world(telemetry=telemetry(armed=False)), 100 * TICK_NS)
    assert off.stop
    assert off.applied_limits == ("not_armed",)
    again = limiter.apply(drive(2.0), world(telemetry=telemetry()), 101 * TICK_NS)
    assert again.twist_in_robot.vx_m_s < 0.05


def run_pose(goal: Pose2, seconds: float, response_s: float = 0.035) -> list[Pose2]:
    """Drive to a pose with a lagging body; return the path."""
    limiter, pose, twist, path = MotionLimiter(ControlConfig(), BODY), Pose2(), Twist2(), []
    for i in range(int(seconds * 100)):
        target = MotionTarget(
            **HEAD,
            mode=TargetMode.POSE,
            pose_in_robot=pose.inverse() @ goal,
            max_speed_m_s=2.0,
            max_omega_rad_s=6.0,
            max_accel_m_s2=3.0,
        )
        command = limiter.apply(target, world(), i * TICK_NS).twist_in_robot
        k = 1.0 - math.exp(-0.01 / response_s)
        twist = Twist2(
            twist.vx_m_s + k * (command.vx_m_s - twist.vx_m_s),
            twist.vy_m_s + k * (command.vy_m_s - twist.vy_m_s),
            twist.omega_rad_s + k * (command.omega_rad_s - twist.omega_rad_s),
        )
        pose = pose @ exponential_map(twist, 0.01)
        path.append(pose)
    return path


@settings(max_examples=12, deadline=None)
@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(-3.1, 3.1))
def test_a_pose_is_reached_without_overshoot(x, y, theta):
    goal = Pose2(x, y, theta)
    path = run_pose(goal, 5.0)
    assert path[-1].distance_to(goal) < 0.01
    assert abs((path[-1].inverse() @ goal).theta_rad) < 0.01
    way = math.hypot(x, y)
    if way > 0.05:
        along = max((p.x_m * x + p.y_m * y) / way for p in path)
        assert along < way + 0.02, "overshoot"
        across = max(abs(p.x_m * y - p.y_m * x) / way for p in path)
        assert across < 0.15, "the way is nearly straight although the body turns"


def test_the_profile_is_close_to_time_optimal():
    goal = Pose2(3.0, 0.0, 0.0)
    path = run_pose(goal, 5.0)
    arrived = next(i for i, p in enumerate(path) if p.distance_to(goal) < 0.02) * 0.01
    best = 3.0 / 2.0 + 2.0 / 3.0  # trapezoid at 2 m/s and 3 m/s^2
    assert arrived < 1.35 * best


@given(st.floats(0.0, 5.0), st.floats(0.5, 6.0), st.floats(0.0, 0.3), st.floats(0.0, 1.0))
def test_stopping_speed_uses_up_exactly_the_distance(distance, decel, response, end):
    v = speed_to_stop(distance, decel, response, end)
    assert (v - end) * response + (v * v - end * end) / (2 * decel) == pytest.approx(distance, abs=1e-6)
    assert speed_to_stop(-1.0, decel, response, end) == end


def test_turn_rate_has_the_sign_of_the_error_and_its_bound():
    assert turn_rate(-1.0, 2.0, 20.0, 0.1) == -2.0
    assert turn_rate(0.0, 2.0, 20.0, 0.1) == 0.0
    assert 0.0 < turn_rate(0.01, 2.0, 20.0, 0.1) <= 0.1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.002, 0.03)), min_size=1, max_size=60))
def test_rates_hold_their_bounds_under_any_goals_and_uneven_ticks(steps):
    limits = RateLimits(2.0, 3.0, 4.0, 50.0)
    state = RateState()
    for x, y, dt in steps:
        after = next_rate(state, (x, y), limits, dt)
        assert math.hypot(*after.velocity) <= 2.0 + 1e-9
        assert math.dist(after.velocity, state.velocity) <= 4.0 * dt + 1e-6
        assert math.dist(after.accel, state.accel) <= 50.0 * dt + 1e-6
        moved = tuple(v + a * dt for v, a in zip(state.velocity, after.accel, strict=True))
        assert math.dist(after.velocity, moved) < 1e-6, "the speed is held by braking in time, not by cutting it off"
        state = after


def test_goals_that_jump_about_at_the_speed_limit_never_need_a_cut():
    """On the way from one full-speed goal to another the acceleration may point out of the circle: it ends in time."""
    rng = np.random.default_rng(0)
    limits, state = RateLimits(2.0, 3.0, 4.0, 10.0), RateState()
    for _ in range(300):
        angle, share = rng.uniform(-math.pi, math.pi), rng.uniform(0.0, 1.0) ** 0.2
        goal = (2.0 * math.cos(angle) * share, 2.0 * math.sin(angle))
        for _ in range(rng.integers(1, 40)):
            after = next_rate(state, goal, limits, 0.01)
            moved = tuple(v + 0.01 * a for v, a in zip(state.velocity, after.accel, strict=True))
            assert math.dist(after.velocity, moved) < 1e-6
            state = after


@pytest.mark.parametrize(
    ("asked_m_s", "chip", "given"),
    [
        (0.0, True, (0.0, False)),
        (-3.0, True, (0.0, False)),
        (3.0, True, (3.0, True)),
        (99.0, False, (BODY.max_kick_speed_m_s, False)),
        (NAN, True, (0.0, False)),
    ],
)
def test_a_kick_is_within_the_rules_and_a_chip_is_a_kick(asked_m_s, chip, given):
    command = MotionLimiter(ControlConfig(), BODY).apply(drive(0.0, kick_speed_m_s=asked_m_s, chip=chip), world(), 0)
    assert (command.kick_speed_m_s, command.chip) == given


def test_an_old_picture_of_the_wall_counts_the_way_since_and_a_too_old_one_does_not_count():
    wall = tuple((b, 0.8 / math.cos(b)) for b in (-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4))

    def settled(age_s: float) -> float:
        limiter, seen = MotionLimiter(ControlConfig(), BODY), world(free_range=wall, twist=Twist2(2.0, 0.0, 0.0))
        seen = replace(seen, free_range_age_ns=int(age_s * 1e9))
        for i in range(200):
            command = limiter.apply(drive(2.0), seen, i * TICK_NS)
        return command.twist_in_robot.vx_m_s

    assert 2.0 > settled(0.0) > settled(0.1) + 0.1 > settled(0.2) + 0.2
    assert settled(LIMITS.free_range_max_age_s + 0.1) == pytest.approx(2.0)
