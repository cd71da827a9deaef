"""Look at the serial link: live counters, rates and round trips, without ever moving the robot.

Example: blackout link monitor --port /dev/ttyTHS1 --seconds 10
Example: blackout link soak --seconds 60 --faults 1e-3
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.transport.base import open_transport
from firmware_bridge.transport.monitor import watch
from firmware_bridge.transport.ports import candidates
from firmware_bridge.transport.soak import soak


@dataclass(frozen=True)
class Args:
    """Flags of `blackout link`."""

    action: Annotated[Literal["monitor", "find-port", "soak"], tyro.conf.Positional]
    """monitor: live figures, one line a second. find-port: which serial ports are here. soak: telemetry at 1 kHz
    and 500 commands a second, every loss counted; the wheels stand still."""
    port: str = "pty"
    """A serial device, `tcp://HOST:PORT`, or `pty` for the firmware core in a process of its own."""
    baud: int = 921_600
    """Bits per second."""
    seconds: int = 0
    """Stop after so many lines; 0 goes on until Ctrl-C (soak: 60)."""
    faults: float = 0.0
    """soak: chance per byte of a flipped bit, of a lost and of a doubled byte and of a blackout of 200 bytes, and per read
    or write of a stall."""
    seed: int = 1
    """soak: of the faults."""


def run(args: Args) -> int:
    """Do it; returns the exit code: 1 when the link was not up at the end, or no port was found."""
    if args.action == "find-port":
        found = candidates()
        for port in found:
            print(f"{port.path}\t{port.description}")
        if not found:
            print("no serial port; is the microcontroller plugged in and powered?")
        return 0 if found else 1
    return _soak(args) if args.action == "soak" else _monitor(args)


def _soak(args: Args) -> int:
    transport = open_transport(LinkConfig(port=args.port, baud=args.baud))
    try:
        report = soak(transport, args.seconds or 60, args.faults, args.seed)
    finally:
        transport.close()
    for name, value in dataclasses.asdict(report).items():
        print(f"{name:24s} {value:.3f}" if isinstance(value, float) else f"{name:24s} {value}")
    lost = report.lost_here + report.lost_device + report.bad_here + report.bad_device
    good = report.undetected + report.stale == 0 and (args.faults > 0.0 or lost == 0)
    print("soak: ok" if good else "soak: FAILED")
    return 0 if good else 1


def _monitor(args: Args) -> int:
    config = LinkConfig(port=args.port, baud=args.baud)
    link = Link(config)
    transport = open_transport(config)
    try:
        reports = watch(transport, link)
        for report in itertools.islice(reports, args.seconds) if args.seconds else reports:
            health = report.health
            bad = health.crc_errors + health.cobs_errors + health.length_errors
            device = dict(health.device_counters)
            battery = f"{report.last.battery_v:5.2f} V" if report.last else "   -   "
            print(
                f"{report.state.value:6s} telemetry {report.telemetry_hz:6.1f} Hz  "
                f"round trip p50 {report.round_trip_p50_ms:6.2f} p99 {report.round_trip_p99_ms:6.2f} ms  "
                f"here ok {health.rx_ok} bad {bad} gaps {health.sequence_gaps}  "
                f"device ok {device.get('rx_ok', 0)} bad {device.get('crc_errors', 0) + device.get('cobs_errors', 0)} "
                f"gaps {device.get('sequence_gaps', 0)} late ticks {device.get('ticks_missed', 0)}  battery {battery}"
            )
    finally:
        transport.close()
    if link.fault is not None:
        print(f"fault [{link.fault.code}]: {link.fault.message}\n  mend: {link.fault.hint}")
    return 0 if link.state in (LinkState.READY, LinkState.ARMED) else 1
