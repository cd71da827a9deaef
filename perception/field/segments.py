"""Straight pieces of lines among points: sequential RANSAC with all near pairs in place of random ones.

Segments are found where they are straight and where the noise is even: in the undistorted picture (a line on the
floor is a line there, and one pixel of error is 8 cm at 3 m but 5 mm at 0.7 m). Pairs of points some scan lines apart
propose lines; the proposal with the strongest support is fitted by total least squares, cut where its points have
gaps, and its points are taken away; then the next. All proposals are judged at once in one matrix, in a fixed order:
no randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perception.field.line_config import LineConfig
from robot.core.geometry import FloatArray

Indices = NDArray[np.intp]

_ROUNDS = 2
_STARTS, _PROPOSALS = 48, 120
"""Points that pairs start from, and pairs, in each round."""
_MISSED = 0.3
"""What a scan line without a point costs, in shares of the run's median strength: noise beyond an end is no line."""


@dataclass(frozen=True, slots=True)
class Points:
    """Line points: pixels (N, 2); the same as an ideal lens shows them, about the principal point (N, 2); on the floor
    (N, 2), robot frame; strength in sigmas (N,); from a level scan line or an upright one (N,), of which thickness
    in pixels (N,); the band's width along it in pixels (N,).
    """

    pixels_px: FloatArray
    flat_px: FloatArray
    ground_m: FloatArray
    strength: FloatArray
    level: NDArray[np.bool_]
    step_px: FloatArray
    width_px: FloatArray

    def __len__(self) -> int:
        """Return how many."""
        return len(self.pixels_px)

    def take(self, keep: NDArray[np.bool_]) -> Points:
        """Return those that are to be kept (N,)."""
        return Points(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(eq=False)
class Run:
    """Points (indices) of one segment, in order, and its ends in the undistorted picture."""

    chosen: Indices
    start: FloatArray
    end: FloatArray


def find_runs(config: LineConfig, points: Points) -> list[Run]:
    """Return the straight runs of points, strongest first; no point is in two of them.

    Pairs are proposed anew among what the first runs leave: at first most of them are of the few strongest lines.
    """
    left = points.strength.astype(np.float32)
    runs: list[Run] = []
    for _ in range(_ROUNDS):
        found = _round(config, points, left, config.max_segments - len(runs))
        runs += found
        if not found or len(runs) >= config.max_segments:
            break
    return runs


def _round(config: LineConfig, points: Points, left: NDArray[np.float32], most: int) -> list[Run]:
    """Return at most so many runs from one set of proposals; what was looked at is nothing in `left` afterwards."""
    free = np.flatnonzero(left > 0.0)
    first, second = _pairs(points, free)
    runs: list[Run] = []
    if not len(first):
        return runs
    flat = points.flat_px
    direction = flat[second] - flat[first]
    direction /= np.hypot(direction[:, 0], direction[:, 1])[:, None]
    normal = np.stack((-direction[:, 1], direction[:, 0])).astype(np.float32)
    offset = (normal.T * flat[first]).sum(axis=1).astype(np.float32)
    near = np.abs(flat[free].astype(np.float32) @ normal - offset) < config.tolerance_px
    weight = near.astype(np.float32)  # (free points, proposals)
    support = left[free] @ weight
    for _ in range(3 * config.max_segments):
        best = int(np.argmax(support))
        if support[best] < config.min_strength or len(runs) >= most:
            break
        members = free[near[:, best] & (left[free] > 0.0)]
        found = _fit_runs(config, points, members, left)
        runs += found
        taken = _beside(config, flat, found, left) if found else members
        # What was looked at is not looked at again: the loop ends.
        support -= left[taken] @ weight[np.searchsorted(free, taken)]
        left[taken] = 0.0
        support[best] = -1.0 if not found else support[best]
    return runs


def _fit_runs(config: LineConfig, points: Points, members: Indices, left: NDArray[np.float32]) -> list[Run]:
    """Refine a proposal on its points, and cut it at its gaps."""
    flat, strength = points.flat_px, points.strength
    free = np.flatnonzero(left > 0.0)
    for _ in range(2):
        if len(members) < config.min_points:
            return []
        middle, along = _total_least_squares(flat[members], strength[members])
        off = np.abs((flat[free] - middle) @ np.array([-along[1], along[0]]))
        members = free[off < config.tolerance_px]
    if len(members) < config.min_points:
        return []
    place = (flat[members] - middle) @ along
    order = np.argsort(place, kind="stable")
    members, place = members[order], place[order]
    runs = []
    for piece in np.split(np.arange(len(members)), np.flatnonzero(place[1:] - place[:-1] > config.max_gap_px) + 1):
        if len(piece) < config.min_points:
            continue
        piece = piece[_dense(strength[members[piece]], place[piece], points.step_px[members[piece]])]
        chosen, spots = members[piece], place[piece]
        if len(chosen) < config.min_points or spots[-1] - spots[0] < config.min_length_px:
            continue
        if float(strength[chosen].sum()) < config.min_strength or not _filled(config, points, chosen, spots, along):
            continue
        runs.append(Run(chosen, middle + spots[0] * along, middle + spots[-1] * along))
    return runs


def _dense(strength: FloatArray, spots: FloatArray, step: FloatArray) -> slice:
    """Return the part of a run that is worth most, if a scan line without a point costs some of what others give."""
    missed = np.maximum((spots[1:] - spots[:-1]) / step[1:] - 1.0, 0.0)
    usual = np.partition(strength, len(strength) // 2)[len(strength) // 2]
    total = strength.cumsum()
    total[1:] -= _MISSED * usual * missed.cumsum()
    before = total - strength
    end = int(np.argmax(total - np.minimum.accumulate(before)))
    return slice(int(np.argmin(before[: end + 1])), end + 1)


def _filled(config: LineConfig, points: Points, chosen: Indices, spots: FloatArray, along: FloatArray) -> bool:
    """Tell whether enough of the scan lines that cross a run (of the family that crosses it best) saw it."""
    lying = bool(abs(along[0]) >= abs(along[1]))
    family = chosen[points.level[chosen] != lying]
    if not len(family):
        return False
    reach = (spots[-1] - spots[0]) * max(abs(along[0]), abs(along[1]))
    # Each point stands for the thickness of its scan line.
    thick = points.step_px[family]
    return bool(thick.sum() >= config.min_fill * (reach + float(thick.max())))


def _beside(config: LineConfig, flat: FloatArray, runs: list[Run], left: NDArray[np.float32]) -> Indices:
    """Return the points left on runs and close beside: the same line seen twice, or its ragged rim."""
    free = np.flatnonzero(left > 0.0)
    return free[near_runs(flat[free], runs, 2.5 * config.tolerance_px)]


def near_runs(flat: FloatArray, runs: list[Run], limit_px: float) -> NDArray[np.bool_]:
    """Tell which points (N, 2) of the undistorted picture lie within a distance of any run."""
    close = np.zeros(len(flat), bool)
    for run in runs:
        length = float(np.hypot(*(run.end - run.start)))
        along = (run.end - run.start) / length
        away = flat - run.start
        place = away @ along
        off = np.abs(away @ np.array([-along[1], along[0]]))
        close |= (off < limit_px) & (place > -2.0) & (place < length + 2.0)
    return close


def is_narrow(config: LineConfig, points: Points, run: Run, sides: FloatArray) -> bool:
    """Tell whether a run is no wider on the floor than painted lines are; `sides` as from `sides_of`."""
    ground = points.ground_m
    along = ground[run.chosen[-1]] - ground[run.chosen[0]]
    along /= max(float(np.hypot(*along)), 1e-9)
    width = np.sort(np.abs(sides[run.chosen] @ np.array([-along[1], along[0]])))  # NaN comes last
    return float(width[len(width) // 2]) <= config.max_width_m


def _pairs(points: Points, free: Indices) -> tuple[Indices, Indices]:
    """Return pairs of free points of one family, 4 to 12 scan lines apart, at most 50 degrees off across them."""
    pairs = []
    level = points.level[free]
    for row, family in ((1, free[level]), (0, free[~level])):
        if len(family) < 2:
            continue
        some = family[:: -(-len(family) // _STARTS)]
        across, aside = points.flat_px[:, row].astype(np.float32), points.flat_px[:, 1 - row].astype(np.float32)
        reach = points.step_px[some].astype(np.float32)[:, None]
        ahead = across[family] - across[some, None]
        first, second = np.nonzero((ahead >= 4.0 * reach) & (ahead <= 12.0 * reach))
        first, second, ahead = some[first], family[second], ahead[first, second]
        fit = np.abs(aside[second] - aside[first]) <= 1.2 * ahead
        pairs.append((first[fit], second[fit]))
    if not pairs:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    first, second = (np.concatenate(column) for column in zip(*pairs, strict=True))
    stride = max(1, -(-len(first) // _PROPOSALS))
    return first[::stride], second[::stride]


def _total_least_squares(points: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (centroid, unit direction) of the line with the least weighted squared distances."""
    share = weight / weight.sum()
    middle = share @ points
    away = points - middle
    xx, yy = float(share @ away[:, 0] ** 2), float(share @ away[:, 1] ** 2)
    xy = float(share @ (away[:, 0] * away[:, 1]))
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return middle, np.array([np.cos(angle), np.sin(angle)])
