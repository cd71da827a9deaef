"""The same faults in real time, on a real terminal, with telemetry at 1 kHz and commands at 500 Hz."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.protocol.generated import Parameter
from firmware_bridge.transport.faulty import FaultRates, FaultyTransport
from firmware_bridge.transport.pty import PtyTransport
from robot.core.messages import TelemetryFrame
from tests.firmware_bench import motion, need_gcc

MS = 1_000_000


class Loop:
    """500 commands a second through a cable that may be bad."""

    def __init__(self) -> None:
        need_gcc()
        self.cable = FaultyTransport(PtyTransport(LinkConfig(port="pty")), FaultRates(), seed=3)
        self.link = Link(LinkConfig(), ((Parameter.TELEMETRY_PERIOD_MS, 1.0),))
        self.link.request_arm(True)
        self.telemetry: list[TelemetryFrame] = []

    def play(self, seconds: float, until_armed: bool = False) -> float:
        start = due = time.monotonic_ns()
        known = len(self.telemetry)
        while time.monotonic_ns() - start < seconds * 1e9:
            self.cable.write(self.link.on_tick(time.monotonic_ns(), motion(0.3)))
            due += 2 * MS
            while (now := time.monotonic_ns()) < due:
                data = self.cable.read_available()
                self.telemetry += self.link.on_bytes(data, time.monotonic_ns()) if data else ()
                time.sleep(min(5e-4, max((due - now) * 1e-9, 0.0)))
            due = max(due, now - 50 * MS)
            if until_armed and len(self.telemetry) > known and self.link.state is LinkState.ARMED:
                break
        return (time.monotonic_ns() - start) * 1e-9


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.cable.close()


def test_nothing_is_lost_on_a_good_cable(loop: Loop) -> None:
    loop.play(3.0)
    health = loop.link.health(time.monotonic_ns())
    device = dict(health.device_counters)
    assert loop.link.state is LinkState.ARMED
    assert len(loop.telemetry) > 2000, "1 kHz for 3 s; stalls of the machine above 50 ms are left out"
    bad = health.crc_errors + health.cobs_errors + health.length_errors + health.sequence_gaps
    assert bad == 0
    assert device["crc_errors"] + device["cobs_errors"] + device["length_errors"] + device["sequence_gaps"] == 0
    assert device["rx_ok"] > 500
    assert device["tx_dropped"] == 0


def test_a_bad_cable_is_survived_and_mended(loop: Loop) -> None:
    loop.play(1.0)
    bad = FaultRates(flip=1e-3, drop=1e-3, duplicate=1e-3, blackout=1e-3, stall=0.01)
    recoveries_s = []
    for _ in range(3):
        loop.cable.set_rates(bad)
        loop.play(1.5)
        loop.cable.set_rates(FaultRates())
        recoveries_s.append(loop.play(1.0, until_armed=True))
    assert sorted(recoveries_s)[1] < 0.05, "in the middle of three: a busy machine may hold up one"
    seen = loop.link.health(time.monotonic_ns())
    assert seen.crc_errors + seen.cobs_errors > 20, "the cable must be bad"
    # What exactly was sent is compared in virtual time (test_link_faults); here, what cannot have been true.
    assert all(abs(t.odometry_twist.vx_m_s) < 1.0 and abs(t.gyro_z_rad_s) < 2.0 for t in loop.telemetry)
    assert all(b.t_mcu_us > a.t_mcu_us for a, b in itertools.pairwise(loop.telemetry))
    loop.play(0.1)
    before = loop.link.health(time.monotonic_ns())
    loop.play(1.0)
    after = loop.link.health(time.monotonic_ns())
    assert after.crc_errors + after.cobs_errors == before.crc_errors + before.cobs_errors
    assert after.rx_ok - before.rx_ok > 300
