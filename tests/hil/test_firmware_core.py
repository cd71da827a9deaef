"""The firmware core in virtual time: when it stops, which commands count, parameters, the mouth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from firmware_bridge.firmware.library import FirmwareLibrary
from firmware_bridge.protocol.generated import (
    SCHEMA_HASH,
    CommandFlag,
    Estop,
    EstopCause,
    FaultBit,
    Hello,
    Parameter,
    ParamGet,
    ParamStatus,
    ParamValue,
    Rearm,
    StateFlag,
)
from tests.firmware_bench import STAND_STILL, RawHost, need_gcc


@pytest.fixture
def host() -> RawHost:
    need_gcc()
    return RawHost()


def armed(host: RawHost) -> bool:
    return bool(host.telemetry().flags & StateFlag.ARMED)


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_boots_stopped_and_obeys_nobody_before_the_handshake(host: RawHost) -> None:
    host.drive(200, 1.0)
    assert all(o.wheel_duty == STAND_STILL and not o.charge for o in host.outputs)
    assert not armed(host)
    assert host.health().rejected == 20
    host.shake_hands()
    host.run(50)
    assert host.outputs[-1].wheel_duty == STAND_STILL, "the handshake alone must not move it"
    host.drive(50, 1.0)
    assert armed(host)
    assert host.outputs[-1].wheel_duty != STAND_STILL


def test_a_command_without_the_arm_flag_does_not_move_it(host: RawHost) -> None:
    host.shake_hands()
    host.drive(100, 1.0, flags=0)
    assert all(o.wheel_duty == STAND_STILL for o in host.outputs)


def test_another_schema_is_never_obeyed(host: RawHost) -> None:
    host.send(Hello(SCHEMA_HASH ^ 1, 0, 1, 0, 0, b"other"))
    host.drive(100, 1.0)
    assert all(o.wheel_duty == STAND_STILL for o in host.outputs)
    assert not host.telemetry().flags & StateFlag.HOST_OK
    assert any(isinstance(m, Hello) and m.schema_hash == SCHEMA_HASH for m in host.messages), "it must say what it is"


@pytest.mark.parametrize(("valid_for_ms", "expected_ms"), [(100, 100), (40, 40), (5000, 100)])
def test_watchdog_brakes_at_its_time_to_the_millisecond(host: RawHost, valid_for_ms: int, expected_ms: int) -> None:
    host.shake_hands()
    host.drive(400, 1.5)
    assert host.bench.twist[0] == pytest.approx(1.5, abs=0.05)
    host.command(1.5, valid_for_ms=valid_for_ms)
    quiet_since = len(host.outputs)
    host.run(600)
    duties = np.array([o.wheel_duty for o in host.outputs])[:, 2]  # a wheel that drives forward has positive duty
    steady = duties[quiet_since : quiet_since + expected_ms - 1]
    first_brake = int(np.argmax(duties[quiet_since:] < steady.min() - 0.05))
    # The command is taken at the start of the next cycle, so its time is over exactly `expected_ms` cycles later.
    assert expected_ms - 1 <= first_brake <= expected_ms + 2
    assert abs(host.bench.twist[0]) < 0.02, "and it must come to a stand"
    assert host.outputs[-1].wheel_duty == STAND_STILL
    assert not armed(host)
    assert host.telemetry().faults & FaultBit.COMMAND_TIMEOUT
    assert host.health().watchdog_trips == 1


def test_the_brake_is_controlled(host: RawHost) -> None:
    host.shake_hands()
    host.drive(600, 2.0)
    before = len(host.outputs)
    speeds = [host.bench.twist[0]]
    for _ in range(700):
        host.run(1)
        speeds.append(host.bench.twist[0])
    slowing = -np.diff(np.convolve(speeds, np.ones(10) / 10, mode="valid")) * 1000.0
    assert slowing.max() < 7.5, "5 m/s2 is the brake; locked wheels would give 10 and more"
    still = int(np.argmax(np.abs(speeds) < 0.05))
    assert 100 + 350 < still < 100 + 500
    assert len(host.outputs) - before == 700


def test_drives_again_after_a_watchdog_stop(host: RawHost) -> None:
    host.shake_hands()
    host.drive(200, 1.0)
    host.run(400)
    assert not armed(host)
    host.drive(300, 1.0)
    assert armed(host)
    assert host.bench.twist[0] == pytest.approx(1.0, abs=0.05)
    assert not host.telemetry().faults & FaultBit.COMMAND_TIMEOUT


def test_estop_latches_until_the_right_key(host: RawHost) -> None:
    host.shake_hands()
    host.drive(300, 1.0)
    host.send(Estop(1))
    host.drive(600, 1.0)  # the host goes on wanting to move
    assert host.telemetry().flags & StateFlag.ESTOP
    assert abs(host.bench.twist[0]) < 0.02
    assert host.outputs[-1].wheel_duty == STAND_STILL
    assert host.health().estop_cause == EstopCause.HOST
    for wrong in (Rearm(2, 2 ^ 0xFFFFFFFF), Rearm(1, 1), Rearm(0, 0)):
        host.send(wrong)
        host.drive(50, 1.0)
        assert host.telemetry().flags & StateFlag.ESTOP
    host.send(Rearm(1, 1 ^ 0xFFFFFFFF))
    host.run(50)
    assert not host.telemetry().flags & (StateFlag.ESTOP | StateFlag.ARMED), "released, and not yet armed"
    host.drive(300, 1.0)
    assert host.bench.twist[0] == pytest.approx(1.0, abs=0.05)


def test_estop_needs_no_handshake(host: RawHost) -> None:
    host.send(Estop(1))
    host.run(10)
    assert host.telemetry().flags & StateFlag.ESTOP


def test_restart_forgets_the_arming(host: RawHost) -> None:
    host.shake_hands()
    host.drive(100, 1.0)
    assert isinstance(host.firmware, FirmwareLibrary)
    host.firmware.restart(2)
    host.drive(100, 1.0)
    assert host.outputs[-1].wheel_duty == STAND_STILL


# --- which commands count ---------------------------------------------------------------------------------------------


def test_repeated_and_old_commands_are_dropped(host: RawHost) -> None:
    host.shake_hands()
    host.drive(100, 0.5)
    host.command(2.0, seq=3)
    host.command(2.0, seq=host.command_seq - 1)
    host.run(1)
    assert host.health().stale_commands == 2
    host.drive(300, 0.5, seq=0)  # ... of which each has a number that is already used
    assert not armed(host)


def test_a_command_that_was_held_up_is_dropped(host: RawHost) -> None:
    host.shake_hands()
    host.drive(500, 0.0)
    late = 10**12 + (host.ms - 150) * 1_000_000
    host.command(3.0, host_stamp_ns=late)
    host.run(20)
    assert abs(host.bench.twist[0]) < 0.01
    assert host.health().stale_commands == 1
    host.drive(300, 0.5)
    assert host.bench.twist[0] == pytest.approx(0.5, abs=0.05), "the next one in time counts again"


def test_a_lasting_delay_asks_for_a_new_handshake(host: RawHost) -> None:
    host.shake_hands()
    host.drive(200, 0.2)
    host_ms = host.ms
    while host.ms < host_ms + 700:
        host.command(0.2, host_stamp_ns=10**12 + (host.ms - 200) * 1_000_000)
        host.run(10)
    assert not host.telemetry().flags & StateFlag.HOST_OK
    host.shake_hands()
    for _ in range(20):
        host.command(0.2, host_stamp_ns=10**12 + (host.ms - 200) * 1_000_000)
        host.run(10)
    assert armed(host)


def test_numbers_that_look_old_for_long_ask_for_a_new_handshake(host: RawHost) -> None:
    """A wire to the device that was broken for 5.5 minutes: the host had counted on by half of the 16 bits, and every
    command looked like a repetition for another 5.5 minutes."""
    host.shake_hands()
    host.drive(200, 0.2)
    host.run(300)
    host.command_seq += 40_000
    host.drive(400, 0.2)
    assert host.telemetry().flags & StateFlag.HOST_OK, "a cable that repeats itself for a moment needs none"
    host.drive(200, 0.2)
    assert not host.telemetry().flags & StateFlag.HOST_OK
    host.shake_hands()
    host.drive(200, 0.2)
    assert armed(host)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e30, 500.0])
def test_numbers_that_cannot_be_meant_are_refused(host: RawHost, bad: float) -> None:
    host.shake_hands()
    host.drive(100, 0.0)
    for speeds in ((bad, 0.0, 0.0), (0.0, bad, 0.0), (0.0, 0.0, bad)):
        host.command(*speeds)
        host.run(10)
    if not math.isfinite(bad):
        host.command(dribbler_rad_s=bad)
        host.command(kick_speed_m_s=bad)
    host.run(10)
    assert host.health().rejected == (3 if math.isfinite(bad) else 5)
    assert np.abs(host.bench.twist).max() < 0.01


def test_speed_is_limited_in_its_direction(host: RawHost) -> None:
    host.shake_hands()
    host.set(Parameter.MAX_SPEED_M_S, 1.0)
    host.run(1)
    host.drive(600, 3.0, 4.0)
    assert host.bench.twist[:2] == pytest.approx([0.6, 0.8], abs=0.04)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_are_checked_and_never_change_while_armed(host: RawHost) -> None:
    def answer() -> ParamValue:
        host.run(1)
        return next(m for m in reversed(host.messages) if isinstance(m, ParamValue))

    host.set(Parameter.WHEEL_KP, 0.02)
    assert answer() == ParamValue(Parameter.WHEEL_KP, ParamStatus.OK, pytest.approx(0.02))
    for bad in (-1.0, 7.0, math.nan):
        host.set(Parameter.WHEEL_KP, bad)
        assert answer() == ParamValue(Parameter.WHEEL_KP, ParamStatus.OUT_OF_RANGE, pytest.approx(0.02))
    host.send(ParamGet(999))
    assert answer().status == ParamStatus.UNKNOWN
    host.shake_hands()
    host.drive(50)
    host.set(Parameter.WATCHDOG_MS, 50.0)
    assert answer() == ParamValue(Parameter.WATCHDOG_MS, ParamStatus.BUSY, 100.0)


def test_watchdog_cannot_be_lengthened(host: RawHost) -> None:
    host.set(Parameter.WATCHDOG_MS, 100.5)
    host.run(1)
    assert next(m for m in host.messages if isinstance(m, ParamValue)).status == ParamStatus.OUT_OF_RANGE


# --- kicker, break-beam, dribbler -------------------------------------------------------------------------------------


def kicks(host: RawHost) -> list[int]:
    return [i for i, o in enumerate(host.outputs) if o.kick_speed_m_s > 0.0]


def test_no_kick_and_no_charging_unarmed(host: RawHost) -> None:
    host.bench.kicker_v, host.bench.break_beam = 180.0, True
    host.shake_hands()
    host.drive(500, kick_speed_m_s=5.0, flags=0)
    assert not kicks(host)
    assert not any(o.charge or o.kick_flat_us or o.kick_chip_us for o in host.outputs)


def test_kicks_when_the_ball_breaks_the_beam_and_rests_between(host: RawHost) -> None:
    host.bench.kicker_v = 180.0
    host.shake_hands()
    host.drive(100, kick_speed_m_s=5.0)
    assert not kicks(host), "no ball, no kick"
    host.bench.break_beam = True
    host.drive(1000, kick_speed_m_s=5.0)
    times = kicks(host)
    assert times[0] == pytest.approx(102, abs=2), "two milliseconds of debouncing"
    assert np.diff(times).min() >= 300
    assert host.outputs[times[0]].kick_flat_us == 3000
    assert host.outputs[times[0]].kick_chip_us == 0
    assert not host.outputs[times[0]].charge, "never charges into an open switch"
    assert host.health().kicks == len(times)


def test_kick_needs_charge_and_is_limited(host: RawHost) -> None:
    host.bench.kicker_v, host.bench.break_beam = 100.0, True
    host.shake_hands()
    host.drive(300, kick_speed_m_s=9.0, flags=CommandFlag.ARM | CommandFlag.CHIP)
    assert not kicks(host)
    assert host.outputs[-1].charge
    host.bench.kicker_v = 180.0
    host.drive(20, kick_speed_m_s=9.0, flags=CommandFlag.ARM | CommandFlag.CHIP)
    kick = host.outputs[kicks(host)[0]]
    assert kick.kick_speed_m_s == 6.5
    assert (kick.kick_flat_us, kick.kick_chip_us) == (0, 5850)
    assert not host.outputs[-1].charge, "full"


def test_stop_does_not_kick_but_holds_the_ball(host: RawHost) -> None:
    host.bench.kicker_v, host.bench.break_beam = 180.0, True
    host.shake_hands()
    host.drive(100, kick_speed_m_s=5.0, dribbler_rad_s=500.0, flags=CommandFlag.ARM | CommandFlag.STOP)
    assert not kicks(host)
    assert host.outputs[-1].dribbler_duty > 0.3
    host.run(150)
    assert host.outputs[-1].dribbler_duty == 0.0, "the watchdog stops it too"


def test_break_beam_is_debounced(host: RawHost) -> None:
    host.run(20)
    for i in range(200):  # one millisecond in five
        host.bench.break_beam = i % 5 == 0
        host.run(1)
        assert not host.telemetry().flags & StateFlag.BREAK_BEAM
    host.bench.break_beam = True
    host.run(10)
    assert host.telemetry().flags & StateFlag.BREAK_BEAM
    host.bench.break_beam = False
    host.run(8)
    assert host.telemetry().flags & StateFlag.BREAK_BEAM, "still within the ten milliseconds"
    host.run(10)
    assert not host.telemetry().flags & StateFlag.BREAK_BEAM
