"""Look at the serial link: live counters, rates and round trips, parameters; without ever moving the robot.

Example:
    blackout link monitor --port /dev/ttyTHS1 --seconds 10
    blackout link parameters --port /dev/ttyTHS1 --set wheel_kp=0.05
    blackout link soak --seconds 60 --faults 1e-3
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.link.parameters import as_float32
from firmware_bridge.protocol.generated import PARAMETER_LIMITS, Parameter
from firmware_bridge.transport.base import open_transport
from firmware_bridge.transport.inquiry import Inquiry, describe, refusal, who_is
from firmware_bridge.transport.monitor import LinkReport, watch
from firmware_bridge.transport.ports import candidates
from firmware_bridge.transport.reconnect import StablePort
from firmware_bridge.transport.soak import soak
from robot.core.errors import ConfigError
from robot.core.messages import LinkHealth

_OWN = ("rx_ok", "crc_errors", "cobs_errors", "length_errors", "sequence_gaps")


@dataclass(frozen=True)
class Args:
    """Flags of `blackout link`."""

    action: Annotated[Literal["monitor", "find-port", "parameters", "soak"], tyro.conf.Positional]
    """monitor: live figures, one line a second, all counters at the end. find-port: which serial ports are here.
    parameters: those of the microcontroller, with their limits. soak: telemetry at 1 kHz and 500 commands a second,
    every loss counted; the wheels stand still."""
    port: str = "pty"
    """A serial device, `tcp://HOST:PORT`, or `pty` for the firmware core in a process of its own."""
    baud: int = 921_600
    """Bits per second."""
    parity: Literal["N", "E", "O"] = "N"
    """None, even or odd."""
    stop_bits: Literal[1, 2] = 1
    """1 or 2."""
    seconds: int = 0
    """Stop after so many lines; 0 goes on until Ctrl-C (soak: 60)."""
    ask: bool = False
    """find-port: say HELLO at each port and tell who answers."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """parameters: NAME=VALUE to set first (may be repeated); it lasts until the microcontroller is switched off."""
    faults: float = 0.0
    """soak: chance per byte of a flipped bit, a lost byte, a doubled one and a blackout of 200 bytes, and per read
    or write of a stall."""
    seed: int = 1
    """soak: of the faults."""
    period_ms: int = 1
    """soak: of the telemetry; a real line below 1 Mbaud needs 2."""

    def config(self) -> LinkConfig:
        """The port's settings."""
        try:
            return LinkConfig(port=self.port, baud=self.baud, parity=self.parity, stop_bits=self.stop_bits)
        except ValueError as error:
            raise ConfigError(str(error), hint="blackout link --help") from error


def run(args: Args) -> int:
    """Do it; returns the exit code: 1 when the link was not up at the end, something was refused or nothing found."""
    if args.seconds < 0 or args.seed < 0 or not 0.0 <= args.faults <= 1.0 or not 1 <= args.period_ms <= 100:
        raise ConfigError(
            "--seconds and --seed are not negative, --faults is 0 to 1, --period-ms 1 to 100",
            hint="blackout link --help",
        )
    actions = {"monitor": _monitor, "find-port": _find_port, "parameters": _parameters, "soak": _soak}
    return actions[args.action](args)


def _find_port(args: Args) -> int:
    found = candidates()
    for port in found:
        who = f"\t{who_is(dataclasses.replace(args.config(), port=port.path))}" if args.ask else ""
        print(f"{port.path}\t{port.description}{who}")
    if not found:
        print("no serial port; is the microcontroller plugged in and powered?")
    return 0 if found else 1


def _parameters(args: Args) -> int:
    wanted = dict(map(_assignment, args.set))
    transport = open_transport(args.config())
    try:
        inquiry = Inquiry(transport)
        print(describe(inquiry.hello()))
        refused = {p: words for p, answer in inquiry.write(wanted).items() if (words := refusal(answer))}
        values = inquiry.read()
    finally:
        transport.close()
    for parameter, value in values.items():
        default, low, high = PARAMETER_LIMITS[parameter]
        note = f"  REFUSED {wanted[parameter]:g}: {refused[parameter]}" if parameter in refused else ""
        mark = "*" if abs(value - default) > 1e-6 * max(abs(default), 1.0) else " "
        print(f"{mark} {parameter.name.lower():26s} {value:<12.6g} {low:g} .. {high:g}{note}")
    print("* not the default")
    return 1 if refused else 0


def _assignment(text: str) -> tuple[Parameter, float]:
    name, _, value = text.partition("=")
    known = {p.name.lower(): p for p in Parameter}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(f"no parameter '{name}'", hint=f"did you mean {near[0]}?" if near else "docs/protocol.md")
    try:
        return known[name], as_float32(float(value))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"'{text}' is not NAME=NUMBER with a 32-bit float",
            hint=f"for example {name}={PARAMETER_LIMITS[known[name]][0]:g}",
        ) from None


def _soak(args: Args) -> int:
    transport = open_transport(args.config())
    try:
        report = soak(transport, args.seconds or 60, args.faults, args.seed, args.period_ms)
    finally:
        transport.close()
    for name, value in dataclasses.asdict(report).items():
        print(f"{name:24s} {value:.3f}" if isinstance(value, float) else f"{name:24s} {value}")
    problems = report.problems(args.faults, args.period_ms)
    print(f"soak: FAILED: {'; '.join(problems)}" if problems else "soak: ok")
    return 1 if problems else 0


def _monitor(args: Args) -> int:
    config = args.config()
    link = Link(config)
    reports = watch(StablePort(config).open, link)
    last: LinkReport | None = None
    try:
        for report in itertools.islice(reports, args.seconds) if args.seconds else reports:
            changes = _changes(last.health, report.health) if last is not None else ""
            last = report
            print(_line(report) + changes, flush=True)
    except KeyboardInterrupt:
        pass  # it is how one ends it
    finally:
        reports.close()
    if last is not None:
        _print_counters(last.health)
    if link.device is not None:
        print(describe(link.device))
    if link.fault is not None:
        print(f"fault [{link.fault.code}]: {link.fault.message}\n  mend: {link.fault.hint}")
    return 0 if link.state in (LinkState.READY, LinkState.ARMED) else 1


def _line(report: LinkReport) -> str:
    if report.lost:
        return f"{report.state.value:6s} {report.lost}; waiting for it"
    health = report.health
    bad = health.crc_errors + health.cobs_errors + health.length_errors
    device = dict(health.device_counters)
    device_bad = sum(device.get(name, 0) for name in ("crc_errors", "cobs_errors", "length_errors"))
    battery = f"{report.last.battery_v:5.2f} V" if report.last else "   -   "
    return (
        f"{report.state.value:6s} telemetry {report.telemetry_hz:6.1f} Hz  commands {report.commands_hz:5.1f} Hz  "
        f"round trip p50 {report.round_trip_p50_ms:6.2f} p99 {report.round_trip_p99_ms:6.2f} ms  "
        f"here ok {health.rx_ok} bad {bad} gaps {health.sequence_gaps}  "
        f"device ok {device.get('rx_ok', 0)} bad {device_bad} gaps {device.get('sequence_gaps', 0)} "
        f"late ticks {device.get('ticks_missed', 0)}  battery {battery}"
    )


def _changes(before: LinkHealth, now: LinkHealth) -> str:
    """Which counters of trouble have moved since the last line."""
    own = {name: getattr(now, name) - getattr(before, name) for name in _OWN if name != "rx_ok"}
    told = dict(before.device_counters)
    quiet = {"rx_ok", "tx_frames", "uptime_ms", "drift_ppb"}
    device = {n: value - told.get(n, 0) for n, value in now.device_counters if n not in quiet} if told else {}
    moved = [f"here {name} +{more}" for name, more in own.items() if more > 0]
    moved += [f"device {name} +{more}" for name, more in device.items() if more > 0 and not name.startswith("host_")]
    return f"  [{', '.join(moved)}]" if moved else ""


def _print_counters(health: LinkHealth) -> None:
    """All counters of both ends, side by side where both have one."""
    device = dict(health.device_counters)
    own = {n: getattr(health, n) for n in _OWN}
    own |= {"overruns": device.pop("host_overruns", 0), "rejected": device.pop("host_rejected", 0)}
    own |= {"tx_frames": health.tx_frames, "reconnects": device.pop("host_reconnects", 0)}
    drift_ppb = device.pop("drift_ppb", 0)
    print(f"{'counter':18s} {'here':>10s} {'device':>10s}")
    for name in dict.fromkeys((*own, *device)):
        print(f"{name:18s} {own.get(name, '-'):>10} {device.get(name, '-'):>10}")
    print(f"device clock: {health.clock_offset_ns / 1e9:.6f} s behind, drift {drift_ppb / 1000:.1f} ppm")
