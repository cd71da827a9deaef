"""A bad cable: wraps a transport and damages what passes, byte by byte, from one seed.

Everything is counted in bytes and calls, never in time, so that a run in lockstep repeats exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from firmware_bridge.transport.base import Transport
from robot.core.errors import LinkError


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultRates:
    """Chances per byte (flip, drop, duplicate, blackout) and per call (stall).

    A flip changes one bit. A blackout loses the next `blackout_bytes`. A stall holds everything back for the next
    `stall_calls` calls and then lets it out at once, in order.
    """

    flip: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    blackout: float = 0.0
    blackout_bytes: int = 200
    stall: float = 0.0
    stall_calls: int = 3


class FaultyStream:
    """One direction of the cable."""

    def __init__(self, rates: FaultRates, generator: np.random.Generator) -> None:
        self.rates = rates
        self.faults = 0
        self._random = generator
        self._dark_bytes = 0
        self._stalled_calls = 0
        self._held = b""

    def __call__(self, data: bytes) -> bytes:
        """Return what comes out at the other end when `data` goes in."""
        rates = self.rates
        if self._stalled_calls == 0 and rates.stall > 0.0 and self._random.random() < rates.stall:
            self._stalled_calls = rates.stall_calls
            self.faults += 1
        data, self._held = self._held + self._damage(data), b""
        if self._stalled_calls > 0:
            self._stalled_calls -= 1
            self._held = data
            return b""
        return data

    def _damage(self, data: bytes) -> bytes:
        rates = self.rates
        if not data:
            return data
        flip = rates.flip
        drop = flip + rates.drop
        duplicate = drop + rates.duplicate
        worst = duplicate + rates.blackout
        if worst == 0.0 and self._dark_bytes == 0:
            return data
        chances = self._random.random(len(data))
        out, done = bytearray(), 0
        for at in np.flatnonzero(chances < worst).tolist():  # from one fault to the next
            out += self._lit(data[done:at])
            done = at + 1
            if self._dark_bytes > 0:
                self._dark_bytes -= 1
                continue
            self.faults += 1
            chance, byte = chances[at], data[at]
            if chance < flip:
                out.append(byte ^ (1 << int(self._random.integers(8))))
            elif chance < drop:
                continue
            elif chance < duplicate:
                out += bytes((byte, byte))
            else:
                self._dark_bytes = rates.blackout_bytes - 1
        return bytes(out + self._lit(data[done:]))

    def _lit(self, data: bytes) -> bytes:
        """What of these bytes comes after a blackout that is on."""
        dark = min(self._dark_bytes, len(data))
        self._dark_bytes -= dark
        return data[dark:]


class FaultyTransport:
    """A transport with a bad cable in front of it.

    Args:
        inner: the transport that works.
        rates: what goes wrong, in both directions; may be changed at any time through `set_rates`.
        seed: of the generator that decides.
        reopen: how to get the device back after `unplug`; None: it stays away.
    """

    def __init__(
        self, inner: Transport, rates: FaultRates, seed: int, reopen: Callable[[], Transport] | None = None
    ) -> None:
        self._inner: Transport | None = inner
        self._reopen = reopen
        up, down = np.random.default_rng(seed).spawn(2)
        self.up = FaultyStream(rates, up)
        self.down = FaultyStream(rates, down)

    def set_rates(self, rates: FaultRates) -> None:
        """Change what goes wrong from now on."""
        self.up.rates = self.down.rates = rates

    def unplug(self) -> None:
        """Close the inner transport: calls raise LinkError until `replug`."""
        if self._inner is not None:
            self._inner.close()
        self._inner = None

    def replug(self) -> None:
        """Open the inner transport again."""
        if self._reopen is not None:
            self._inner = self._reopen()

    def read_available(self) -> bytes:
        """See `Transport.read_available`."""
        return self.down(self._plugged().read_available())

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        self._plugged().write(self.up(data))

    def close(self) -> None:
        """See `Transport.close`."""
        if self._inner is not None:
            self._inner.close()

    def _plugged(self) -> Transport:
        if self._inner is None:
            raise LinkError("the cable is unplugged", hint="plug it in again; the link comes back by itself")
        return self._inner
