"""The host's state machine against the firmware core, in virtual time."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.firmware.library import FirmwareLibrary
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.link.link import FLASH_COMMAND, Link, LinkState
from firmware_bridge.link.parameters import body_parameters
from firmware_bridge.protocol.generated import SCHEMA_HASH, Command, CommandFlag, Hello, Parameter, Telemetry
from robot.core.body import RobotBody
from robot.core.geometry import Twist2
from tests.firmware_bench import MS, LinkedFirmware, motion, need_gcc


@pytest.fixture
def bench() -> LinkedFirmware:
    need_gcc()
    return LinkedFirmware()


def commands(sent: list[bytes]) -> list[Command]:
    return [m for m in FrameDecoder().feed(b"".join(sent)) if isinstance(m, Command)]


def test_comes_up_within_two_ticks_and_arms_only_when_asked(bench: LinkedFirmware) -> None:
    assert bench.link.state is LinkState.DOWN
    bench.run(30, motion(1.0))
    assert bench.link.state is LinkState.READY
    bench.run(200, motion(1.0))
    assert not any(t.armed for t in bench.telemetry)
    assert bench.bench.twist[0] == 0.0
    bench.link.request_arm(True)
    bench.run(300, motion(1.0))
    assert bench.link.state is LinkState.ARMED
    assert bench.bench.twist[0] == pytest.approx(1.0, abs=0.05)
    bench.link.request_arm(False)
    bench.run(500, motion(1.0))
    assert bench.link.state is LinkState.READY
    assert bench.bench.twist[0] == pytest.approx(0.0, abs=0.02)


def test_no_command_means_stop(bench: LinkedFirmware) -> None:
    bench.link.request_arm(True)
    bench.run(300, motion(1.0))
    bench.run(500, None)
    assert bench.link.state is LinkState.ARMED, "the heartbeat goes on"
    assert bench.bench.twist[0] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_twist_that_is_not_finite_becomes_stop(bench: LinkedFirmware, bad: float) -> None:
    bench.run(30)
    bench.run(10, motion(bad))
    last = commands(bench.sent)[-1]
    assert last.flags & CommandFlag.STOP
    assert last.vx_m_s == 0.0


def test_commands_carry_what_was_asked() -> None:
    link = Link(LinkConfig())
    link.on_bytes(FrameEncoder().encode(Hello(SCHEMA_HASH, 5, 1, 0, 0, b"")), 0)
    assert link.state is LinkState.READY
    wanted = motion(0.5, -0.25, 2.0, dribbler_rad_s=300.0, kick_speed_m_s=4.0, chip=True, valid_for_ms=60)
    (command,) = commands([link.on_tick(7 * MS, wanted)])
    assert command == Command(command.seq, CommandFlag.CHIP, 0.5, -0.25, 2.0, 300.0, 4.0, 60, 7 * MS)
    (stopped,) = commands([link.on_tick(17 * MS, dataclasses.replace(wanted, stop=True))])
    assert stopped.flags & CommandFlag.STOP
    assert (stopped.vx_m_s, stopped.dribbler_rad_s) == (0.0, 300.0)
    assert stopped.seq == command.seq + 1


# --- refusing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 24, 60])
def test_another_schema_is_refused_with_the_flash_command(size: int) -> None:
    from firmware_bridge.link.framing import encode_frame

    link = Link(LinkConfig())
    link.request_arm(True)
    payload = (SCHEMA_HASH ^ 0x10).to_bytes(4, "little").ljust(size, b"x")
    link.on_bytes(encode_frame(1, 0, payload), 0)
    assert link.state is LinkState.FAULT
    assert link.fault is not None
    assert link.fault.code == "schema"
    assert link.fault.hint == FLASH_COMMAND
    telemetry = Telemetry(1, *([0.5] * 15), 24.0, 9, 0, 0, 0, 0)
    for i in range(50):
        assert not commands([link.on_tick(i * 10 * MS, motion(1.0))]), "no motion over a protocol that differs"
        assert link.on_bytes(FrameEncoder().encode(telemetry), i * 10 * MS) == (), "and no telemetry believed"
    link.on_bytes(FrameEncoder().encode(Hello(SCHEMA_HASH, 1, 1, 0, 0, b"flashed")), 500 * MS)
    assert link.state is LinkState.READY, "flashed meanwhile: goes on by itself"


def test_parameters_of_the_body_are_set_before_ready() -> None:
    need_gcc()
    body = RobotBody(wheel_radius_m=0.03, mass_kg=3.0)
    bench = LinkedFirmware(link=Link(LinkConfig(), body_parameters(body)))
    bench.run(20)
    assert bench.link.state in (LinkState.SYNC, LinkState.READY)
    bench.run(30)
    assert bench.link.state is LinkState.READY
    bench.link.request_arm(True)
    bench.run(1000, motion(0.9))
    # The bench still has wheels of 27 mm: told that they are 30, the firmware turns them slower.
    assert bench.bench.twist[0] == pytest.approx(0.9 * 27 / 30, abs=0.03)


def test_lost_parameters_are_sent_again() -> None:
    need_gcc()
    bench = LinkedFirmware(link=Link(LinkConfig(), body_parameters(RobotBody())))
    lost = iter([False, True, True])  # the second and third tick's bytes
    bench.up = lambda data: b"" if next(lost, False) else data
    bench.run(300)
    assert bench.link.state is LinkState.READY


def test_a_refused_parameter_is_a_fault_that_names_it() -> None:
    need_gcc()
    bench = LinkedFirmware(link=Link(LinkConfig(), ((Parameter.WHEEL_RADIUS_M, 5.0),)))
    bench.link.request_arm(True)
    seen = []
    for _ in range(30):
        bench.run(10, motion(1.0))
        seen.append(bench.link.state)
        if bench.link.fault is not None:
            assert "wheel_radius_m = 5" in bench.link.fault.message
    assert not {*seen} & {LinkState.READY, LinkState.ARMED}
    first = seen.index(LinkState.FAULT)
    assert {*seen[first:]} == {LinkState.FAULT}, "it stands, and does not come and go with each tick"


def test_an_own_echo_is_no_device() -> None:
    """A wire from TX to RX, or a console at the other end, made the link READY."""
    link = Link(LinkConfig())
    link.request_arm(True)
    for i in range(50):
        link.on_bytes(link.on_tick(i * 10 * MS, motion(1.0)), i * 10 * MS)
    assert link.device is None
    assert link.fault is not None
    assert link.fault.code == "echo"
    assert not link.health(500 * MS).valid
    link.on_bytes(FrameEncoder().encode(Hello(SCHEMA_HASH, 1, 1, 0, 0, b"0123456789a")), 500 * MS)
    assert link.state is LinkState.READY, "with a device behind the echo it comes up"
    assert link.fault is None


# --- losing and finding again -----------------------------------------------------------------------------------------


def test_silence_takes_it_down_and_the_first_frames_bring_it_back(bench: LinkedFirmware) -> None:
    bench.link.request_arm(True)
    bench.run(300, motion(1.0))
    bench.down = lambda data: b""
    bench.run(120, motion(1.0))
    assert bench.link.state is LinkState.DOWN
    assert not bench.link.health(bench.now_ns).valid
    bench.run(500, motion(1.0))
    assert bench.bench.twist[0] == pytest.approx(0.0, abs=0.02), "a link that hears nothing moves nothing"
    bench.down = lambda data: data
    bench.run(60, motion(1.0))
    assert bench.link.state is LinkState.ARMED, "by itself, within a few ticks"
    assert dict(bench.link.health(bench.now_ns).device_counters)["host_reconnects"] == 1


def test_a_device_that_restarts_is_shaken_hands_with_again(bench: LinkedFirmware) -> None:
    bench.link.request_arm(True)
    bench.run(500, motion(0.5))
    assert isinstance(bench.firmware, FirmwareLibrary)
    bench.firmware.restart(77)
    bench.run(60, motion(0.5))
    assert bench.link.state is LinkState.ARMED
    assert bench.link.device is not None
    assert bench.link.device.boot_id == 77
    captures = [t.t_capture_ns for t in bench.telemetry]
    assert abs(captures[-1] - bench.now_ns) < 10 * MS, "with a new clock"


def test_estop_is_latched_and_rearmed_explicitly(bench: LinkedFirmware) -> None:
    bench.link.request_arm(True)
    bench.run(300, motion(1.0))
    bench.link.request_estop()
    bench.run(500, motion(1.0))
    assert bench.link.state is LinkState.FAULT
    assert bench.link.fault is not None
    assert bench.link.fault.code == "estop"
    assert bench.bench.twist[0] == pytest.approx(0.0, abs=0.02)
    bench.link.request_arm(True)
    bench.run(200, motion(1.0))
    assert bench.link.state is LinkState.FAULT, "arming does not release"
    bench.link.request_arm(False)
    bench.link.request_rearm()
    bench.run(100, motion(1.0))
    assert bench.link.state is LinkState.READY, "released, not armed"
    bench.link.request_arm(True)
    bench.run(300, motion(1.0))
    assert bench.bench.twist[0] == pytest.approx(1.0, abs=0.05)


def test_a_wire_to_the_device_that_was_broken_for_minutes(bench: LinkedFirmware) -> None:
    bench.link.request_arm(True)
    bench.run(300, motion(0.5))
    bench.up = lambda data: b""
    bench.run(300, motion(0.5))
    assert bench.link.state is LinkState.READY, "its telemetry is still heard"
    bench.link._command_seq += 40_000  # what 7 minutes of commands do
    bench.up = lambda data: data
    bench.run(1000, motion(0.5))
    assert bench.link.state is LinkState.ARMED


# --- telemetry and statistics -----------------------------------------------------------------------------------------


def test_telemetry_is_true_ordered_and_stamped(bench: LinkedFirmware) -> None:
    bench.link.request_arm(True)
    bench.bench.break_beam = True
    bench.run(1000, motion(0.5, 0.0, 1.0))
    frames = bench.telemetry
    assert [t.seq for t in frames] == list(range(len(frames)))
    assert len(frames) == pytest.approx(200, abs=5)
    last = frames[-1]
    assert last.valid
    assert last.break_beam
    assert last.odometry_twist.vx_m_s == pytest.approx(0.5, abs=0.05)
    assert last.gyro_z_rad_s == pytest.approx(1.0, abs=0.05)
    steps = {b.t_capture_ns - a.t_capture_ns for a, b in itertools.pairwise(frames[50:])}
    assert max(steps) - min(steps) < 2 * MS


def test_implausible_telemetry_is_rejected() -> None:
    link = Link(LinkConfig())
    encoder = FrameEncoder()
    link.on_bytes(encoder.encode(Hello(SCHEMA_HASH, 5, 1, 0, 0, b"")), 0)
    good = Telemetry(1, *([0.5] * 15), 24.0, 9, 0, 0, 0, 0)
    for bad in (
        good._replace(gyro_z_rad_s=float("nan")),
        good._replace(odometry_pose_1=float("inf")),
        good._replace(wheel_rad_s_3=1e6),
        good._replace(battery_v=-1.0),
    ):
        assert link.on_bytes(encoder.encode(bad), MS) == ()
    assert len(link.on_bytes(encoder.encode(good), MS)) == 1
    assert dict(link.health(MS).device_counters)["host_rejected"] == 4


def test_health_has_both_ends(bench: LinkedFirmware) -> None:
    bench.run(2500)
    health = bench.link.health(bench.now_ns)
    device = dict(health.device_counters)
    assert health.valid
    assert health.state == "ready"
    assert health.rx_ok > 450
    assert (health.crc_errors, health.cobs_errors, health.length_errors, health.sequence_gaps) == (0, 0, 0, 0)
    assert 200 < device["rx_ok"] <= health.tx_frames
    assert device["crc_errors"] == device["sequence_gaps"] == device["tx_dropped"] == 0
    assert health.round_trip_ns <= 6 * MS


def test_equal_calls_give_equal_bytes() -> None:
    need_gcc()
    runs = []
    for _ in range(2):
        bench = LinkedFirmware(link=Link(LinkConfig(), body_parameters(RobotBody())))
        bench.link.request_arm(True)
        bench.run(500, motion(0.7, 0.1, -1.0))
        runs.append((bench.sent, bench.telemetry))
    assert runs[0] == runs[1]


def test_twist2_is_frozen_so_the_command_cannot_change_under_the_link() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Twist2(1.0, 0.0, 0.0).vx_m_s = 2.0  # type: ignore[misc]
