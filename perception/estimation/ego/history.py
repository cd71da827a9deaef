"""Late measurements: a short history of the filter, rewound to the capture time, corrected and replayed.

The pattern of openpilot's rednose and of robot_localization, written for one small filter. A correction becomes a
step of the history itself, so that an even older one that arrives later replays it in its right place.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from perception.estimation.ego.ekf import Correction, EgoFilter, Motion
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray
from robot.core.messages import Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of the filter: `motion` up to `t_ns`, then `corrections` there; `x`, `P` are what it left behind."""

    t_ns: int
    motion: Motion
    corrections: tuple[Correction, ...]
    x: FloatArray
    P: FloatArray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delayed correction: the gate's verdict and the squared Mahalanobis distance."""

    verdict: Verdict
    distance2: float = float("nan")


class DelayedFilter:
    """An `EgoFilter` with a memory of `span_s` seconds.

    Time moves only forward in `advance`; `fuse` reaches back.
    """

    def __init__(self, ego: EgoFilter, t_ns: int, span_s: float) -> None:
        self.ego = ego
        self._span_ns = int(span_s * NS_PER_S)
        self._steps: list[Step] = []
        self._times_ns: list[int] = []
        self.restart(t_ns)

    @property
    def t_ns(self) -> int:
        """Time of the newest step."""
        return self._times_ns[-1]

    @property
    def oldest_ns(self) -> int:
        """Nothing before this can be fused any more."""
        return self._times_ns[0]

    @property
    def last_motion(self) -> Motion:
        """The motion of the newest step."""
        return self._steps[-1].motion

    def state_at(self, t_ns: int) -> tuple[FloatArray, FloatArray]:
        """Return (x, P) as they were after the last step at or before `t_ns` (the oldest, where none is)."""
        step = self._steps[max(0, bisect.bisect_right(self._times_ns, t_ns) - 1)]
        return step.x, step.P

    def reconstruct(self, t_ns: int) -> tuple[FloatArray, FloatArray, Motion]:
        """Return (x, P, motion) at a time within the history, between steps too; the oldest where it is before."""
        index = max(0, bisect.bisect_right(self._times_ns, t_ns) - 1)
        step = self._steps[index]
        if t_ns <= step.t_ns or index + 1 == len(self._steps):
            return step.x, step.P, step.motion
        motion = self._steps[index + 1].motion
        present = (self.ego.x, self.ego.P)
        self.ego.x, self.ego.P = step.x, step.P
        self.ego.advance(motion, (t_ns - step.t_ns) / NS_PER_S)
        x, p = self.ego.x, self.ego.P
        self.ego.x, self.ego.P = present
        return x, p, motion

    def restart(self, t_ns: int) -> None:
        """Forget the past; the filter's present state is the state at `t_ns`."""
        self._steps = [Step(t_ns, Motion(0.0), (), self.ego.x.copy(), self.ego.P.copy())]
        self._times_ns = [t_ns]

    def advance(self, t_ns: int, motion: Motion, corrections: Sequence[Correction] = ()) -> None:
        """Move to `t_ns` (later than the newest step) under `motion`, then apply `corrections` there."""
        self._append(t_ns, motion, tuple(corrections))
        self._trim()

    def fuse(self, t_ns: int, corrections: Sequence[Correction]) -> tuple[Outcome, ...]:
        """Apply corrections that belong to `t_ns`, at or before the newest step, and replay what came after.

        Returns:
            One outcome for each: OK, OUTLIER (the gate refused it) or STALE (older than the history). Corrections
            of one call are gated one after the other, in the order given.
        """
        if t_ns < self.oldest_ns:
            return tuple(Outcome(Verdict.STALE) for _ in corrections)
        index = bisect.bisect_right(self._times_ns, t_ns) - 1
        before, later = self._steps[index], self._steps[index + 1 :]
        ego = self.ego
        present = (ego.x, ego.P)
        ego.x, ego.P = before.x.copy(), before.P.copy()
        motion = later[0].motion if later else before.motion
        ego.advance(motion, (t_ns - before.t_ns) / NS_PER_S)
        outcomes, accepted = [], []
        for correction in corrections:
            distance2 = ego.correct(correction)
            # A correction that is no number has an infinite distance, which an open gate must not let in.
            passed = math.isfinite(distance2) and (distance2 <= correction.gate or correction.soft)
            outcomes.append(Outcome(Verdict.OK if passed else Verdict.OUTLIER, distance2))
            if passed:
                # Once in, always in: a replay must not change its mind about a gate.
                accepted.append(replace(correction, gate=float("inf")) if not correction.soft else correction)
        if not accepted:
            ego.x, ego.P = present
            return tuple(outcomes)
        del self._steps[index + 1 :], self._times_ns[index + 1 :]
        self._store(t_ns, motion, tuple(accepted))
        for step in later:
            self._append(step.t_ns, step.motion, step.corrections)
        return tuple(outcomes)

    def _append(self, t_ns: int, motion: Motion, corrections: tuple[Correction, ...]) -> None:
        self.ego.advance(motion, (t_ns - self._times_ns[-1]) / NS_PER_S)
        for correction in corrections:
            self.ego.correct(correction)
        self._store(t_ns, motion, corrections)

    def _store(self, t_ns: int, motion: Motion, corrections: tuple[Correction, ...]) -> None:
        # filterpy binds new arrays on each predict and update, and `advance` copies before it writes, so the
        # arrays of a stored step are never written to again: no copy here.
        self._steps.append(Step(t_ns, motion, corrections, self.ego.x, self.ego.P))
        self._times_ns.append(t_ns)

    def _trim(self) -> None:
        if len(self._times_ns) < 16 or self._times_ns[8] >= self._times_ns[-1] - self._span_ns:
            return
        keep = bisect.bisect_left(self._times_ns, self._times_ns[-1] - self._span_ns)
        del self._steps[:keep], self._times_ns[:keep]
