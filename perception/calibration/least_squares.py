"""Robust least squares with priors: Levenberg-Marquardt on Huber's loss, for a handful of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot.core.geometry import FloatArray

_MAX_ITERATIONS = 100


@dataclass(frozen=True)
class Minimum:
    """Where the cost is least: parameters (P,), their covariance (P, P), Huber weights (N,), residuals (N, 2)."""

    parameters: FloatArray
    covariance: FloatArray
    weights: FloatArray
    residuals: FloatArray
    iterations: int
    found: bool


def minimise(
    residual: Callable[[FloatArray], FloatArray],
    first: FloatArray,
    prior: FloatArray,
    prior_sigma: FloatArray,
    huber: float,
) -> Minimum:
    """Minimise the sum of Huber losses of residual lengths plus Gaussian priors.

    Iteratively re-weighted least squares (Huber 1981, ch. 7) inside Levenberg-Marquardt with a numeric Jacobian.

    Args:
        residual: parameters (P,) -> whitened residuals (N, 2); may raise ValueError where a parameter is impossible.
        first: where to begin (P,).
        prior: expected parameters (P,).
        prior_sigma: how firmly (P,); also scales the steps of the numeric derivative.
        huber: residual length at which the loss turns linear.
    """

    def cost(theta: FloatArray) -> float:
        try:
            length = np.linalg.norm(residual(theta), axis=1)
        except ValueError:
            return math.inf
        robust = np.where(length <= huber, 0.5 * length**2, huber * (length - 0.5 * huber)).sum()
        total = float(robust + 0.5 * (((theta - prior) / prior_sigma) ** 2).sum())
        return total if math.isfinite(total) else math.inf

    def weigh(values: FloatArray) -> FloatArray:
        return np.asarray(np.minimum(1.0, huber / np.maximum(np.linalg.norm(values, axis=1), 1e-12)))

    theta, step = first.copy(), 1e-4 * prior_sigma
    damping, now, iterations = 1e-3, cost(theta), 0
    normal = np.diag(prior_sigma**-2.0)
    while iterations < _MAX_ITERATIONS and math.isfinite(now):
        iterations += 1
        values = residual(theta)
        weight = weigh(values)
        steps = zip(np.diag(step), step, strict=True)
        try:
            jacobian = np.stack([(residual(theta + d) - residual(theta - d)) / (2.0 * s) for d, s in steps], axis=-1)
        except ValueError:
            now = math.inf  # at the limit of what is possible: that is no minimum
            break
        normal = np.einsum("nip,n,niq->pq", jacobian, weight, jacobian) + np.diag(prior_sigma**-2.0)
        gradient = np.einsum("nip,n,ni->p", jacobian, weight, values) + (theta - prior) / prior_sigma**2
        moved = -np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient)
        later = cost(theta + moved)
        if later > now:
            damping *= 8.0
            if damping > 1e9:
                break
            continue
        gain, now, theta = now - later, later, theta + moved
        damping = max(0.2 * damping, 1e-12)
        if gain < 1e-10 * (1e-3 + now):
            break
    found = math.isfinite(now) and bool(np.isfinite(theta).all())
    values = residual(theta) if found else np.zeros((0, 2))
    return Minimum(theta, np.asarray(np.linalg.inv(normal), float), weigh(values), values, iterations, found)
