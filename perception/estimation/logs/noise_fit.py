"""Fits the odometry's noise by maximum likelihood: the covariances that the filter states must predict its errors.

Constants fitted on one log are tested on the others, so that the noise covers what such constants really miss on
stretches that they have not seen. Each log is localised from several starting rows; the mean negative log likelihood
of the reference under the stated covariances is minimised over a few noise values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from perception.camera.model import CameraModel
from perception.estimation.config import EstimationConfig, MotionConfig
from perception.estimation.logs.evaluation import reference_of
from perception.estimation.logs.navigation_log import NavigationLog
from perception.estimation.logs.offline import Seed, localize
from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, wrap_angles

PARAMETERS = ("translation_m_per_sqrt_m", "rotation_rad_per_sqrt_rad", "rotation_rad_per_sqrt_m", "scale_sigma")
START = np.array([0.03, 0.01, 0.01, 0.02])
PRIOR_SIGMA = 1.0
"""Weak prior on the logarithms: a value that the data do not show stays where it starts."""

PRIOR_WEIGHT = 0.02
STARTS = 6
MIN_STRETCH_S = 4.0
MAX_ERROR_SIGMAS = 5.0
"""A row further off than this counts as this far: interpolated reference poses must not set the noise."""


@dataclass(frozen=True, slots=True, eq=False)
class NoiseCase:
    """A log to predict and the constants (fitted elsewhere) to predict it with."""

    log: NavigationLog
    config: EstimationConfig


def fit_noise(
    cases: Sequence[NoiseCase], body: RobotBody, field: FieldGeometry, camera: CameraModel, evaluations: int = 80
) -> MotionConfig:
    """Return the first case's motion configuration with the noise values of `PARAMETERS` fitted.

    Args:
        cases: each log with a reference.
        body: of the robot.
        field: of the logs.
        camera: of the robot.
        evaluations: how often the likelihood may be evaluated; each localises every log several times.
    """

    def cost(logs_of_values: FloatArray) -> float:
        values = START * np.exp(logs_of_values)
        likelihoods = [_negative_log_likelihood(case, values, body, field, camera) for case in cases]
        prior = PRIOR_WEIGHT * float(((logs_of_values / PRIOR_SIGMA) ** 2).sum())
        return float(np.mean(np.concatenate(likelihoods))) + prior

    best = _minimise(cost, len(PARAMETERS), evaluations)
    return with_noise(cases[0].config, START * np.exp(best)).motion


def with_noise(config: EstimationConfig, values: FloatArray) -> EstimationConfig:
    """Return a configuration with the noise values of `PARAMETERS`."""
    noise = dict(zip(PARAMETERS, (float(v) for v in values), strict=True))
    return replace(config, motion=replace(config.motion, **noise))


def _minimise(cost: Callable[[FloatArray], float], size: int, evaluations: int) -> FloatArray:
    simplex = np.vstack([np.zeros(size), 0.7 * np.eye(size)])
    options = {"maxfev": evaluations, "initial_simplex": simplex, "xatol": 0.02, "fatol": 0.002}
    solution: FloatArray = minimize(cost, np.zeros(size), method="Nelder-Mead", options=options).x
    return solution


def _negative_log_likelihood(
    case: NoiseCase, values: FloatArray, body: RobotBody, field: FieldGeometry, camera: CameraModel
) -> FloatArray:
    config = with_noise(case.config, values)
    log, parts = case.log, []
    last_start_s = max(log.t_s[0], log.t_s[-1] - MIN_STRETCH_S)
    for start in np.searchsorted(log.t_s, np.linspace(log.t_s[0], last_start_s, STARTS)):
        stretch = log.part(int(start), len(log))
        table = localize(stretch, config, body, field, camera, Seed(stretch.reference_pose(0)))
        error = table.poses - reference_of(stretch)
        error[:, 2] = wrap_angles(error[:, 2])
        sigmas = table.sigmas()
        normalised = np.minimum((error / sigmas) ** 2, MAX_ERROR_SIGMAS**2)
        parts.append((0.5 * normalised + np.log(sigmas)).sum(axis=1))
    return np.concatenate(parts)
