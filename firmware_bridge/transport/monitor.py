"""Listens to a link in real time and keeps the figures that `blackout link monitor` shows."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.transport.base import Transport
from firmware_bridge.transport.reconnect import Backoff
from robot.core.errors import LinkError
from robot.core.messages import LinkHealth, TelemetryFrame

_TICK_NS = 10_000_000
_POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One interval.

    Attributes:
        state: of the link at its end.
        lost: why the port is away; empty while it is here.
        telemetry_hz: frames per second.
        commands_hz: of ours, per second.
        round_trip_p50_ms: median round trip, without the device's hold time.
        round_trip_p99_ms: 99th percentile.
        health: counters of both ends.
        last: the newest frame; None when none came.
    """

    state: LinkState
    lost: str
    telemetry_hz: float
    commands_hz: float
    round_trip_p50_ms: float
    round_trip_p99_ms: float
    health: LinkHealth
    last: TelemetryFrame | None


class _Wire:
    """A transport that comes back: opened again, with pauses, after it was lost."""

    def __init__(self, opener: Callable[[], Transport]) -> None:
        self._open = opener
        self._transport: Transport | None = opener()
        self._backoff = Backoff()
        self._again_ns = 0
        self.lost = ""

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._reopen()
        elif data:
            self._guard(lambda transport: transport.write(data))

    def read(self, seconds: float) -> bytes:
        """What has come after at most so long; at once when something is there."""
        transport = self._transport
        fileno: Callable[[], int] | None = getattr(transport, "fileno", None)
        if transport is None or fileno is None:
            time.sleep(min(seconds, _POLL_S))
        else:
            self._guard(lambda _: select.select([fileno()], [], [], seconds))
        found: list[bytes] = []
        self._guard(lambda transport: found.append(transport.read_available()))
        return b"".join(found)

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _guard(self, action: Callable[[Transport], object]) -> None:
        if self._transport is None:
            return
        try:
            action(self._transport)
        except LinkError as error:
            self.close()
            self.lost = error.message
            self._again_ns = time.monotonic_ns() + round(self._backoff.next_s() * 1e9)

    def _reopen(self) -> None:
        if time.monotonic_ns() < self._again_ns:
            return
        try:
            self._transport = self._open()
        except LinkError as error:
            self.lost = error.message
            self._again_ns = time.monotonic_ns() + round(self._backoff.next_s() * 1e9)
        else:
            self._backoff.reset()
            self.lost = ""


def watch(opener: Callable[[], Transport], link: Link, interval_s: float = 1.0) -> Generator[LinkReport, None, None]:
    """Keep the heartbeat (always STOP, never armed) and yield a report each interval, until the caller ends it.

    Raises:
        LinkError: the device is not there at the start; later it is waited for.
    """
    wire = _Wire(opener)
    try:
        due = time.monotonic_ns()
        while True:
            began, frames, commands, trips = time.monotonic_ns(), 0, 0, [0.0]
            last: TelemetryFrame | None = None
            while (now := time.monotonic_ns()) - began < interval_s * 1e9:
                if now >= due:
                    data = link.on_tick(now, None)
                    commands += bool(data)
                    wire.write(data)
                    due = max(due + _TICK_NS, now - _TICK_NS)
                    continue
                data = wire.read((due - now) * 1e-9)
                if data:
                    heard = link.on_bytes(data, time.monotonic_ns())
                    frames += len(heard)
                    last = heard[-1] if heard else last
                    trips.append(link.round_trip_ns / 1e6)
            trips = sorted(trips[1:]) or trips
            passed_s = (time.monotonic_ns() - began) * 1e-9
            yield LinkReport(
                state=link.state,
                lost=wire.lost,
                telemetry_hz=frames / passed_s,
                commands_hz=commands / passed_s,
                round_trip_p50_ms=trips[len(trips) // 2],
                round_trip_p99_ms=trips[min(len(trips) - 1, len(trips) * 99 // 100)],
                health=link.health(time.monotonic_ns()),
                last=last,
            )
    finally:
        wire.close()
