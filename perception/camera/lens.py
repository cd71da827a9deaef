"""Lens distortion after Brown and Conrady, with OpenCV's coefficients k1 k2 p1 p2 k3.

Written with plain arithmetic only, so that the same lines serve Python floats (one detection in a frame: a few
microseconds) and NumPy arrays (a whole polyline).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Distortion = tuple[float, float, float, float, float]

_NEWTON_STEPS = 6


def distort(x: Any, y: Any, coefficients: Distortion) -> tuple[Any, Any]:
    """Move ideal image-plane points (x = X/Z, y = Y/Z) to where the lens really puts them.

    Args:
        x: ideal coordinate, float or array.
        y: the same shape as `x`.
        coefficients: k1, k2, p1, p2, k3 as OpenCV counts them.
    """
    if not any(coefficients):
        return x, y
    k1, k2, p1, p2, k3 = coefficients
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return (
        x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
        y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
    )


def distortion_jacobian(x: Any, y: Any, coefficients: Distortion) -> tuple[Any, Any, Any, Any]:
    """Return (dxd/dx, dxd/dy, dyd/dx, dyd/dy) of `distort` at ideal points."""
    k1, k2, p1, p2, k3 = coefficients
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2.0 * (k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3))
    cross = x * y * slope + 2.0 * (p1 * x + p2 * y)
    return (
        radial + x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x,
        cross,
        cross,
        radial + y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x,
    )


def undistort(xd: Any, yd: Any, coefficients: Distortion) -> tuple[Any, Any]:
    """Invert `distort` by Newton's method: converges quadratically inside `valid_radius` (1e-12 after 4 to 5 steps).

    Args:
        xd: observed image-plane coordinate (u - cx) / fx, float or array.
        yd: the same shape.
        coefficients: k1, k2, p1, p2, k3; all zero returns the input at once.
    """
    if not any(coefficients):
        return xd, yd
    x, y = xd, yd
    for _ in range(_NEWTON_STEPS):
        fx, fy = distort(x, y, coefficients)
        a, b, c, d = distortion_jacobian(x, y, coefficients)
        inverse = 1.0 / (a * d - b * c)
        ex, ey = fx - xd, fy - yd
        x, y = x - (d * ex - b * ey) * inverse, y - (a * ey - c * ex) * inverse
    return x, y


def valid_radius(coefficients: Distortion) -> float:
    """Return the ideal radius up to which the radial part grows; beyond it the model folds back and means nothing."""
    k1, k2, _, _, k3 = coefficients
    if not (k1 or k2 or k3):
        return math.inf
    roots = np.roots([7.0 * k3, 5.0 * k2, 3.0 * k1, 1.0])
    real = [float(r.real) for r in roots if abs(r.imag) < 1e-12 and r.real > 0.0]
    return math.sqrt(min(real)) if real else math.inf
