"""Points of the field that are seen as points (goal posts) as rows of a correction: two whitened offsets for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.estimation.ego.ekf import THETA
from perception.localisation.view import LinePoints
from robot.core.geometry import FloatArray, rotation


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Seen points (M), where each should be on the field (M, 2), and inverse roots of their covariances (M, 2, 2)."""

    seen: LinePoints
    places_m: FloatArray
    whiten: FloatArray

    def residuals(self, x: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return offsets (2 M,), of unit variance, and their derivatives (2 M, 6), at the state moved by `step`.

        Args:
            x: the state.
            step: (6,) of pose and the camera's pitch, roll and yaw.
        """
        here, by_state = _places(self.seen, x, step)
        offset = here - self.places_m
        return (self.whiten @ offset[..., None]).reshape(-1), (self.whiten @ by_state).reshape(-1, by_state.shape[-1])


def near_landmarks(
    seen: LinePoints, places_m: FloatArray, x: FloatArray, prior: FloatArray, gate_sigmas: float, sigma_m: float
) -> Landmarks | None:
    """Take each seen point for the nearest place, if it is that near by what is known of both.

    Args:
        seen: M points.
        places_m: (P, 2), field frame.
        x: the state.
        prior: (6, 6), covariance of pose and the camera's pitch, roll and yaw.
        gate_sigmas: in standard deviations.
        sigma_m: of the places.

    Returns:
        None where none is near enough.
    """
    if not len(places_m):
        return None
    r = rotation(float(x[THETA]))
    noise = r @ seen.covariances_m2 @ r.T + sigma_m**2 * np.eye(2)
    here, by_state = _places(seen, x, np.zeros(6))
    spread = np.linalg.inv(noise + by_state @ prior @ np.swapaxes(by_state, 1, 2))
    offsets = here - places_m[:, None]
    away2 = ((offsets[..., None, :] @ spread)[..., 0, :] * offsets).sum(axis=-1)
    best = away2.argmin(axis=0)
    near = away2.min(axis=0) < gate_sigmas**2
    if not near.any():
        return None
    return Landmarks(seen[near], places_m[best[near]], np.linalg.inv(np.linalg.cholesky(noise[near])))


def _places(seen: LinePoints, x: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return where each point lies on the field (M, 2), and the derivatives (M, 2, 6)."""
    r = rotation(float(x[THETA] + step[2]))
    turned = (seen.places_m + seen.by_tilt @ step[3:]) @ r.T
    by_state = np.zeros((len(turned), 2, 6))
    by_state[:, 0, 0] = by_state[:, 1, 1] = 1.0
    by_state[:, 0, 2], by_state[:, 1, 2] = -turned[:, 1], turned[:, 0]
    by_state[:, :, 3:] = r @ seen.by_tilt
    return turned + x[:2] + step[:2], by_state
