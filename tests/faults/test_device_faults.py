"""What the microcontroller complains of reaches people; a stop that it has latched is released by a person alone."""

from __future__ import annotations

import dataclasses

import pytest

from control.player import Decision
from firmware_bridge.protocol.generated import FaultBit
from robot.core import messages as m
from robot.core.geometry import Twist2
from robot.core.messages import Mode, RefereeCode, TickResult
from robot.runtime.device_watch import DeviceWatch
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot, open_robot
from robot.runtime.supervisor import MOVING
from tests.runtime_bench import MS, BenchWorld
from tests.unit.test_runtime_pipeline import batches, new_pipeline, play, when

FULL_V, LOW_V, EMPTY_V = 24.0, 20.0, 17.0
START, STOP = RefereeCode.FORCE_START, RefereeCode.STOP


@pytest.fixture(scope="module")
def robot() -> Robot:
    return open_robot("default")


def told(results: list[TickResult], code: str) -> list[str]:
    return [f.detail for r in results for f in r.faults if f.code == code]


def fastest_m_s(results: list[TickResult], from_ms: int, to_ms: int) -> float:
    inside = [r for r in results if from_ms <= r.t_now_ns // MS < to_ms]
    return max(r.world.robot.twist_in_robot.speed_m_s() for r in inside)


def test_a_low_battery_is_told_once_with_its_voltage_and_plays_on(robot: Robot) -> None:
    """It sags under the motors ten times: one fault, ended three seconds after the last time."""
    sagging = lambda ms: LOW_V if 600 < ms < 3000 and ms % 500 < 300 else FULL_V  # noqa: E731
    world, results = play(robot, duration_s=7.0, battery_v=sagging)
    began, ended = told(results, "device_battery_low")
    assert "20." in began
    assert "change the battery" in began
    assert ended == "ended"
    assert world.touched
    assert not when(results, Mode.SAFE_STOP)


def test_an_empty_battery_is_named_in_the_stop(robot: Robot) -> None:
    _, results = play(robot, duration_s=3.0, battery_v=lambda ms: EMPTY_V if ms > 600 else FULL_V)
    (said,) = told(results, "link_estop")
    assert "BATTERY_EMPTY" in said
    assert results[-1].mode is Mode.SAFE_STOP


def test_a_release_that_was_refused_does_not_take_effect_under_a_later_start(robot: Robot) -> None:
    """Stop and start are said while the battery is empty; when it has recovered the robot still stands."""
    commands = ((300, START), (2600, STOP), (2800, START), (4500, STOP), (5000, START))
    world = BenchWorld(
        robot.camera,
        ball_m=(3.0, 0.4),
        duration_s=6.0,
        commands=commands,
        battery_v=lambda ms: EMPTY_V if 600 < ms < 3200 else FULL_V,
    )
    results = [result for _, result in batches(world, new_pipeline(robot))]
    (latched,) = when(results, Mode.SAFE_STOP)
    assert 1600 < latched < 2600
    assert fastest_m_s(results, 3400, 5000) < 0.02, "nobody has said stop since the battery is back"
    assert 4500 < when(results, Mode.READY)[-1] < 5000
    assert fastest_m_s(results, 5000, 6000) > 0.3, "stop, then start: it plays again"


def test_a_microcontroller_that_starts_again_does_not_release_its_own_stop(robot: Robot) -> None:
    commands = ((300, START), (4000, STOP), (4500, START))
    world = BenchWorld(
        robot.camera,
        ball_m=(3.0, 0.4),
        duration_s=5.5,
        commands=commands,
        battery_v=lambda ms: EMPTY_V if 600 < ms < 2500 else FULL_V,
    )
    results = []
    for batch, result in batches(world, new_pipeline(robot)):
        results.append(result)
        if batch.t_now_ns == 2600 * MS:
            world.mcu.restart(77)
    assert fastest_m_s(results, 2600, 4500) < 0.02
    assert 4000 < when(results, Mode.READY)[-1] < 4500
    assert fastest_m_s(results, 4500, 5500) > 0.3


@pytest.mark.parametrize("bit", [FaultBit.BATTERY_LOW, FaultBit.OVER_CURRENT, FaultBit.ENCODER_JUMP])
def test_each_bit_is_one_fault_however_often_it_comes(robot: Robot, bit: FaultBit) -> None:
    _, results = play(robot, duration_s=0.3)
    frame = results[-1].world.telemetry
    assert frame is not None
    watch = DeviceWatch()

    def hear(at_ms: int, bits: int) -> set[str]:
        watch.on_telemetry(dataclasses.replace(frame, t_receive_ns=at_ms * MS, fault_bits=bits))
        return set(watch.reasons())

    code = f"device_{str(bit.name).lower()}"
    assert hear(0, FaultBit.BATTERY_EMPTY | FaultBit.SENSOR) == set(), "the link tells of what latches a stop"
    assert hear(10, bit) == {code}
    assert hear(2000, 0) == {code}
    assert hear(2100, bit) == {code}
    assert hear(5000, 0) == {code}
    assert hear(5200, 0) == set()


@pytest.mark.parametrize(
    "change",
    [{"valid": False}, {"seed_in_field_m": (float("nan"), 0.0)}, {"seed_in_field_m": (0.0, float("inf"))}],
)
def test_a_referee_command_that_is_none_is_not_obeyed_and_never_raises(robot: Robot, change: dict[str, object]) -> None:
    """An invalid START starts nothing; a seed that is no place seeds nothing, and its STOP is a stop all the same."""
    pipeline = new_pipeline(robot)
    world = BenchWorld(robot.camera, duration_s=2.5, commands=())
    code = START if "valid" in change else STOP
    odd = m.RefereeCommand(seq=7, t_capture_ns=0, t_receive_ns=0, valid=True, code=code)
    odd = dataclasses.replace(odd, **change)  # type: ignore[arg-type]
    good = dataclasses.replace(odd, seq=8, valid=True, code=START, seed_in_field_m=None)
    results = []
    for tick in range(250):
        now_ns = tick * 10 * MS
        world.advance_to_ns(now_ns)
        referee = {50: (odd,), 100: (good,)}.get(tick, ())
        batch = m.TickBatch(tick=tick, t_now_ns=now_ns, serial=tuple(world.serial()), referee=referee)
        results.append(pipeline.step(batch))
        world.write_serial(results[-1].bytes_out)
    assert all(r.mode in (Mode.BOOT, Mode.READY) for r in results[:100])
    assert results[99].mode is Mode.READY
    assert results[120].mode is Mode.DEGRADED, "and it goes on"


def test_an_invalid_halt_stops_all_the_same(robot: Robot) -> None:
    world, pipeline = BenchWorld(robot.camera, ball_m=(3.0, 0.4), duration_s=1.2), new_pipeline(robot)
    *_, (batch, driving) = batches(world, pipeline)
    assert driving.mode is Mode.ACTIVE
    halt = m.RefereeCommand(seq=9, t_capture_ns=0, t_receive_ns=0, code=RefereeCode.HALT)
    stopped = pipeline.step(m.TickBatch(tick=batch.tick + 1, t_now_ns=batch.t_now_ns + 10 * MS, referee=(halt,)))
    assert stopped.mode is Mode.READY
    assert stopped.command.stop


class Kicks:
    """A player with a fault: it asks for everything that moves or turns, whatever the mode."""

    def decide(self, world: m.WorldModel, referee: object, team: object, mode: Mode, t_now_ns: int) -> Decision:
        head = {"seq": 0, "t_capture_ns": t_now_ns, "t_receive_ns": t_now_ns, "valid": True}
        plan = m.Plan(**head, play="kicks", skill="kicks", state="kicks")
        target = m.MotionTarget(
            **head,
            mode=m.TargetMode.TWIST,
            twist_in_robot=Twist2(1.0, 0.0, 1.0),
            max_speed_m_s=1.0,
            max_omega_rad_s=1.0,
            max_accel_m_s2=1.0,
            dribbler_rad_s=300.0,
            kick_speed_m_s=6.0,
            chip=True,
        )
        return Decision(plan=plan, target=target)


def test_nothing_moves_turns_or_kicks_outside_of_the_modes_that_play(robot: Robot) -> None:
    """Whatever a player asks for. (That a halted robot's kick is taken out was tested by nobody.)"""
    commands = ((500, START), (1000, RefereeCode.HALT))
    world = BenchWorld(robot.camera, duration_s=1.5, commands=commands)
    pipeline = Pipeline(robot.config, robot.camera, robot.field, player=Kicks())
    results = [result for _, result in batches(world, pipeline)]
    for result in results:
        asked = (
            result.command.twist_in_robot != Twist2(),
            result.command.dribbler_rad_s,
            result.command.kick_speed_m_s,
        )
        if result.mode not in MOVING:
            assert asked == (False, 0.0, 0.0)
            assert not result.command.chip
            assert result.command.stop
    playing = [r.command for r in results if r.mode in MOVING]
    assert any(c.kick_speed_m_s > 0.0 and c.dribbler_rad_s > 0.0 and c.twist_in_robot != Twist2() for c in playing)
