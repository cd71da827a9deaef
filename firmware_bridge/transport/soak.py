"""A link under full load in real time: telemetry at 1 kHz, 500 commands a second, a cable as bad as asked for."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.framing import FrameDecoder
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.protocol.generated import AnyMessage, Command, Parameter, StateFlag, Telemetry
from firmware_bridge.transport.base import Transport
from firmware_bridge.transport.faulty import FaultRates, FaultyTransport
from robot.core.errors import LinkError
from robot.core.geometry import Twist2
from robot.core.messages import LinkHealth, MotionCommand

_TICK_NS = 2_000_000
_CATCH_UP_NS = 50_000_000
"""A busy machine may wake us late: the commands of this long are sent at once, so that the rate holds."""
_START_S, _PHASE_S, _POLL_S = 5.0, 5.0, 5e-4
_WATCHDOG_US = 102_000
RECOVERY_MS, RATE_SHARE = 50.0, 0.98
_ARMED = StateFlag.ARMED.value
_STAND = MotionCommand(
    seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, twist_in_robot=Twist2(0.0, 0.0, 0.0), stop=False
)


@dataclass(frozen=True, slots=True)
class SoakReport:
    """Counts over the soak. `lost_*` are gaps in the sequence numbers; `bad_*` are frames that were refused.

    `undetected` counts telemetry that was accepted behind the bad cable though the device never sent it (a second
    decoder listens in front of the cable), and commands that the device says it obeys though we never sent them.
    `stale` counts telemetry that says armed more than 102 ms after its command, or on an older command than before.
    Recovery is from the last fault of a phase until the link is armed and hears telemetry again. `cpu_us_per_frame` is
    this process's time (fault injection and the checks above included) by frames of both directions.
    """

    seconds: float
    telemetry: int
    telemetry_hz: float
    commands: int
    commands_hz: float
    lost_here: int
    lost_device: int
    bad_here: int
    bad_device: int
    faults: int
    undetected: int
    stale: int
    recoveries: int
    recovery_p50_ms: float
    recovery_max_ms: float
    round_trip_p50_ms: float
    round_trip_p99_ms: float
    ticks_late: int
    cpu_us_per_frame: float
    device_cpu_us_per_cycle: float

    def problems(self, faults: float, period_ms: int = 1) -> list[str]:
        """What is not as it must be, in words; empty when the soak is passed."""
        found = []
        lost = self.lost_here + self.lost_device + self.bad_here + self.bad_device
        if faults == 0.0 and lost:
            found.append(f"{lost} frames lost or damaged")
        if self.undetected or self.stale:
            found.append(f"{self.undetected} undetected bad frames, {self.stale} on stale commands")
        if self.recovery_max_ms > RECOVERY_MS:
            found.append(f"recovered only after {self.recovery_max_ms:.0f} ms")
        rates = [("commands", self.commands_hz, 1e9 / _TICK_NS)]
        if faults == 0.0:
            rates.append(("telemetry", self.telemetry_hz, 1000.0 / period_ms))
        found += [f"{name} at {hz:.0f} Hz of {want:.0f}" for name, hz, want in rates if hz < RATE_SHARE * want]
        return found


class _Tap:
    """Listens between the cable and the device: what the device really said, and what it says it obeys."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._decoder = FrameDecoder()
        self._newest_ns = 0
        self.sent: set[AnyMessage] = set()
        self.asked: set[tuple[int, int]] = {(0, 0)}
        self.unasked = self.stale = 0

    def read_available(self) -> bytes:
        data = self._inner.read_available()
        for message in self._decoder.feed(data):
            if isinstance(message, Telemetry):
                self.sent.add(message)
                stamp_ns = message.host_stamp_ns
                self.unasked += (message.last_command_seq, stamp_ns) not in self.asked
                late = message.flags & _ARMED and message.hold_us > _WATCHDOG_US
                self.stale += bool(late or stamp_ns < self._newest_ns)
                self._newest_ns = stamp_ns
        return data

    def write(self, data: bytes) -> None:
        self._inner.write(data)

    def close(self) -> None:
        self._inner.close()


class _Loop:
    def __init__(self, transport: Transport, rates: FaultRates, seed: int, period_ms: int) -> None:
        self.tap = _Tap(transport)
        self.rates = rates
        self.cable = FaultyTransport(self.tap, FaultRates(), seed)
        self.link = Link(LinkConfig(), ((Parameter.TELEMETRY_PERIOD_MS, float(period_ms)),))
        self.link.request_arm(True)
        self.own, self.witness = FrameDecoder(), FrameDecoder()
        self.telemetry = self.commands = self.undetected = 0
        self.trips_ms: list[float] = []
        self._fileno: Callable[[], int] | None = getattr(transport, "fileno", None)
        self._due_ns = time.monotonic_ns()

    def run(self, seconds: float, until_heard: bool = False) -> float:
        """Play for so long, or until telemetry comes while armed; returns how long it took in seconds."""
        start = time.monotonic_ns()
        self._due_ns = max(self._due_ns, start - _TICK_NS)
        while (now := time.monotonic_ns()) - start < seconds * 1e9:
            if now >= self._due_ns:
                self._command(now)
                self._due_ns = max(self._due_ns + _TICK_NS, now - _CATCH_UP_NS)
                continue
            self._wait((self._due_ns - now) * 1e-9)
            if self._listen() and until_heard and self.link.state is LinkState.ARMED:
                break
        return (time.monotonic_ns() - start) * 1e-9

    def _command(self, now_ns: int) -> None:
        data = self.link.on_tick(now_ns, _STAND)
        for message in self.own.feed(data):
            if isinstance(message, Command):
                self.tap.asked.add((message.seq, message.host_stamp_ns))
                self.commands += 1
        self.cable.write(data)

    def _wait(self, seconds: float) -> None:
        if self._fileno is None:
            time.sleep(min(seconds, _POLL_S))
        else:
            select.select([self._fileno()], [], [], seconds)

    def _listen(self) -> int:
        data = self.cable.read_available()
        if not data:
            return 0
        sent = self.tap.sent
        self.undetected += sum(isinstance(m, Telemetry) and m not in sent for m in self.witness.feed(data))
        heard = len(self.link.on_bytes(data, time.monotonic_ns()))
        self.telemetry += heard
        if heard:
            self.trips_ms.append(self.link.round_trip_ns / 1e6)
        return heard

    def counters(self) -> tuple[LinkHealth, dict[str, int]]:
        """Both ends' counters, the device's asked for now."""
        self.run(1.1)
        health = self.link.health(time.monotonic_ns())
        return health, dict(health.device_counters)


def soak(transport: Transport, seconds: float, faults: float, seed: int, period_ms: int = 1) -> SoakReport:
    """Load the link for so long; with faults, in phases of five seconds, each followed by half a clean one.

    Args:
        transport: to a device of its own; it is armed, and told to stand.
        seconds: how long.
        faults: chance per byte of a flipped bit, a lost byte, a doubled one and a blackout of 200 bytes, and per
            read or write of a stall.
        seed: of the faults.
        period_ms: of the telemetry. Its frames are 96 bytes: one a millisecond needs more than 960 kbaud.

    Raises:
        LinkError: the link did not come up, or the device has gone.
    """
    rates = FaultRates(flip=faults, drop=faults, duplicate=faults, blackout=faults, stall=faults)
    loop = _Loop(transport, rates, seed, period_ms)
    if loop.run(_START_S, until_heard=True) >= _START_S:
        fault = loop.link.fault
        if fault is not None:
            raise LinkError(fault.message, hint=fault.hint)
        raise LinkError("the link did not come up", hint="blackout link monitor shows what is heard")
    loop.run(0.5)
    before, device_before = loop.counters()
    loop.telemetry = loop.commands = 0
    loop.tap.unasked = loop.tap.stale = 0  # a board may have begun with the echo of somebody else's last command
    loop.trips_ms.clear()
    recoveries_ms: list[float] = []
    start, cpu_ns, device_cpu_ns = time.monotonic_ns(), time.process_time_ns(), _cpu_ns(transport)
    while (left := seconds - (time.monotonic_ns() - start) * 1e-9) > 0.0:
        loop.cable.set_rates(loop.rates)
        loop.run(min(left, _PHASE_S) if faults > 0.0 else left)
        loop.cable.set_rates(FaultRates())
        if faults > 0.0:
            recoveries_ms.append(loop.run(_START_S, until_heard=True) * 1e3)
            loop.run(0.5)
    passed_s = (time.monotonic_ns() - start) * 1e-9
    cpu_ns, device_cpu_ns = time.process_time_ns() - cpu_ns, _cpu_ns(transport) - device_cpu_ns
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
        commands_hz=commands / passed_s,
        lost_here=health.sequence_gaps - before.sequence_gaps,
        lost_device=more("sequence_gaps"),
        bad_here=bad(health) - bad(before),
        bad_device=more("crc_errors", "cobs_errors", "length_errors"),
        faults=loop.cable.up.faults + loop.cable.down.faults,
        undetected=loop.undetected + loop.tap.unasked,
        stale=loop.tap.stale,
        recoveries=len(recoveries_ms),
        recovery_p50_ms=recoveries[len(recoveries) // 2],
        recovery_max_ms=recoveries[-1],
        round_trip_p50_ms=trips[len(trips) // 2],
        round_trip_p99_ms=trips[min(len(trips) - 1, len(trips) * 99 // 100)],
        ticks_late=more("ticks_missed"),
        cpu_us_per_frame=cpu_ns / 1e3 / max(telemetry + commands, 1),
        device_cpu_us_per_cycle=device_cpu_ns / 1e6 / passed_s,
    )


def _cpu_ns(transport: Transport) -> int:
    """Processor time of the firmware's process so far, where it is one of ours (and Linux tells)."""
    pid = getattr(getattr(transport, "firmware", None), "pid", None)
    accounts = Path(f"/proc/{pid}/schedstat")
    return int(accounts.read_text().split()[0]) if pid is not None and accounts.exists() else 0
