"""A link under full load in real time: telemetry at 1 kHz, 500 commands a second, a cable as bad as asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.framing import FrameDecoder
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.protocol.generated import Parameter, Telemetry
from firmware_bridge.transport.base import Transport
from firmware_bridge.transport.faulty import FaultRates, FaultyTransport
from robot.core.errors import LinkError
from robot.core.geometry import Twist2
from robot.core.messages import LinkHealth, MotionCommand

_TICK_NS = 2_000_000
_START_S, _PHASE_S = 5.0, 5.0
_STAND = MotionCommand(
    seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, twist_in_robot=Twist2(0.0, 0.0, 0.0), stop=False
)


@dataclass(frozen=True, slots=True)
class SoakReport:
    """Counts over the soak. `lost_*` are gaps in the sequence numbers; `bad_*` are frames that were refused.

    `undetected` counts telemetry that was accepted behind the bad cable though the device never sent it (a second
    decoder listens in front of the cable). Recovery is from the last fault of a phase
    until the link is armed and hears telemetry again.
    """

    seconds: float
    telemetry: int
    telemetry_hz: float
    commands: int
    lost_here: int
    lost_device: int
    bad_here: int
    bad_device: int
    faults: int
    undetected: int
    recoveries: int
    recovery_p50_ms: float
    recovery_max_ms: float
    round_trip_p50_ms: float
    round_trip_p99_ms: float
    ticks_missed: int


class _Tap:
    """Remembers the telemetry that passes, as the device sent it."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._decoder = FrameDecoder()
        self.sent: set[bytes] = set()

    def read_available(self) -> bytes:
        data = self._inner.read_available()
        self.sent |= {m.pack() for m in self._decoder.feed(data) if isinstance(m, Telemetry)}
        return data

    def write(self, data: bytes) -> None:
        self._inner.write(data)

    def close(self) -> None:
        self._inner.close()


class _Loop:
    def __init__(self, transport: Transport, rates: FaultRates, seed: int) -> None:
        self.tap = _Tap(transport)
        self.rates = rates
        self.cable = FaultyTransport(self.tap, FaultRates(), seed)
        self.link = Link(LinkConfig(), ((Parameter.TELEMETRY_PERIOD_MS, 1.0),))
        self.link.request_arm(True)
        self.witness = FrameDecoder()
        self.telemetry = self.commands = self.undetected = 0
        self.trips_ms: list[float] = []

    def run(self, seconds: float, until_heard: bool = False) -> float:
        """Play for so long, or until telemetry comes while armed; returns how long it took in seconds."""
        start = due = time.monotonic_ns()
        while time.monotonic_ns() - start < seconds * 1e9:
            self.cable.write(self.link.on_tick(time.monotonic_ns(), _STAND))
            self.commands += 1
            due = max(due + _TICK_NS, time.monotonic_ns() - _TICK_NS)
            while (now := time.monotonic_ns()) < due:
                heard = self._listen()
                if heard and until_heard and self.link.state is LinkState.ARMED:
                    return (time.monotonic_ns() - start) * 1e-9
                time.sleep(min(5e-4, max((due - now) * 1e-9, 0.0)))
        return (time.monotonic_ns() - start) * 1e-9

    def _listen(self) -> int:
        data = self.cable.read_available()
        if not data:
            return 0
        accepted = [m.pack() for m in self.witness.feed(data) if isinstance(m, Telemetry)]
        self.undetected += sum(payload not in self.tap.sent for payload in accepted)
        heard = len(self.link.on_bytes(data, time.monotonic_ns()))
        self.telemetry += heard
        if heard:
            self.trips_ms.append(self.link.health(0).round_trip_ns / 1e6)
        return heard

    def counters(self) -> tuple[LinkHealth, dict[str, int]]:
        """Both ends' counters, the device's asked for now."""
        self.run(1.1)
        health = self.link.health(time.monotonic_ns())
        return health, dict(health.device_counters)


def soak(transport: Transport, seconds: float, faults: float, seed: int) -> SoakReport:
    """Load the link for so long; with faults, in phases of five seconds, each followed by a clean second.

    Raises:
        LinkError: the link did not come up, or the device has gone.
    """
    rates = FaultRates(flip=faults, drop=faults, duplicate=faults, stall=faults)
    loop = _Loop(transport, rates, seed)
    if loop.run(_START_S, until_heard=True) >= _START_S:
        raise LinkError("the link did not come up", hint="blackout link monitor shows what is heard")
    loop.run(0.5)
    before, device_before = loop.counters()
    loop.telemetry = loop.commands = 0
    loop.trips_ms.clear()
    recoveries_ms: list[float] = []
    start = time.monotonic_ns()
    while (left := seconds - (time.monotonic_ns() - start) * 1e-9) > 0.0:
        loop.cable.set_rates(loop.rates)
        loop.run(min(left, _PHASE_S) if faults > 0.0 else left)
        loop.cable.set_rates(FaultRates())
        if faults > 0.0:
            recoveries_ms.append(loop.run(_START_S, until_heard=True) * 1e3)
            loop.run(0.5)
    passed_s = (time.monotonic_ns() - start) * 1e-9
    telemetry, commands = loop.telemetry, loop.commands
    health, device = loop.counters()
    loop.link.request_arm(False)
    loop.run(0.05)
    trips, recoveries = sorted(loop.trips_ms) or [0.0], sorted(recoveries_ms) or [0.0]

    def more(*names: str) -> int:
        return sum(device[name] - device_before.get(name, 0) for name in names)

    def bad(report: LinkHealth) -> int:
        return report.crc_errors + report.cobs_errors + report.length_errors

    return SoakReport(
        seconds=passed_s,
        telemetry=telemetry,
        telemetry_hz=telemetry / passed_s,
        commands=commands,
        lost_here=health.sequence_gaps - before.sequence_gaps,
        lost_device=more("sequence_gaps"),
        bad_here=bad(health) - bad(before),
        bad_device=more("crc_errors", "cobs_errors", "length_errors"),
        faults=loop.cable.up.faults + loop.cable.down.faults,
        undetected=loop.undetected,
        recoveries=len(recoveries_ms),
        recovery_p50_ms=recoveries[len(recoveries) // 2],
        recovery_max_ms=recoveries[-1],
        round_trip_p50_ms=trips[len(trips) // 2],
        round_trip_p99_ms=trips[min(len(trips) - 1, len(trips) * 99 // 100)],
        ticks_missed=more("ticks_missed"),
    )
