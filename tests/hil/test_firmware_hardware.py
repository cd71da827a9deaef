"""The firmware core and its hardware, in virtual time: a battery, current or sensor that fails, and how it drives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from firmware_bridge.protocol.generated import Estop, EstopCause, FaultBit, Rearm, StateFlag
from tests.firmware_bench import STAND_STILL, MotorBench, RawHost, need_gcc


@pytest.fixture
def host() -> RawHost:
    need_gcc()
    return RawHost()


def armed(host: RawHost) -> bool:
    return bool(host.telemetry().flags & StateFlag.ARMED)


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


def test_a_short_circuit_ends_a_brake_that_is_under_way(host: RawHost) -> None:
    """The bridges pushed on for up to 1.5 s, because the latched stop had another cause."""
    host.shake_hands()
    host.drive(500, 2.5)
    host.send(Estop(0))
    host.run(20)
    assert host.telemetry().flags & StateFlag.BRAKING
    host.bench.current_a = 60.0
    host.run(60)
    assert host.outputs[-1].wheel_duty == STAND_STILL
    assert not host.telemetry().flags & StateFlag.BRAKING
    assert host.bench.twist[0] > 0.3, "stopped pushing while it still rolls"


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
