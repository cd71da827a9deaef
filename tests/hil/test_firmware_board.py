"""The firmware's tests on a real board: `pytest tests/hil --port /dev/ttyACM0` (wheels off the ground).

It needs the test build (lockstep), with nothing else on the port. `--port pty` runs them against the process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.hil import open_target
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.protocol.generated import Parameter
from firmware_bridge.transport.base import Transport, open_transport
from firmware_bridge.transport.soak import soak
from tests.firmware_bench import motion
from tests.hil.scenarios import SCENARIOS
from tests.hil.test_firmware_golden import GOLDEN, play
from tests.hil.test_firmware_watchdog import brakes_in_time

pytestmark = pytest.mark.hardware
MS = 1_000_000


@pytest.fixture
def port(request: pytest.FixtureRequest) -> str:
    name = request.config.getoption("--port")
    if name is None:
        pytest.skip("no board named: pytest tests/hil --port /dev/ttyACM0")
    return str(name)


@pytest.fixture
def transport(port: str) -> Iterator[Transport]:
    transport = open_transport(LinkConfig(port=port))
    yield transport
    transport.close()


def test_link_is_ready_within_a_second_and_keeps_its_rate(transport: Transport) -> None:
    link, frames = Link(LinkConfig()), 0
    start = time.monotonic()
    while time.monotonic() - start < 3.0:
        transport.write(link.on_tick(time.monotonic_ns(), None))
        time.sleep(0.01)
        heard = len(link.on_bytes(transport.read_available(), time.monotonic_ns()))
        frames += heard if time.monotonic() - start > 1.0 else 0
    assert link.state is LinkState.READY
    assert 180 * 2 < frames < 220 * 2
    assert link.health(time.monotonic_ns()).round_trip_ns < 20 * MS


def test_watchdog_in_the_device_own_time(transport: Transport) -> None:
    link = Link(LinkConfig(), ((Parameter.TELEMETRY_PERIOD_MS, 1.0),))
    link.request_arm(True)
    start = time.monotonic()
    frames = []
    while time.monotonic() - start < 1.0:
        transport.write(link.on_tick(time.monotonic_ns(), motion(0.0)))
        time.sleep(0.01)
        frames += link.on_bytes(transport.read_available(), time.monotonic_ns())
    if not frames or not frames[-1].armed:
        pytest.skip("the board does not arm: is its battery connected?")
    last_command, quiet = frames[-1].last_command_seq, time.monotonic()
    frames = [f for f in frames if f.last_command_seq == last_command]
    while time.monotonic() - quiet < 0.5:
        time.sleep(0.005)
        frames += link.on_bytes(transport.read_available(), time.monotonic_ns())
    last_command = frames[-1].last_command_seq  # one may have been under way when we fell silent
    last_heard_us = next(f.t_mcu_us for f in frames if f.last_command_seq == last_command)
    armed_until_us = max(f.t_mcu_us for f in frames if f.armed)
    assert 90_000 < armed_until_us - last_heard_us <= 100_000 + 2_000


def test_soak(transport: Transport) -> None:
    report = soak(transport, 10, 0.0, 1, period_ms=2)  # a frame each millisecond does not fit through 921600 baud
    assert (report.lost_here, report.lost_device, report.bad_here, report.bad_device) == (0, 0, 0, 0)
    assert report.problems(0.0, period_ms=2) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_golden_hash(port: str, scenario: str) -> None:
    with open_target(port) as firmware:
        assert play(firmware, SCENARIOS[scenario]())[0] == GOLDEN[scenario]


def test_watchdog_brakes_the_wheels_in_time(port: str) -> None:
    with open_target(port) as firmware:
        brakes_in_time(firmware)
