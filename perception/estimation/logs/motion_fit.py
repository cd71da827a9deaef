"""Fits a robot's odometry constants to logs with a reference: scales, a sideways slant, and how far odometry leads.

Windows of the path are compared: over a window, odometry with the right constants and the reference must have made
the same relative motion. Windows forget where the run began, so errors do not pile up into correlated residuals; a
robust loss forgives wheel slip and interpolated reference poses; weak priors hold what a run does not show (a robot
that never moves sideways says nothing about its sideways scale).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from perception.estimation.config import MotionConfig
from perception.estimation.logs.evaluation import reference_of
from perception.estimation.logs.navigation_log import NavigationLog
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray

WINDOWS_S = (1.0, 3.0)
STEP_S = 0.15
"""Length of the windows and distance of their starts; overlapping windows are weighted down accordingly."""

SIGMA = np.array([0.02, 0.02, 0.015])
"""Noise of one window: x, y (m), theta (rad): the reference's own, and slip over a second."""

PARAMETERS = ("lead_s", "scale_x", "scale_y", "lateral_per_forward", "scale_theta")
PRIOR_MEAN = np.array([0.05, 1.0, 1.0, 0.0, 1.0])
PRIOR_SIGMA = np.array([0.1, 0.1, 0.1, 0.05, 0.02])
MIN_ROWS = 60


@dataclass(frozen=True, slots=True, eq=False)
class MotionFit:
    """The constants, their standard deviations in the order of `PARAMETERS`, and the RMS of windows before and after.

    RMS values are (3,): x, y (m), theta (rad).
    """

    config: MotionConfig
    sigmas: FloatArray
    rms_before: FloatArray
    rms_after: FloatArray

    def values(self) -> FloatArray:
        """The constants in the order of `PARAMETERS`."""
        return np.array([getattr(self.config, name) for name in PARAMETERS])


def fit_motion(logs: Sequence[NavigationLog], start: MotionConfig) -> MotionFit:
    """Fit the five constants of `PARAMETERS` to one or more logs.

    Args:
        logs: each with a reference.
        start: keeps all other values of the configuration.

    Raises:
        CalibrationError: too few rows, or hardly any motion.
        DataError: a log without reference.
    """
    for log in logs:
        if len(log) < MIN_ROWS:
            raise CalibrationError(f"{log.name} has only {len(log)} rows", hint=f"give logs of {MIN_ROWS} rows or more")
    prepared = [_prepare(log) for log in logs]
    path_m = sum(float(np.hypot(p.forward, p.left).sum()) for p in prepared)
    if path_m < 2.0:
        raise CalibrationError(
            f"the robot drove only {path_m:.2f} m in these logs", hint="drive at least 2 m, in several directions"
        )

    def residuals(q: FloatArray) -> FloatArray:
        parts = [(_window_errors(p, q) / SIGMA).ravel() * _overlap_weight() for p in prepared]
        return np.concatenate([*parts, (q - PRIOR_MEAN) / PRIOR_SIGMA])

    solution = least_squares(residuals, PRIOR_MEAN, loss="soft_l1", x_scale=PRIOR_SIGMA)
    information = solution.jac.T @ solution.jac
    scale = max(1.0, 2.0 * solution.cost / max(1.0, len(solution.fun) * _overlap_weight() ** 2))
    sigmas = np.sqrt(np.diagonal(np.linalg.inv(information)) * scale)
    values = dict(zip(PARAMETERS, (float(v) for v in solution.x), strict=True))
    before = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    return MotionFit(
        replace(start, **values),
        sigmas,
        _rms(np.concatenate([_window_errors(p, before) for p in prepared])),
        _rms(np.concatenate([_window_errors(p, solution.x) for p in prepared])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    t_s: FloatArray
    forward: FloatArray
    left: FloatArray
    turn: FloatArray
    reference: FloatArray


def _prepare(log: NavigationLog) -> _Prepared:
    reference = reference_of(log).copy()
    reference[:, 2] = np.unwrap(reference[:, 2])
    theta = np.unwrap(log.odometry[:, 2])
    turn = np.diff(theta)
    middle = theta[:-1] + 0.5 * turn
    dx, dy = np.diff(log.odometry[:, 0]), np.diff(log.odometry[:, 1])
    c, s = np.cos(middle), np.sin(middle)
    return _Prepared(log.t_s, c * dx + s * dy, c * dy - s * dx, turn, reference)


def calibrated_path(log: NavigationLog, config: MotionConfig) -> tuple[FloatArray, FloatArray]:
    """Return (times (N,), poses (N, 3)) of dead reckoning with these constants, from (0, 0, 0), heading unwrapped.

    The times are those at which the robot really was there: rows' times plus the lead.
    """
    return log.t_s + config.lead_s, _path(_prepare(log), np.array([getattr(config, name) for name in PARAMETERS]))


def _path(p: _Prepared, q: FloatArray) -> FloatArray:
    _, scale_x, scale_y, lateral, scale_theta = q
    theta = np.concatenate([[0.0], np.cumsum(scale_theta * p.turn)])
    middle = 0.5 * (theta[1:] + theta[:-1])
    forward, left = scale_x * p.forward, scale_y * p.left + lateral * p.forward
    c, s = np.cos(middle), np.sin(middle)
    x = np.concatenate([[0.0], np.cumsum(c * forward - s * left)])
    y = np.concatenate([[0.0], np.cumsum(s * forward + c * left)])
    return np.column_stack([x, y, theta])


def _window_errors(p: _Prepared, q: FloatArray) -> FloatArray:
    """Return the differences of relative motion over all windows, (M, 3)."""
    path = _path(p, q)
    # Where the robot was when a row's reference pose was taken: `lead` before its odometry.
    moved = np.column_stack([np.interp(p.t_s, p.t_s + q[0], path[:, k]) for k in range(3)])
    errors = []
    for span_s in WINDOWS_S:
        starts = np.searchsorted(p.t_s, np.arange(p.t_s[0] + 0.2, p.t_s[-1] - span_s, STEP_S))
        ends = np.searchsorted(p.t_s, p.t_s[starts] + span_s)
        keep = ends < len(p.t_s)
        starts, ends = starts[keep], ends[keep]
        # Slip adds up as a random walk, so a longer window is noisier by the root of its length.
        noise = np.sqrt(span_s / WINDOWS_S[0])
        errors.append((_relative(moved, starts, ends) - _relative(p.reference, starts, ends)) / noise)
    return np.concatenate(errors)


def _relative(poses: FloatArray, i: NDArray[np.intp], k: NDArray[np.intp]) -> FloatArray:
    step = poses[k] - poses[i]
    c, s = np.cos(poses[i, 2]), np.sin(poses[i, 2])
    return np.column_stack([c * step[:, 0] + s * step[:, 1], c * step[:, 1] - s * step[:, 0], step[:, 2]])


def _overlap_weight() -> float:
    """Windows that overlap share their information: weight each by the root of its own share."""
    return float(np.sqrt(STEP_S / np.mean(WINDOWS_S) / len(WINDOWS_S)))


def _rms(errors: FloatArray) -> FloatArray:
    squared: FloatArray = np.sqrt((errors**2).mean(axis=0))
    return squared
