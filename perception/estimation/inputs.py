"""Counts what the gates said about each input; badness decays: a burst is forgiven, a stream of it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from robot.core.clock import NS_PER_S
from robot.core.messages import Verdict


@dataclass(slots=True)
class InputLedger:
    """Verdict counters of one input with a leaky sum of bad ones (the habit of openpilot's locationd).

    Attributes:
        limit: the input is `healthy` while the leaky sum is below this.
        decay_s: time constant of the leak.
    """

    limit: float = 10.0
    decay_s: float = 5.0
    counts: dict[Verdict, int] = field(default_factory=dict)
    _bad: float = 0.0
    _t_ns: int = 0

    def note(self, verdict: Verdict, t_ns: int) -> Verdict:
        """Count one verdict at message time `t_ns` and hand it back."""
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        self._leak(t_ns)
        if verdict is not Verdict.OK:
            self._bad += 1.0
        return verdict

    def healthy(self, t_ns: int) -> bool:
        """True while bad inputs are few, judged at `t_ns`."""
        self._leak(t_ns)
        return self._bad < self.limit

    def count(self, verdict: Verdict) -> int:
        """How often this verdict was given since start."""
        return self.counts.get(verdict, 0)

    def _leak(self, t_ns: int) -> None:
        if t_ns > self._t_ns:
            self._bad *= math.exp(-(t_ns - self._t_ns) / NS_PER_S / self.decay_s)
            self._t_ns = t_ns
