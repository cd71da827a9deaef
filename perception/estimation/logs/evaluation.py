"""How good estimated poses are against a reference: absolute and relative errors, heading, consistency, time lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from perception.estimation.logs.navigation_log import REFERENCE, NavigationLog
from perception.estimation.logs.offline import PoseTable
from robot.core.errors import DataError
from robot.core.geometry import FloatArray, wrap_angles
from robot.core.messages import Localisation

NEES_BOUNDS = (float(chi2.ppf(0.025, 3)), float(chi2.ppf(0.975, 3)))
"""95 % of squared normalised errors of an honest filter lie between these (x, y, theta: three degrees of freedom)."""

RELATIVE_SPAN_S = 1.0


@dataclass(frozen=True, slots=True)
class PathErrors:
    """Errors of one path: metres and degrees. Relative errors are over one second of motion."""

    rmse_m: float
    median_m: float
    p90_m: float
    max_m: float
    relative_rmse_m: float
    heading_median_deg: float
    heading_p90_deg: float

    def line(self, label: str) -> str:
        """Return one row of the report."""
        return (
            f"{label:14s} {self.rmse_m:8.3f} {self.median_m:8.3f} {self.p90_m:8.3f} {self.max_m:8.3f} "
            f"{self.relative_rmse_m:10.3f} {self.heading_median_deg:9.2f} {self.heading_p90_deg:9.2f}"
        )


HEADER = " " * 14 + "   RMSE m   median      p90      max  per 1 s m  head med   p90 deg"


def path_errors(log: NavigationLog, poses: FloatArray) -> PathErrors:
    """Compare poses (N, 3) with the log's reference.

    Raises:
        DataError: the log has no reference.
    """
    reference = reference_of(log)
    error = np.hypot(*(poses[:, :2] - reference[:, :2]).T)
    heading = np.degrees(np.abs(wrap_angles(poses[:, 2] - reference[:, 2])))
    return PathErrors(
        rmse_m=float(np.sqrt((error**2).mean())),
        median_m=float(np.median(error)),
        p90_m=float(np.percentile(error, 90)),
        max_m=float(error.max()),
        relative_rmse_m=_relative(log.t_s, poses, reference),
        heading_median_deg=float(np.median(heading)),
        heading_p90_deg=float(np.percentile(heading, 90)),
    )


def nees(log: NavigationLog, table: PoseTable) -> FloatArray:
    """Return the squared normalised error per row, (N,), from the standard deviations that are written out."""
    error = table.poses - reference_of(log)
    error[:, 2] = wrap_angles(error[:, 2])
    squared: FloatArray = ((error / table.sigmas()) ** 2).sum(axis=1)
    return squared


def nees_inside(values: FloatArray) -> float:
    """Return the fraction of values inside `NEES_BOUNDS`."""
    return float(((values > NEES_BOUNDS[0]) & (values < NEES_BOUNDS[1])).mean())


def report(log: NavigationLog, table: PoseTable, raw: FloatArray) -> str:
    """Return the evaluation as text: the estimate beside raw odometry placed at the same first pose."""
    values = nees(log, table)
    goals, used = sum(v is not None for v in table.goal_verdicts), int(table.goal_used.sum())
    lost = float(np.mean([s is Localisation.LOST for s in table.states]))
    seconds = log.t_s[-1] - log.t_s[0]
    return "\n".join(
        [
            f"{log.name}: {len(log)} rows, {seconds:.1f} s, {used} of {goals} goal boxes used",
            HEADER,
            path_errors(log, table.poses).line("estimate"),
            path_errors(log, raw).line("raw odometry"),
            f"NEES inside its 95 % bounds in {100 * nees_inside(values):.0f} % of rows "
            f"(too small {100 * float((values <= NEES_BOUNDS[0]).mean()):.0f} %, "
            f"too large {100 * float((values >= NEES_BOUNDS[1]).mean()):.0f} %), mean {values.mean():.2f} (honest: 3); "
            f"lost {100 * lost:.0f} % of the time",
        ]
    )


def plot(path: Path, log: NavigationLog, table: PoseTable, raw: FloatArray) -> None:
    """Draw path and errors over time into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    reference, sigmas = reference_of(log), table.sigmas()
    t = log.t_s - log.t_s[0]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(16, 5))
    left.plot(*reference[:, :2].T, "k", label="reference")
    left.plot(*raw[:, :2].T, "tab:orange", label="raw odometry")
    left.plot(*table.poses[:, :2].T, "tab:blue", label="estimate")
    left.plot(*table.poses[table.goal_used, :2].T, ".", color="tab:green", label="goal used")
    left.set(xlabel="x, m", ylabel="y, m", title=log.name, aspect="equal")
    left.legend()
    error = np.hypot(*(table.poses[:, :2] - reference[:, :2]).T)
    middle.plot(t, error, "tab:blue", label="estimate")
    middle.plot(t, np.hypot(*(raw[:, :2] - reference[:, :2]).T), "tab:orange", label="raw odometry")
    middle.fill_between(t, 2.0 * np.hypot(*sigmas[:, :2].T), color="tab:blue", alpha=0.15, label="two sigma")
    middle.set(xlabel="time, s", ylabel="position error, m")
    middle.legend()
    heading = np.degrees(wrap_angles(table.poses[:, 2] - reference[:, 2]))
    right.plot(t, heading, "tab:blue")
    right.fill_between(t, 2 * np.degrees(sigmas[:, 2]), -2 * np.degrees(sigmas[:, 2]), color="tab:blue", alpha=0.15)
    right.set(xlabel="time, s", ylabel="heading error, degrees")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def reference_of(log: NavigationLog) -> FloatArray:
    """Return the reference poses (N, 3).

    Raises:
        DataError: the log has none.
    """
    if log.reference is None:
        raise DataError(
            f"{log.name} has no reference to compare with",
            hint=f"add the columns {', '.join(REFERENCE)}; or leave --evaluate and --plot of localize away",
        )
    return log.reference


def _relative(t_s: FloatArray, poses: FloatArray, reference: FloatArray) -> float:
    later = np.searchsorted(t_s, t_s + RELATIVE_SPAN_S)
    start = np.flatnonzero(later < len(t_s))
    if not start.size:
        return float("nan")
    end = later[start]
    difference = _moved(poses, start, end) - _moved(reference, start, end)
    return float(np.sqrt((difference**2).sum(axis=1).mean()))


def _moved(poses: FloatArray, start: NDArray[np.intp], end: NDArray[np.intp]) -> FloatArray:
    """Return the translations from start to end in the frame of the start pose, (M, 2)."""
    step = poses[end, :2] - poses[start, :2]
    c, s = np.cos(poses[start, 2]), np.sin(poses[start, 2])
    return np.column_stack([c * step[:, 0] + s * step[:, 1], c * step[:, 1] - s * step[:, 0]])
