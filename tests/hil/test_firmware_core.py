"""The firmware core in virtual time: what keeps people, motors and the capacitor safe, and what makes it drive well."""

from __future__ import annotations

import math

import numpy as np
import pytest

from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
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
from tests.firmware_bench import STAND_STILL, MotorBench, RawHost, need_gcc


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


# --- faults of the hardware -------------------------------------------------------------------------------------------


def test_empty_battery_latches_a_stop(host: RawHost) -> None:
    host.shake_hands()
    host.drive(200, 0.5)
    host.bench.battery_v = 20.0
    host.drive(500, 0.5)
    assert armed(host)
    assert host.telemetry().faults == FaultBit.BATTERY_LOW
    host.bench.battery_v = 17.0
    host.drive(700, 0.5)
    assert armed(host), "a dip under load is not the end"
    host.drive(1500, 0.5)
    assert host.telemetry().faults & FaultBit.BATTERY_EMPTY
    assert host.health().estop_cause == EstopCause.BATTERY
    host.send(Rearm(1, 1 ^ 0xFFFFFFFF))
    host.run(10)
    assert host.telemetry().flags & StateFlag.ESTOP, "not while the cause is there"


def test_too_much_current_costs_torque_and_nothing_else(host: RawHost) -> None:
    host.shake_hands()
    host.drive(300, 1.0)
    host.bench.current_a = 40.0  # the limit is 30
    host.drive(100, 1.0)
    assert host.telemetry().faults & FaultBit.OVER_CURRENT
    assert armed(host)
    before = host.bench.twist[0]
    host.drive(100, 3.0)
    assert host.bench.twist[0] < before + 0.02, "no torque to accelerate with"
    host.bench.current_a = 10.0
    host.drive(800, 2.0)
    assert not host.telemetry().faults
    assert host.bench.twist[0] == pytest.approx(2.0, abs=0.06)


def test_a_short_circuit_latches_a_stop_that_does_not_even_brake(host: RawHost) -> None:
    host.shake_hands()
    host.drive(300, 1.5)
    host.bench.current_a = 60.0
    host.drive(40, 1.5)
    host.bench.current_a = 10.0
    host.drive(300, 1.5)
    assert armed(host), "a spike is none"
    host.bench.current_a = 60.0
    host.drive(60, 1.5)
    assert host.health().estop_cause == EstopCause.CURRENT
    assert host.outputs[-1].wheel_duty == STAND_STILL
    assert host.bench.twist[0] > 0.3, "stopped pushing while it still rolls"
    host.send(Rearm(1, 1 ^ 0xFFFFFFFF))
    host.drive(50, 1.5)
    assert host.telemetry().flags & StateFlag.ESTOP, "not while the cause is there"
    host.bench.current_a = 5.0
    host.run(10)
    host.send(Rearm(1, 1 ^ 0xFFFFFFFF))
    host.drive(600, 1.0)
    assert armed(host)
    assert host.bench.twist[0] == pytest.approx(1.0, abs=0.05)


def test_a_sensor_that_is_not_a_number_stops_it(host: RawHost) -> None:
    host.shake_hands()
    host.drive(100, 0.5)
    host.firmware.step(SensorInputs(accel_x_m_s2=math.nan))  # the gyro's own limit would catch its NaN, too
    host.drive(300, 0.5)
    assert host.health().estop_cause == EstopCause.SENSOR
    assert np.isfinite(host.telemetry()).all()
    assert host.outputs[-1].wheel_duty == STAND_STILL


def test_an_impossible_encoder_jump_is_ignored(host: RawHost) -> None:
    host.shake_hands()
    host.drive(100, 0.0)
    host.bench.wheel_rad[1] += 3.0
    host.run(10)
    assert host.telemetry().faults & FaultBit.ENCODER_JUMP
    assert abs(host.telemetry().odometry_pose_0) < 1e-3
    assert np.abs(host.bench.twist).max() < 0.01


def test_encoders_may_wrap(host: RawHost) -> None:
    host.bench.wheel_rad += (2**31 - 50) * math.tau / 2048 // 1e-9 * 1e-9
    first = host.bench.sensors().wheel_ticks[0]
    host.shake_hands()
    host.bench.sensors = lambda b=host.bench: wrapped(b)  # type: ignore[method-assign]
    host.drive(400, 0.0, 0.0, 2.0)
    assert first > 2**31 - 100
    assert host.telemetry().faults == 0
    assert host.telemetry().wheel_rad_s_0 == pytest.approx(2.0 * 0.0785 / 0.027, abs=0.7)


def wrapped(bench: MotorBench) -> SensorInputs:
    ticks = np.rint(bench.wheel_rad * bench.body.encoder_ticks_per_rev / math.tau).astype(np.int64)
    signed = (ticks + 2**31) % 2**32 - 2**31
    return SensorInputs(wheel_ticks=tuple(int(t) for t in signed), gyro_z_rad_s=float(bench.twist[2]))  # type: ignore[arg-type]


# --- driving ----------------------------------------------------------------------------------------------------------


def settle_ms(host: RawHost, axis: int, target: float) -> int:
    """Milliseconds until the twist stays within 5 % of the target."""
    trace = []
    for _ in range(60):
        host.command(*(target if i == axis else 0.0 for i in range(3)))
        for _ in range(10):
            host.run(1)
            trace.append(host.bench.twist[axis])
    outside = np.nonzero(np.abs(np.array(trace) - target) > 0.05 * abs(target))[0]
    return int(outside[-1]) + 1


@pytest.mark.parametrize("battery_v", [21.0, 25.0])
@pytest.mark.parametrize(("axis", "target"), [(0, 1.0), (0, -1.0), (1, 1.0), (2, 5.0)])
def test_step_settles_within_150_ms(axis: int, target: float, battery_v: float) -> None:
    need_gcc()
    host = RawHost(bench=MotorBench(battery_v=battery_v))
    host.shake_hands()
    host.run(300)
    assert settle_ms(host, axis, target) < 150


@pytest.mark.parametrize("mass_factor", [0.8, 1.25])
def test_a_wrong_mass_costs_little(mass_factor: float) -> None:
    need_gcc()
    host = RawHost(bench=MotorBench(mass_factor=mass_factor))
    host.shake_hands()
    host.drive(200, 1.0)
    assert host.bench.twist[0] == pytest.approx(1.0, abs=0.12)
    host.drive(800, 1.0)
    assert host.bench.twist[0] == pytest.approx(1.0, abs=0.02)


def test_no_windup_against_a_wall(host: RawHost) -> None:
    host.shake_hands()
    host.drive(100, 0.0)
    still = host.bench.sensors()
    for i in range(1500):  # pushes with all it has, and nothing turns
        if i % 10 == 0:
            host.command(2.0)
        host.ms += 1
        out = host.firmware.step(still)
    assert max(map(abs, out.wheel_duty)) == pytest.approx(22.2 / 24.0, abs=0.01), "the torque limit, not full voltage"
    host.duty = STAND_STILL
    fastest = 0.0
    for _ in range(45):  # the wall goes, and so does the command
        host.drive(10, 0.0)
        fastest = max(fastest, host.bench.twist[0])
    assert fastest < 0.15, "it must not leap"
    assert np.abs(host.bench.twist).max() < 0.03


def test_a_ramp_is_followed_closely(host: RawHost) -> None:
    host.shake_hands()
    host.run(300)
    errors = []
    for i in range(100):  # 3 m/s2 up, as the host plans it
        host.command(min(0.03 * i, 2.0))
        host.run(10)
        errors.append(host.bench.twist[0] - min(0.03 * i, 2.0))
    assert np.abs(errors).max() < 0.05


def test_odometry_follows_a_curved_path_in_spite_of_gyro_bias() -> None:
    need_gcc()
    host = RawHost(bench=MotorBench(gyro_bias_rad_s=0.02))
    host.run(600)  # stands: the bias is measured
    assert host.telemetry().flags & StateFlag.GYRO_CALIBRATED
    host.shake_hands()
    for i in range(500):
        host.command(1.0 * math.sin(i / 60), 0.6 * math.cos(i / 45), 2.0 * math.sin(i / 80))
        host.run(10)
    t = host.telemetry()
    error_m = math.hypot(t.odometry_pose_0 - host.bench.pose[0], t.odometry_pose_1 - host.bench.pose[1])
    assert error_m < 0.02, "of about three metres travelled"
    assert t.odometry_pose_2 == pytest.approx(math.remainder(host.bench.pose[2], math.tau), abs=0.01)


def test_gyro_bias_is_a_mean_and_not_one_noisy_sample() -> None:
    need_gcc()
    random = np.random.default_rng(2)
    firmware = FirmwareLibrary()
    host = RawHost(firmware)
    for _ in range(1000):
        host.bench.gyro_bias_rad_s = 0.03 + 0.05 * random.standard_normal()
        host.run(1)
    before = host.telemetry().odometry_pose_2
    host.bench.gyro_bias_rad_s = 0.03
    host.run(1000)
    assert abs(host.telemetry().odometry_pose_2 - before) < 0.005


def test_odometry_twist_is_the_mean_over_the_period(host: RawHost) -> None:
    host.shake_hands()
    host.drive(400, 0.8, -0.4, 1.5)
    t = host.telemetry()
    twist = (t.odometry_twist_0, t.odometry_twist_1, t.odometry_twist_2)
    assert twist == pytest.approx(tuple(host.bench.twist), abs=0.05)


def test_two_instances_share_nothing() -> None:
    need_gcc()
    one, two = RawHost(), RawHost()
    one.shake_hands()
    two.shake_hands()
    one.drive(100, 1.0)
    two.run(100)
    assert armed(one)
    assert not armed(two)


def test_a_turn_rate_that_no_gyro_measures_stops_it_and_does_not_hang_it(host: RawHost) -> None:
    """Found by the fuzzer: wrapping an angle of 1e30 turn by turn never ended."""
    host.shake_hands()
    host.firmware.step(SensorInputs(gyro_z_rad_s=1e30))
    host.run(20)
    assert host.health().estop_cause == EstopCause.SENSOR
