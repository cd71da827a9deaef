"""Listens to a link in real time and keeps the figures that `blackout link monitor` shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.transport.base import Transport
from robot.core.messages import LinkHealth, TelemetryFrame

_TICK_NS = 10_000_000
_POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One interval: telemetry per second, round trips in it (50th and 99th percentile), the last frame."""

    state: LinkState
    telemetry_hz: float
    round_trip_p50_ms: float
    round_trip_p99_ms: float
    health: LinkHealth
    last: TelemetryFrame | None


def watch(transport: Transport, link: Link, interval_s: float = 1.0) -> Iterator[LinkReport]:
    """Keep the heartbeat (always STOP, never armed) and yield a report each interval, until the caller ends it.

    Raises:
        LinkError: the device has gone.
    """
    due = time.monotonic_ns()
    while True:
        began, count, trips, last = time.monotonic_ns(), 0, [0.0], None
        while time.monotonic_ns() - began < interval_s * 1e9:
            transport.write(link.on_tick(time.monotonic_ns(), None))
            due = max(due + _TICK_NS, time.monotonic_ns() - _TICK_NS)
            while time.monotonic_ns() < due:
                data = transport.read_available()
                if data:
                    frames = link.on_bytes(data, time.monotonic_ns())
                    count += len(frames)
                    last = frames[-1] if frames else last
                    trips.append(link.health(0).round_trip_ns / 1e6)
                time.sleep(_POLL_S)
        trips.sort()
        passed_s = (time.monotonic_ns() - began) * 1e-9
        yield LinkReport(
            state=link.state,
            telemetry_hz=count / passed_s,
            round_trip_p50_ms=trips[len(trips) // 2],
            round_trip_p99_ms=trips[min(len(trips) - 1, len(trips) * 99 // 100)],
            health=link.health(time.monotonic_ns()),
            last=last,
        )
