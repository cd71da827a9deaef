"""Motion targets that the firmware drives to by itself: pose, turn on the spot, orbit; in virtual time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from firmware_bridge.link.goal import MotionGoal
from firmware_bridge.link.link import LinkState
from firmware_bridge.protocol.generated import CommandFlag, FaultBit, Goal, GoalKind, StateFlag
from tests.firmware_bench import MS, STAND_STILL, LinkedFirmware, RawHost, need_gcc

POSE, ROTATE, ORBIT = GoalKind.POSE, GoalKind.ROTATE, GoalKind.ORBIT


@pytest.fixture
def host() -> RawHost:
    need_gcc()
    host = RawHost()
    host.shake_hands()
    return host


def send(host: RawHost, kind: int, x: float = 0.0, y: float = 0.0, theta: float = 0.0, **more: float) -> None:
    host.command_seq += 1
    values: dict[str, float] = {
        "seq": host.command_seq,
        "flags": int(CommandFlag.ARM),
        "number": 1,
        "max_speed_m_s": 1.5,
        "max_omega_rad_s": 8.0,
        "accel_m_s2": 3.0,
        "accel_rad_s2": 30.0,
        "dribbler_rad_s": 0.0,
        "kick_speed_m_s": 0.0,
        "valid_for_ms": 100,
        "host_stamp_ns": 10**12 + host.ms * MS,
        **more,
    }
    host.send(Goal(kind=kind, x_m=x, y_m=y, theta_rad=theta, **values))  # type: ignore[arg-type]


def drive(
    host: RawHost, ms: int, kind: int, x: float = 0.0, y: float = 0.0, theta: float = 0.0, **more: float
) -> np.ndarray:
    """Repeat the goal every 10 ms; returns true pose and twist after each."""
    track = []
    for _ in range(ms // 10):
        send(host, kind, x, y, theta, **more)
        host.run(10)
        track.append([*host.bench.pose, *host.bench.twist])
    return np.array(track)


def at_goal(host: RawHost) -> bool:
    return bool(host.telemetry().flags & StateFlag.AT_GOAL)


def test_arrives_without_overshoot(host: RawHost) -> None:
    track = drive(host, 2500, POSE, 1.0, 0.5, 3.0)
    assert track[-1, :3] == pytest.approx([1.0, 0.5, 3.0], abs=0.005)
    along = track[:, :2] @ np.array([1.0, 0.5]) / math.hypot(1.0, 0.5)
    assert along.max() < math.hypot(1.0, 0.5) + 0.003
    assert track[:, 2].max() < 3.0 + 0.01
    across = track[:, :2] @ np.array([-0.5, 1.0])
    assert np.abs(across).max() < 0.02, "the straight way, though it turns"
    assert at_goal(host)


@pytest.mark.parametrize(("x", "y", "theta"), [(-0.3, 0.1, -1.0), (0.01, 0.0, 0.0), (0.0, -2.0, 0.0)])
def test_small_far_and_backward_goals(host: RawHost, x: float, y: float, theta: float) -> None:
    track = drive(host, 3000, POSE, x, y, theta)
    assert track[-1, :3] == pytest.approx([x, y, theta], abs=0.005)
    assert np.hypot(track[:, 0], track[:, 1]).max() < math.hypot(x, y) + 0.003
    assert at_goal(host)


def test_keeps_its_limits(host: RawHost) -> None:
    track = drive(host, 3000, POSE, 1.5, 0.0, 2.0, max_speed_m_s=0.8, accel_m_s2=1.5, max_omega_rad_s=2.0)
    speed = np.hypot(track[:, 3], track[:, 4])
    assert 0.7 < speed.max() < 0.84
    assert 1.8 < np.abs(track[:, 5]).max() < 2.1
    assert np.abs(np.diff(speed)).max() / 0.01 < 1.5 * 1.25
    assert track[-1, :3] == pytest.approx([1.5, 0.0, 2.0], abs=0.005)


def test_from_full_speed(host: RawHost) -> None:
    host.drive(400, 1.5)
    start = host.bench.pose[:2].copy()
    track = drive(host, 2500, POSE, 1.0, 0.0, 0.0)
    assert track[-1, :2] - start == pytest.approx([1.0, 0.0], abs=0.01)
    assert track[:, 0].max() - start[0] < 1.005


@pytest.mark.parametrize("theta", [6.0, -1.0, 0.05])
def test_turns_on_the_spot(host: RawHost, theta: float) -> None:
    track = drive(host, 2500, ROTATE, 9.0, 9.0, theta)  # x and y say nothing here
    assert np.abs(track[:, :2]).max() < 0.005
    assert track[-1, 2] == pytest.approx(theta, abs=0.01)
    assert np.abs(track[:, 2]).max() < abs(theta) + 0.01
    assert at_goal(host)


@pytest.mark.parametrize(("x", "y", "theta"), [(0.5, 0.0, math.pi), (0.2, 0.0, -math.tau), (0.12, 0.05, 2.0)])
def test_orbits_a_point(host: RawHost, x: float, y: float, theta: float) -> None:
    track = drive(host, 3500, ORBIT, x, y, theta)
    radius = np.hypot(track[:, 0] - x, track[:, 1] - y)
    assert np.abs(radius - math.hypot(x, y)).max() < 0.01
    bearing = np.arctan2(y - track[:, 1], x - track[:, 0]) - track[:, 2]
    assert np.abs(np.sin(bearing - math.atan2(y, x))).max() < 0.05, "the point stays where it is seen"
    assert track[-1, 2] == pytest.approx(theta, abs=0.01)
    assert np.hypot(track[:, 3], track[:, 4]).max() < 1.5 * 1.05
    assert at_goal(host)


def test_the_latest_wins(host: RawHost) -> None:
    drive(host, 200, POSE, 2.0, 0.0, 0.0)
    host.drive(400, 0.0, 0.5)
    assert host.bench.twist[:2] == pytest.approx([0.0, 0.5], abs=0.05), "a twist ends the goal"
    start = host.bench.pose[:2].copy()
    track = drive(host, 1500, POSE, 0.2, 0.0, 0.0, number=2)
    assert track[-1, :2] - start == pytest.approx([0.2, 0.0], abs=0.01)
    heading = host.bench.pose[2]
    turned = drive(host, 1500, ROTATE, theta=1.0, number=3)
    assert turned[-1, 2] - heading == pytest.approx(1.0, abs=0.01)


def test_the_same_number_goes_on_to_the_same_place(host: RawHost) -> None:
    drive(host, 1500, POSE, 0.3, 0.0, 0.0, number=7)
    track = drive(host, 500, POSE, 0.3, 0.0, 0.0, number=7)
    assert track[-1, 0] == pytest.approx(0.3, abs=0.005), "repeating is a heartbeat, not a new target"
    assert drive(host, 1500, POSE, 0.3, 0.0, 0.0, number=8)[-1, 0] == pytest.approx(0.6, abs=0.01)


def test_the_watchdog_brakes_on_the_way_to_a_goal(host: RawHost) -> None:
    drive(host, 500, POSE, 3.0, 0.0, 0.0)
    assert host.bench.twist[0] > 1.0
    send(host, POSE, 3.0)
    before = len(host.outputs)
    host.run(700)
    duties = np.array([o.wheel_duty for o in host.outputs[before:]])[:, 2]
    first_brake = int(np.argmax(duties < duties[:99].min() - 0.05))
    assert 99 <= first_brake <= 102
    assert abs(host.bench.twist[0]) < 0.02
    assert host.outputs[-1].wheel_duty == STAND_STILL
    assert host.telemetry().faults & FaultBit.COMMAND_TIMEOUT
    assert not at_goal(host)


def test_stop_holds_a_goal(host: RawHost) -> None:
    drive(host, 500, POSE, 3.0, 0.0, 0.0)
    drive(host, 600, POSE, 3.0, 0.0, 0.0, flags=int(CommandFlag.ARM | CommandFlag.STOP))
    assert abs(host.bench.twist[0]) < 0.02


@pytest.mark.parametrize(
    "bad",
    [
        {"x": math.nan},
        {"y": 31.0},
        {"theta": 40.0},
        {"accel_m_s2": 0.0},
        {"accel_rad_s2": -1.0},
        {"max_speed_m_s": -0.1},
        {"max_omega_rad_s": math.inf},
        {"kick_speed_m_s": math.nan},
        {"kind": 3},
    ],
)
def test_goals_that_cannot_be_meant_are_refused(host: RawHost, bad: dict[str, float]) -> None:
    send(host, **{"kind": POSE, "x": 1.0, **bad})  # type: ignore[arg-type]
    host.run(50)
    assert host.health().rejected == 1
    assert host.outputs[-1].wheel_duty == STAND_STILL


def test_nothing_moves_before_the_handshake() -> None:
    need_gcc()
    host = RawHost()
    drive(host, 100, POSE, 1.0, 0.0, 0.0)
    assert host.outputs[-1].wheel_duty == STAND_STILL
    assert host.health().rejected == 10


def test_a_goal_through_the_link() -> None:
    need_gcc()
    bench = LinkedFirmware()
    bench.link.request_arm(True)
    bench.run(100, None)
    assert bench.link.state is LinkState.ARMED
    bench.run(2000, MotionGoal(kind=POSE, number=1, x_m=0.5, y_m=-0.2, theta_rad=1.0))  # type: ignore[arg-type]
    assert bench.link.at_goal
    assert bench.bench.pose == pytest.approx([0.5, -0.2, 1.0], abs=0.01)
    bench.run(50, None)
    assert not bench.link.at_goal


@pytest.mark.parametrize(
    "bad",
    [
        {"x_m": math.nan},
        {"theta_rad": 99.0},
        {"accel_m_s2": 0.0},
        {"max_speed_m_s": -1.0},
        {"number": 70000},
        {"kick_speed_m_s": math.inf},
    ],
)
def test_a_goal_refuses_what_the_device_would(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        MotionGoal(**{"kind": POSE, "number": 1, **bad})  # type: ignore[arg-type]
