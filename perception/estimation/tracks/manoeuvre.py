"""Kicks and bounces that nobody foretold: a sighting out of the gate may be the same ball, moving otherwise.

Such a sighting founds a *branch*: a track that starts with the velocity that would have brought the ball there since it
was last seen. It stays one hypothesis among others. Only if the following sightings go on along that motion, while the
old track's place stays empty, does the branch become the track. A false box elsewhere does not move on, or is farther
away than any ball can fly in that time: the recorded 1.67 m in 34 ms are 49 m/s.
"""

from __future__ import annotations

import math

import numpy as np

from perception.estimation.tracks.point import BIAS_FLOOR, PointFilter
from perception.estimation.tracks.track import Sighting, Track
from robot.core.clock import NS_PER_S

MAX_BALL_SPEED_M_S = 6.5
"""The rules allow no faster kick."""

MAX_GAP_NS = NS_PER_S * 35 // 100
"""A track that has not been seen for longer than this has no continuation that can be told from another thing."""

_LEAST_SPEED_M_S = 0.4
_LEAST_SIGMAS = 2.5


def branch_filter(track: Track, sighting: Sighting, t_ns: int) -> PointFilter | None:
    """Return the filter of a ball that left `track` some time after its last sighting and is now at `sighting`.

    None where no ball could have come there, or where the gap is too long to say anything.
    """
    gap_ns = t_ns - track.seen_ns
    if not 0 < gap_ns <= MAX_GAP_NS:
        return None
    dt_s = gap_ns / NS_PER_S
    way = sighting.position_m - np.array(track.seen_m)
    length = float(np.hypot(way[0], way[1]))
    noise_m = math.sqrt(float(np.trace(sighting.covariance_m2)))
    if length - 3.0 * noise_m > MAX_BALL_SPEED_M_S * dt_s or length < 1e-6:
        return None
    # It was kicked at some moment of the gap: not slower than the way over the whole of it.
    least = length / dt_s
    speed = min(1.25 * least, MAX_BALL_SPEED_M_S)
    along = way / length
    across = np.array([-along[1], along[0]])
    x, y = sighting.position_m.tolist()
    point = PointFilter(track.filter.config, (x, y), sighting.covariance_m2 + BIAS_FLOOR * sighting.bias_m2)
    point.x[2:] = speed * along
    measured = 2.0 * noise_m / dt_s
    sigma_along, sigma_across = math.hypot(0.5 * least, measured), math.hypot(0.3 * least, measured)
    point.P[2:, 2:] = sigma_along**2 * np.outer(along, along) + sigma_across**2 * np.outer(across, across)
    point.surface_m_s = (0.0, 0.0)
    return point


def goes_on(branch: Track) -> bool:
    """True when a branch's sightings show a motion of its own: it has gone on since it left its parent."""
    vx, vy = float(branch.filter.x[2]), float(branch.filter.x[3])
    speed = math.hypot(vx, vy)
    if speed < _LEAST_SPEED_M_S:
        return False
    direction = np.array([vx, vy]) / speed
    sigma = math.sqrt(max(0.0, float(direction @ branch.filter.P[2:, 2:] @ direction)))
    return speed > _LEAST_SIGMAS * sigma


def take_over(branch: Track, parent: Track) -> None:
    """Let the parent go on as the branch: same number, same history, the branch's motion."""
    parent.filter = branch.filter
    parent.t_ns, parent.seen_ns, parent.seen_m = branch.t_ns, branch.seen_ns, branch.seen_m
    parent.path_m, parent.turn_rad = branch.path_m, branch.turn_rad
    parent.bias_m2, parent.visible = branch.bias_m2, branch.visible
    parent.sightings += branch.sightings
    parent.log_odds = max(parent.log_odds, branch.log_odds)
