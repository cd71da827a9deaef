"""Pacing by absolute deadlines, and statistics of loops and stages. One owner of time per process."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from robot.core.clock import NS_PER_S, Clock

_KEPT = 100_000
"""Samples kept for the statistics: the last 17 minutes at 100 Hz."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, 99th percentile and maximum of a duration, milliseconds."""

    count: int
    median_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of_ns(cls, samples_ns: list[int]) -> Spread:
        """Summarise durations in nanoseconds; all zero when there are none."""
        if not samples_ns:
            return cls(count=0, median_ms=0.0, p99_ms=0.0, max_ms=0.0)
        ordered = sorted(samples_ns)
        p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        return cls(
            count=len(ordered),
            median_ms=statistics.median(ordered) / 1e6,
            p99_ms=p99 / 1e6,
            max_ms=ordered[-1] / 1e6,
        )


class Pacer:
    """Wakes at start + n * period. A missed deadline is counted and skipped, so that lag never builds up.

    Attributes:
        overruns: deadlines that were already past when the loop came back.
        skipped: whole periods that were left out because of them.
    """

    def __init__(self, clock: Clock, rate_hz: float) -> None:
        self.overruns = 0
        self.skipped = 0
        self._clock = clock
        self._period_ns = round(NS_PER_S / rate_hz)
        self._deadline_ns: int | None = None
        self._last_ns: int | None = None
        self._periods_ns: deque[int] = deque(maxlen=_KEPT)
        self._lateness_ns: deque[int] = deque(maxlen=_KEPT)

    def wait(self) -> int:
        """Sleep until the next deadline and return the time at which it woke; the first call does not wait."""
        now_ns = self._clock.now_ns()
        if self._deadline_ns is None:
            self._deadline_ns = now_ns
        else:
            self._deadline_ns += self._period_ns
            if now_ns > self._deadline_ns:
                self.overruns += 1
                behind = (now_ns - self._deadline_ns) // self._period_ns
                self.skipped += behind
                self._deadline_ns += behind * self._period_ns
        self._clock.sleep_until_ns(self._deadline_ns)
        woke_ns = self._clock.now_ns()
        self._lateness_ns.append(woke_ns - self._deadline_ns)
        if self._last_ns is not None:
            self._periods_ns.append(woke_ns - self._last_ns)
        self._last_ns = woke_ns
        return woke_ns

    def periods(self) -> Spread:
        """Time from one wake-up to the next."""
        return Spread.of_ns(list(self._periods_ns))

    def lateness(self) -> Spread:
        """How late after its deadline the loop woke."""
        return Spread.of_ns(list(self._lateness_ns))


class StageTimes:
    """Durations of named stages. With no timer it costs nothing and records nothing: timings are never results."""

    def __init__(self, timer_ns: Callable[[], int] | None = None) -> None:
        self._timer_ns = timer_ns
        self._begun_ns = self._last_ns = 0
        self._samples_ns: dict[str, deque[int]] = {}
        self._whole_ns: deque[int] = deque(maxlen=_KEPT)

    def start(self) -> None:
        """Begin a pass."""
        if self._timer_ns is not None:
            self._begun_ns = self._last_ns = self._timer_ns()

    def lap(self, stage: str) -> None:
        """Note the time since `start` or the last `lap` as the duration of `stage`."""
        if self._timer_ns is None:
            return
        now_ns = self._timer_ns()
        self._samples_ns.setdefault(stage, deque(maxlen=_KEPT)).append(now_ns - self._last_ns)
        self._last_ns = now_ns

    def finish(self) -> None:
        """End a pass: its whole duration is noted. (Stages that do not run in every pass do not add up to it.)"""
        if self._timer_ns is not None:
            self._whole_ns.append(self._timer_ns() - self._begun_ns)

    def whole(self) -> Spread:
        """Return the durations of whole passes."""
        return Spread.of_ns(list(self._whole_ns))

    def spreads(self) -> dict[str, Spread]:
        """Return each stage's durations, in the order of their first lap."""
        return {stage: Spread.of_ns(list(samples)) for stage, samples in self._samples_ns.items()}
