"""Clocks. Only runners, cameras and transports hold one; everything else gets time from messages."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Something that tells monotonic time and can wait for it."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary, fixed start."""
        ...

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at `deadline_ns`, or at once when that is past."""
        ...


class MonotonicClock:
    """The machine's CLOCK_MONOTONIC: shared by all processes of one machine, never stepped."""

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.monotonic_ns()  # noqa: TID251 - the one place

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """See `Clock.sleep_until_ns`."""
        remaining_ns = deadline_ns - self.now_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns / NS_PER_S)  # noqa: TID251 - the one place


class ManualClock:
    """A clock that moves only when told to: simulated time and tests of pacing."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Jump to the deadline."""
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance_ns(self, step_ns: int) -> None:
        """Move forward by `step_ns` >= 0."""
        if step_ns < 0:
            raise ValueError(f"time cannot go back: step_ns={step_ns}")
        self._now_ns += step_ns
