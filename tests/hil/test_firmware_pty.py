"""The firmware as a process behind a real terminal, in real time: start, drive, lose, find again, leave nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.transport.base import Transport, open_transport
from firmware_bridge.transport.pty import FirmwareProcess, PtyTransport
from firmware_bridge.transport.serial_port import SerialTransport
from robot.core.errors import LinkError
from robot.core.messages import MotionCommand, TelemetryFrame
from tests.firmware_bench import motion, need_gcc

MS = 1_000_000


@dataclass
class Player:
    """The smallest runner: 100 Hz ticks with absolute deadlines, bytes stamped when they come."""

    transport: Transport
    link: Link = field(default_factory=lambda: Link(LinkConfig()))
    telemetry: list[TelemetryFrame] = field(default_factory=list)

    def play(
        self, seconds: float, command: MotionCommand | None = None, until: Callable[[], bool] = lambda: False
    ) -> float:
        """Run for a time, or until something is true; returns how long it took."""
        start = due = time.monotonic_ns()
        while time.monotonic_ns() - start < seconds * 1e9 and not until():
            self.transport.write(self.link.on_tick(time.monotonic_ns(), command))
            due += 10 * MS
            while (now := time.monotonic_ns()) < due:
                data = self.transport.read_available()
                self.telemetry += self.link.on_bytes(data, time.monotonic_ns()) if data else ()
                time.sleep(min(1e-3, max((due - now) * 1e-9, 0.0)))
            due = max(due, now - 50 * MS)
        return (time.monotonic_ns() - start) * 1e-9


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def player() -> Iterator[Player]:
    need_gcc()
    transport = PtyTransport(LinkConfig(port="pty"))
    yield Player(transport)
    transport.close()


def test_drives_on_command_and_leaves_no_process(player: Player) -> None:
    player.link.request_arm(True)
    player.play(5.0, motion(1.0), until=lambda: bool(player.telemetry) and player.telemetry[-1].odometry_pose.x_m > 0.5)
    last = player.telemetry[-1]
    assert player.link.state is LinkState.ARMED
    assert last.odometry_twist.vx_m_s == pytest.approx(1.0, abs=0.15)
    health = player.link.health(time.monotonic_ns())
    assert (health.crc_errors, health.cobs_errors, health.length_errors) == (0, 0, 0)
    assert 0 < health.round_trip_ns < 1_000 * MS
    assert all(t.t_capture_ns <= t.t_receive_ns for t in player.telemetry)
    pid = player.transport.firmware.pid  # type: ignore[attr-defined]
    assert alive(pid)
    player.transport.close()
    assert not alive(pid)


def test_silence_stops_the_wheels(player: Player) -> None:
    player.link.request_arm(True)
    player.play(5.0, motion(1.0), until=lambda: bool(player.telemetry) and player.telemetry[-1].odometry_pose.x_m > 0.2)
    quiet = time.monotonic()
    while time.monotonic() - quiet < 1.0:  # listens, says nothing
        player.telemetry += player.link.on_bytes(player.transport.read_available(), time.monotonic_ns())
        time.sleep(2e-3)
    last = player.telemetry[-1]
    assert not last.armed
    assert abs(last.odometry_twist.vx_m_s) < 0.05
    assert last.fault_bits & 1


def test_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    """Unplug: a recoverable error. Replug under the same stable name: the link is armed again within two seconds."""
    need_gcc()
    name = tmp_path / "mcu"
    firmware = FirmwareProcess(1, link=name)
    config = LinkConfig(port=str(name))
    player = Player(SerialTransport(config))
    try:
        player.link.request_arm(True)
        player.play(3.0, motion(0.3), until=lambda: player.link.state is LinkState.ARMED)
        firmware.stop()
        with pytest.raises(LinkError) as caught:
            player.play(1.0, motion(0.3))
        assert caught.value.recoverable
        with pytest.raises(LinkError, match="cannot open") as caught:
            SerialTransport(config)
        assert "by-id" in caught.value.hint
        firmware = FirmwareProcess(2, link=name)
        player.transport = SerialTransport(config)
        assert player.play(2.0, motion(0.3), until=lambda: player.link.state is LinkState.ARMED) < 2.0
        assert player.link.state is LinkState.ARMED
    finally:
        player.transport.close()
        firmware.stop()


def test_a_port_is_opened_once() -> None:
    need_gcc()
    firmware = FirmwareProcess()
    try:
        first = SerialTransport(LinkConfig(port=firmware.port, parity="E", stop_bits=2))  # a pty has neither: tolerated
        with pytest.raises(LinkError) as caught:
            SerialTransport(LinkConfig(port=firmware.port))
        assert "another program" in caught.value.hint
        first.close()
        SerialTransport(LinkConfig(port=firmware.port)).close()
    finally:
        firmware.stop()


def test_a_reader_that_sleeps_loses_whole_frames_only() -> None:
    need_gcc()
    firmware = FirmwareProcess()
    try:
        player = Player(SerialTransport(LinkConfig(port=firmware.port)))
        player.play(0.3)
        time.sleep(1.0)  # more than the terminal holds
        player.play(0.5)
        health = player.link.health(time.monotonic_ns())
        assert (health.crc_errors, health.cobs_errors, health.length_errors) == (0, 0, 0)
        assert player.link.state is LinkState.READY
        player.transport.close()
    finally:
        firmware.stop()


def test_missing_port_and_missing_gcc_say_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="cannot open") as caught:
        open_transport(LinkConfig(port=str(tmp_path / "nothing")))
    assert "link.port" in caught.value.hint
    monkeypatch.setattr("firmware_bridge.firmware.build.shutil.which", lambda _: None)
    monkeypatch.setattr("firmware_bridge.firmware.build.build_folder", lambda: tmp_path)
    with pytest.raises(LinkError, match="gcc") as caught:
        open_transport(LinkConfig(port="pty"))
    assert "apt-get install gcc" in caught.value.hint
