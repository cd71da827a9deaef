"""The markings as a map to look things up in: log-likelihoods for many poses at once, nearest marking for fine fits.

Computed once per field. Two readings of one list of markings (`perception.field.model`):

* a likelihood field (Thrun, Burgard, Fox, Probabilistic Robotics, 6.4) per level of noise, on cells of `CELL_M`, with a
  wide frame of outliers around it, so that scoring thousands of poses is one addition and one look-up per point;
* the index of the nearest marking per cell, so that the signed distance to a line or circle is exact, not quantised.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from perception.field.model import FieldModel, field_model
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray

CELL_M = 0.05
LEVELS_M = (0.06, 0.10, 0.16, 0.26, 0.42)
"""Standard deviations for which there is a likelihood field."""

OUTLIER_SHARE = 0.08
"""A point that no marking explains counts as this likely, however far it is from all of them."""

FRAME_M = 6.0
"""So far beyond the walls there are cells."""

_POST_HALF_M = 0.01
"""A goal is measured between its posts; its walls are 20 mm thick (rules)."""
_SAMPLE_M = 0.02


class Nearest(NamedTuple):
    """The nearest markings of points (N,): signed distance (m), its gradient (N, 2), unsigned distance on the grid, and
    which marking it is.
    """

    offset_m: FloatArray
    normal: FloatArray
    distance_m: FloatArray
    label: NDArray[np.int16]


class FieldMap:
    """The map of one field.

    Attributes:
        symmetric: half a turn about the centre maps markings and walls onto themselves.
        goals_m: per goal of this field its two posts (2, 2), the +y one first.
        posts_m: (P, 2), the middle of the front of every post of this field.
        markings: how many there are.
        bounds_m: the walls, (x_min, x_max, y_min, y_max).
    """

    def __init__(self, field: FieldGeometry) -> None:
        model = field_model(field)
        self.bounds_m = field.wall_bounds_m()
        x_min, x_max, y_min, y_max = self.bounds_m
        self.symmetric = math.isclose(x_min, -x_max) and math.isclose(y_min, -y_max)
        posts = [p for p in field.goal_posts_m() if x_min - 0.5 <= p[0] <= x_max + 0.5]
        self.goals_m = [np.array(posts[i : i + 2]) for i in range(0, len(posts), 2)]
        self.posts_m = np.array([(x, y + math.copysign(_POST_HALF_M, y)) for x, y in posts]).reshape(-1, 2)
        self._origin = np.array([x_min - FRAME_M, y_min - FRAME_M])
        self.columns = round((x_max - x_min + 2.0 * FRAME_M) / CELL_M)
        self.rows = round((y_max - y_min + 2.0 * FRAME_M) / CELL_M)
        self._lines(model)
        centres_x = self._origin[0] + CELL_M * (np.arange(self.columns) + 0.5)
        centres_y = self._origin[1] + CELL_M * (np.arange(self.rows) + 0.5)
        grid = np.stack(np.meshgrid(centres_x, centres_y), axis=-1).reshape(-1, 2)
        points, _, names = model.sample(_SAMPLE_M)
        index = {name: i for i, name in enumerate(self._names)}
        distance, nearest = cKDTree(points).query(grid)
        self._distance = distance.astype(np.float32)
        self._label = np.array([index[name] for name in names], np.int16)[nearest]
        sigma = np.array(LEVELS_M)[:, None]
        good = np.exp(-0.5 * (distance[None, :] / sigma) ** 2)
        self.log_likelihood: NDArray[np.float32] = (
            np.log((1.0 - OUTLIER_SHARE) * good + OUTLIER_SHARE).astype(np.float32).ravel()
        )
        self.cells = self.rows * self.columns

    def _lines(self, model: FieldModel) -> None:
        """Tables of all markings: lines as normal and offset, circles as centre and radius (zero for lines)."""
        normals, offsets, centres, radii = [], [], [], []
        for line in model.lines:
            (xa, ya), (xb, yb) = line.start_m, line.end_m
            length = line.length_m()
            normal = (-(yb - ya) / length, (xb - xa) / length)
            normals.append(normal)
            offsets.append(normal[0] * xa + normal[1] * ya)
            centres.append((0.0, 0.0))
            radii.append(0.0)
        for arc in model.arcs:
            normals.append((0.0, 0.0))
            offsets.append(0.0)
            centres.append(arc.centre_m)
            radii.append(arc.radius_m)
        self._names = [line.name for line in model.lines] + [arc.name for arc in model.arcs]
        self.markings = len(self._names)
        self._normals, self._offsets = np.array(normals), np.array(offsets)
        self._centres, self._radii = np.array(centres), np.array(radii)

    def cell(self, points_m: FloatArray) -> NDArray[np.int32]:
        """Return the cell of points (..., 2); points beyond the frame get the nearest cell of it."""
        scaled = (points_m - self._origin) * (1.0 / CELL_M)
        column = np.clip(scaled[..., 0].astype(np.int32), 0, self.columns - 1)
        row = np.clip(scaled[..., 1].astype(np.int32), 0, self.rows - 1)
        cell: NDArray[np.int32] = row * np.int32(self.columns) + column
        return cell

    def moved(self, cells: NDArray[np.int32], by: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the cells (K, M) that lie `by` (M, 2: columns, rows) from cells (K,), or the nearest within the frame.

        Adding to a cell's number is quicker, and right as long as all stays within the frame.
        """
        row, column = np.divmod(cells[:, None], np.int32(self.columns))
        column = np.clip(column + by[None, :, 0], 0, self.columns - 1)
        row = np.clip(row + by[None, :, 1], 0, self.rows - 1)
        there: NDArray[np.int32] = row * np.int32(self.columns) + column
        return there

    def score(self, points_m: FloatArray, level: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return log-likelihoods (H, N) of field points (H, N, 2), each with the noise of its `level` (N,)."""
        found: NDArray[np.float32] = self.log_likelihood.take(self.cell(points_m) + level * np.int32(self.cells))
        return found

    def nearest(self, points_m: FloatArray) -> Nearest:
        """Return the signed distances of points (..., 2) to their nearest markings; see `Nearest`."""
        cell = self.cell(points_m)
        label = self._label[cell]
        radius = self._radii[label]
        normal = self._normals[label]
        offset = (normal * points_m).sum(axis=-1) - self._offsets[label]
        round_ = radius > 0.0
        if round_.any():
            spoke = points_m[round_] - self._centres[label[round_]]
            reach = np.maximum(np.linalg.norm(spoke, axis=-1), 1e-6)
            normal[round_] = spoke / reach[:, None]
            offset[round_] = reach - radius[round_]
        return Nearest(offset, normal, self._distance[cell].astype(np.float64), label)


def noise_level(sigma_m: FloatArray) -> NDArray[np.int32]:
    """Return the index into `LEVELS_M` of standard deviations (N,): the nearest one, on a logarithmic scale."""
    middle = np.sqrt(np.array(LEVELS_M[1:]) * np.array(LEVELS_M[:-1]))
    return np.searchsorted(middle, sigma_m).astype(np.int32)
