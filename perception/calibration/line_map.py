"""Painted lines as something to measure against: nearest marking, its normal, and where a set of points fits best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perception.field.model import FieldModel
from robot.core.geometry import FloatArray, Pose2

_CELL_M = 0.02
_MARGIN_M = 1.0


@dataclass(frozen=True, eq=False)
class LineMap:
    """The markings of a field as plain arrays: straight lines from `start` (L, 2) to `end` (L, 2), and circles."""

    start: FloatArray
    end: FloatArray
    circles: FloatArray
    """(C, 3): centre and radius."""

    @staticmethod
    def of(model: FieldModel) -> LineMap:
        """Return the map of a field model (arcs count as whole circles)."""
        return LineMap(
            np.array([line.start_m for line in model.lines]).reshape(-1, 2),
            np.array([line.end_m for line in model.lines]).reshape(-1, 2),
            np.array([(*arc.centre_m, arc.radius_m) for arc in model.arcs]).reshape(-1, 3),
        )

    def nearest(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return for points (N, 2) the signed distance to the nearest marking (N,) and its unit normal (N, 2)."""
        way = self.end - self.start
        length = np.linalg.norm(way, axis=1)
        along = way / length[:, None]
        normal = np.stack((-along[:, 1], along[:, 0]), axis=1)
        away = points[:, None, :] - self.start
        spot = np.einsum("nlk,lk->nl", away, along)
        off = np.einsum("nlk,lk->nl", away, normal)
        beyond = np.maximum(np.maximum(-spot, spot - length), 0.0)
        distance = np.hypot(off, beyond)
        normals = np.broadcast_to(normal, (len(points), *normal.shape))
        if len(self.circles):
            out = points[:, None, :] - self.circles[:, :2]
            reach = np.maximum(np.linalg.norm(out, axis=2), 1e-9)
            ring = reach - self.circles[:, 2]
            distance = np.concatenate((distance, np.abs(ring)), axis=1)
            off = np.concatenate((off, ring), axis=1)
            normals = np.concatenate((normals, out / reach[..., None]), axis=1)
        best = np.argmin(distance, axis=1)
        rows = np.arange(len(points))
        # Beyond a line's end the distance along it counts as distance: such a point is no point of that line.
        signed = np.where(off[rows, best] < 0.0, -1.0, 1.0) * distance[rows, best]
        return signed, normals[rows, best]

    def _distances(self) -> tuple[FloatArray, FloatArray]:
        """Return a table of distances to the nearest marking, and the place of its first cell."""
        low = np.minimum(self.start.min(axis=0), self.end.min(axis=0)) - _MARGIN_M
        high = np.maximum(self.start.max(axis=0), self.end.max(axis=0)) + _MARGIN_M
        axes = [np.arange(low[i], high[i], _CELL_M) for i in range(2)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        rows = [np.abs(self.nearest(row)[0]) for row in grid]
        return np.array(rows), low

    def place(self, points: FloatArray, heading_rad: float, *, gate_m: float = 0.15, step_m: float = 0.08) -> Pose2:
        """Return the pose at which points (N, 2) of some frame lie on markings best.

        Args:
            points: line points in a frame whose axes are turned by `heading_rad` modulo a quarter turn.
            heading_rad: of the frame in the field, up to quarter turns; all four are tried.
            gate_m: a point further from any marking counts like one at this distance.
            step_m: of the search over the whole field, which is refined afterwards.
        """
        table, low = self._distances()
        table = np.minimum(table, gate_m)
        best = (math.inf, Pose2())
        for quarter in range(4):
            angle = heading_rad + 0.5 * math.pi * quarter
            c, s = math.cos(angle), math.sin(angle)
            turned = points @ np.array([[c, s], [-s, c]])
            x = np.arange(low[0], low[0] + table.shape[0] * _CELL_M, step_m)
            y = np.arange(low[1], low[1] + table.shape[1] * _CELL_M, step_m)
            for step in (step_m, 0.5 * step_m, 0.25 * step_m):
                cost = _costs(table, low, turned, x, y, gate_m)
                i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
                at = (float(x[i]), float(y[j]))
                if cost[i, j] < best[0]:
                    best = (float(cost[i, j]), Pose2(*at, angle))
                x, y = (a + np.linspace(-step, step, 5) for a in at)
        return best[1]


def _costs(
    table: FloatArray, low: FloatArray, points: FloatArray, x: FloatArray, y: FloatArray, gate: float
) -> FloatArray:
    """Return the summed distances (X, Y) of points moved by each of the offsets."""
    total = np.zeros((len(x), len(y)))
    for px, py in points:
        i = np.rint((px + x - low[0]) / _CELL_M).astype(int)
        j = np.rint((py + y - low[1]) / _CELL_M).astype(int)
        inside = ((i >= 0) & (i < table.shape[0]))[:, None] & ((j >= 0) & (j < table.shape[1]))[None, :]
        row = table[np.clip(i, 0, table.shape[0] - 1)][:, np.clip(j, 0, table.shape[1] - 1)]
        total += np.where(inside, row, gate)
    return np.asarray(total, dtype=float)
