"""How well a robot knew where it was in localisation trials: convergence, errors, consistency, kidnapping.

Errors are those of the pose or, where the estimate itself declares that nothing told them apart, of its mirror twin.
The metrics are evo's (absolute and relative trajectory error) and the squared normalised error (NEES).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot.core.geometry import FloatArray

RIGHT_M, RIGHT_RAD = 0.25, np.radians(10.0)
"""A pose this near to the truth is the right one: every other place that looks alike is farther away."""

HELD_S = 1.0
"""Convergence counts once the pose has stayed right for so long."""

NEES_BOUNDS = (0.2158, 9.3484)
"""95 % of an honest filter's NEES lie between these (chi-square, three degrees of freedom)."""

FAST_M_S = 1.2


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialTrack:
    """One trial, tick by tick.

    Attributes:
        seed: of the trial.
        start_s: FORCE_START.
        kidnap_s: when the robot was carried away.
        t_s: (N,).
        truth: (N, 3) x, y, theta.
        speed_m_s: (N,), true.
        estimate: (N, 3).
        covariance: (N, 3, 3).
        on_field: (N,), the estimate claims to know the pose (SEEDED or TRACKING).
        ambiguous: (N,), up to the mirror twin.
        step_ms: (N,), what `Pipeline.step` took.
    """

    seed: int
    start_s: float
    kidnap_s: float
    t_s: FloatArray
    truth: FloatArray
    speed_m_s: FloatArray
    estimate: FloatArray
    covariance: FloatArray
    on_field: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]
    step_ms: FloatArray

    def judged(self) -> FloatArray:
        """Return the estimate (N, 3), turned to its twin where that is declared and nearer to the truth."""
        turned = self.estimate * (-1.0, -1.0, 1.0) + (0.0, 0.0, np.pi)
        nearer = np.hypot(*(turned - self.truth)[:, :2].T) < np.hypot(*(self.estimate - self.truth)[:, :2].T)
        return np.where((self.ambiguous & nearer)[:, None], turned, self.estimate)

    def errors(self) -> FloatArray:
        """Return (N, 3) x, y, theta of `judged` less the truth, theta wrapped."""
        error = self.judged() - self.truth
        error[:, 2] = (error[:, 2] + np.pi) % (2.0 * np.pi) - np.pi
        return error

    def right(self) -> NDArray[np.bool_]:
        """Return (N,): the pose is claimed, and it is the right one."""
        error = self.errors()
        return np.asarray(
            self.on_field & (np.hypot(error[:, 0], error[:, 1]) < RIGHT_M) & (np.abs(error[:, 2]) < RIGHT_RAD)
        )

    def nees(self) -> FloatArray:
        """Return (N,) squared errors normalised by the covariance (that of a twin is the same, turned by pi)."""
        error = self.errors()
        twin = np.any(self.judged() != self.estimate, axis=1)
        error[twin, :2] *= -1.0
        return np.asarray(np.einsum("ni,ni->n", error, np.linalg.solve(self.covariance, error[..., None])[..., 0]))


@dataclass(frozen=True, kw_only=True)
class TrialVerdict:
    """One trial in numbers; times in seconds from FORCE_START, or from the kidnapping; NaN where it never happened.

    Attributes:
        seed: of the trial.
        converged_s: when the pose became right, and stayed so for a second.
        converged_path_m: path driven until then.
        mirror_declared: the pose was known up to its twin at that moment.
        wrong_s: time before the kidnapping during which a wrong pose was claimed.
        ate_rmse_m, ate_median_m, heading_median_deg: while the pose is claimed, from convergence on.
        rpe_m: RMSE of relative motion over 1 s.
        nees_inside: share of NEES inside its 95 % bounds.
        lost_share: share of the time from convergence to the kidnapping during which the pose is not claimed.
        noticed_s: after the kidnapping, when the pose was called lost (or was right again).
        recovered_s: after the kidnapping, when it was right again, and stayed so.
        wrong_after_s: time after the notice during which a wrong pose was claimed.
    """

    seed: int
    converged_s: float
    converged_path_m: float
    mirror_declared: bool
    wrong_s: float
    ate_rmse_m: float
    ate_median_m: float
    heading_median_deg: float
    rpe_m: float
    nees_inside: float
    lost_share: float
    noticed_s: float
    recovered_s: float
    wrong_after_s: float

    def converged(self, within_s: float = 5.0, within_m: float = 2.0) -> bool:
        """True when the pose was right in time."""
        return self.converged_s <= within_s and self.converged_path_m <= within_m


def judge(track: TrialTrack) -> TrialVerdict:
    """Measure one trial."""
    t, right = track.t_s, track.right()
    before = t < track.kidnap_s
    steps = np.hypot(*np.diff(track.truth[:, :2], axis=0, prepend=track.truth[:1, :2]).T)
    path = np.cumsum(np.where(before, steps, 0.0))
    found = _held(t, right, 0, int(before.sum()))
    error, nees = track.errors(), track.nees()
    tick_s = float(np.median(np.diff(t)))
    away = int(before.sum())
    notice = _first(~track.on_field | right, away)
    back = _held(t, right, away, len(t))
    used = np.zeros(len(t), bool)
    if found is not None:
        used[found:away] = True
    if back is not None:
        used[back:] = True
    tracked = used & track.on_field
    far = np.hypot(error[:, 0], error[:, 1])
    after = np.arange(len(t)) >= (notice if notice is not None else len(t))
    return TrialVerdict(
        seed=track.seed,
        converged_s=float(t[found]) - track.start_s if found is not None else float("nan"),
        converged_path_m=float(path[found]) if found is not None else float("nan"),
        mirror_declared=bool(found is not None and track.ambiguous[found]),
        wrong_s=tick_s * float((before & track.on_field & ~right).sum()),
        ate_rmse_m=_over(tracked, lambda: float(np.sqrt((far[tracked] ** 2).mean()))),
        ate_median_m=_over(tracked, lambda: float(np.median(far[tracked]))),
        heading_median_deg=_over(tracked, lambda: float(np.degrees(np.median(np.abs(error[tracked, 2]))))),
        rpe_m=_relative(track, tracked, round(1.0 / tick_s)),
        nees_inside=_over(tracked, lambda: float(_inside(nees[tracked]).mean())),
        lost_share=_over(used & before, lambda: float((~track.on_field)[used & before].mean())),
        noticed_s=float(t[notice]) - track.kidnap_s if notice is not None else float("nan"),
        recovered_s=float(t[back]) - track.kidnap_s if back is not None else float("nan"),
        wrong_after_s=tick_s * float((after & track.on_field & ~right).sum()),
    )


def tracked_errors(tracks: Sequence[TrialTrack]) -> dict[str, float]:
    """Return errors over all ticks of all trials from convergence on: medians, 90th percentiles, by speed, NEES."""
    far, turned, speed, nees = [], [], [], []
    for track in tracks:
        t, right = track.t_s, track.right()
        away = int((t < track.kidnap_s).sum())
        used = np.zeros(len(t), bool)
        for begin, end in ((_held(t, right, 0, away), away), (_held(t, right, away, len(t)), len(t))):
            if begin is not None:
                used[begin:end] = True
        used &= track.on_field
        error = track.errors()[used]
        far.append(np.hypot(error[:, 0], error[:, 1]))
        turned.append(np.degrees(np.abs(error[:, 2])))
        speed.append(track.speed_m_s[used])
        nees.append(track.nees()[used])
    f, h, v, n = (np.concatenate(part) for part in (far, turned, speed, nees))
    if not len(f):
        return {}
    fast = v > FAST_M_S
    return {
        "seconds": len(f) * float(np.median(np.diff(tracks[0].t_s))),
        "position_median_m": float(np.median(f)),
        "position_p90_m": float(np.percentile(f, 90)),
        "position_p99_m": float(np.percentile(f, 99)),
        "heading_median_deg": float(np.median(h)),
        "heading_p90_deg": float(np.percentile(h, 90)),
        "fast_seconds": float(fast.sum()) * float(np.median(np.diff(tracks[0].t_s))),
        "fast_position_median_m": float(np.median(f[fast])) if fast.any() else float("nan"),
        "fast_heading_median_deg": float(np.median(h[fast])) if fast.any() else float("nan"),
        "top_speed_m_s": float(v.max()),
        "nees_inside": float(_inside(n).mean()),
        "nees_too_large": float((n >= NEES_BOUNDS[1]).mean()),
        "nees_median": float(np.median(n)),
    }


def as_rows(verdicts: Sequence[TrialVerdict]) -> list[dict[str, Any]]:
    """Return verdicts as JSON-able rows; NaN becomes None."""
    names = [f.name for f in fields(TrialVerdict)]
    rows = [asdict(v) for v in verdicts]
    return [{k: None if row[k] != row[k] else row[k] for k in names} for row in rows]


def _inside(nees: FloatArray) -> NDArray[np.bool_]:
    return np.asarray((nees > NEES_BOUNDS[0]) & (nees < NEES_BOUNDS[1]))


def _over(chosen: NDArray[np.bool_], value: Any) -> float:
    return float(value()) if chosen.any() else float("nan")


def _first(condition: NDArray[np.bool_], begin: int) -> int | None:
    found = np.flatnonzero(condition[begin:])
    return begin + int(found[0]) if found.size else None


def _held(t_s: FloatArray, right: NDArray[np.bool_], begin: int, end: int) -> int | None:
    """Return the first tick in [begin, end) from which `right` holds for `HELD_S` or to the end, if that is nearer."""
    for k in np.flatnonzero(right[begin:end]) + begin:
        last = min(int(np.searchsorted(t_s, t_s[k] + HELD_S)), end)
        if last - k >= 10 and right[k:last].all():
            return int(k)
    return None


def _relative(track: TrialTrack, tracked: NDArray[np.bool_], span: int) -> float:
    pairs = np.flatnonzero(tracked[:-span] & tracked[span:]) if len(tracked) > span else np.zeros(0, int)
    # A second that spans the kidnapping is no motion.
    pairs = pairs[(track.t_s[pairs] >= track.kidnap_s) | (track.t_s[pairs + span] < track.kidnap_s)]
    if not pairs.size:
        return float("nan")
    difference = _moved(track.judged(), pairs, span) - _moved(track.truth, pairs, span)
    return float(np.sqrt((difference**2).sum(axis=1).mean()))


def _moved(poses: FloatArray, begin: NDArray[np.intp], span: int) -> FloatArray:
    step = poses[begin + span, :2] - poses[begin, :2]
    c, s = np.cos(poses[begin, 2]), np.sin(poses[begin, 2])
    return np.column_stack([c * step[:, 0] + s * step[:, 1], c * step[:, 1] - s * step[:, 0]])
