"""Far lines: what no single place of the picture shows, the sum along a line does.

Seen from 0.17 m, 10 mm of paint across the view are 0.27 px wide at 2 m and 0.07 px at 4 m: on any one scan line less
than the noise. But such lines are straight, nearly level, and in few rows. So the strip of rows beyond `near_m` is
summed along *all* nearly level straight pieces of 40, 80, 160, ... pixels, each from the sums of its two halves (the
discrete Radon transform by halves: Brady, "A fast discrete approximation algorithm for the Radon transform", 1998;
pieces at dyadic places: beamlets, Donoho and Huo, 2001). A piece whose mean exceeds the means beside it, on *both*
sides, by a multiple of how much such means vary on this carpet, is a piece of a line. Nothing is set by hand but that
multiple; a wall's foot has only one darker side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.lens import distort
from perception.camera.model import CameraModel
from robot.core.geometry import FloatArray

Plane = NDArray[Any]
Indices = NDArray[np.intp]

_CELLS = 128
_FIRST_CELLS = 8
"""The shortest pieces that are judged: a sixteenth of the picture's width."""
_BESIDE = 4
"""Rows from a line's middle to the middle of what it is compared with: beyond 1.5 m no line is more than 3 px thick."""
_PAD = 8
_POINT_CELLS = 4
"""Every so many cells a piece gives a point."""
_STEEPEST = 0.14
_AROUND = (25, 1)
_APART_PX = 4.5
_LEAST_SIGMA = 0.06
_OFFSETS = np.arange(-5, 7)
_STEPS = np.arange(-4, 5)
_NEAR = np.abs(_STEPS) <= 3
_SIDES = (slice(0, 3), slice(8, 11))
_MIDDLE = slice(4, 7)
_ALONG = np.linspace(0.0, 1.0, 8)
_NO_PEAKS = np.zeros((0, 5))


@dataclass(frozen=True, kw_only=True, slots=True)
class FarConfig:
    """What counts as a piece of a far line; ranges from the robot's centre.

    `gate` is the least contrast of a piece in sigmas of pieces of its length. The strip spans `near_m` to
    `far_m`; `most` bounds the pieces of one picture.
    """

    gate: float = 4.3
    near_m: float = 1.6
    far_m: float = 4.5
    most: int = 20


@dataclass(frozen=True, slots=True)
class FarPieces:
    """Points (N, 2) on straight pieces, (column, row) about the principal point, as an ideal lens shows them; the
    contrast of the whole piece in sigmas (N,).
    """

    points_px: FloatArray
    strength: FloatArray


@dataclass(frozen=True, slots=True)
class _Level:
    """Sums over blocks of `cells` cells: (rows, slopes * blocks), from two of the level before at flat indices.

    `slopes` are the drops in rows from the first cell's middle to the last one's.
    """

    cells: int
    slopes: Indices
    blocks: int
    left: Indices
    right: Indices


_NOTHING = FarPieces(np.zeros((0, 2)), np.zeros(0))


class FarScanner:
    """Finds pieces of far lines. Tables depend on the camera; stateless otherwise."""

    def __init__(self, config: FarConfig, camera: CameraModel) -> None:
        """Prepare the sums' tables for the strip from `far_m` to `near_m`, counted from its foot upwards."""
        self.config = config
        k = camera.intrinsics
        self._size = (k.height_px, k.width_px)
        self._centre = (k.cx, k.cy)
        self.cell_px = max(1, k.width_px // _CELLS)
        self.step_px = float(_POINT_CELLS * self.cell_px)
        column = np.column_stack((np.full(k.height_px, k.cx), np.arange(float(k.height_px))))
        reach = np.linalg.norm(camera.ground_points(column), axis=1)
        inside = np.flatnonzero((reach < config.far_m) & (reach > config.near_m))
        top, self.foot = (int(inside[0]), min(k.height_px, int(inside[-1]) + 1 + _BESIDE)) if len(inside) else (0, 0)
        # Few rows, or a picture of few columns: then there is no strip.
        self.rows = self.foot - max(0, top - _PAD) if len(inside) > 8 and k.width_px >= _CELLS else 0
        u, v = np.meshgrid(np.arange(float(k.width_px)), self.foot - 1 - np.arange(float(self.rows)))
        self._map: tuple[Any, Any] | None = None
        if any(k.distortion) and self.rows:
            x, y = distort((u - k.cx) / k.fx, (v - k.cy) / k.fy, k.distortion)
            u, v = x * k.fx + k.cx, y * k.fy + k.cy
            self._map = cv2.convertMaps(np.asarray(u, np.float32), np.asarray(v, np.float32), cv2.CV_16SC2)
        middle = slice(self.cell_px // 2, _CELLS * self.cell_px, self.cell_px)
        self.cells_px = (u[:, middle], v[:, middle])
        self._of_mask: dict[tuple[int, ...], Indices] = {}
        self._levels = self._tables() if self.rows else []

    def cells_of(self, shape: tuple[int, ...]) -> Indices:
        """Return where the strip's cells are in a mask of the whole picture of this shape: flat indices (rows, 128)."""
        if shape not in self._of_mask:
            u, v = self.cells_px
            row = np.clip(((v + 0.5) * shape[0] / self._size[0]).astype(np.intp), 0, shape[0] - 1)
            column = np.clip(((u + 0.5) * shape[1] / self._size[1]).astype(np.intp), 0, shape[1] - 1)
            self._of_mask[shape] = row * shape[1] + column
        return self._of_mask[shape]

    def _tables(self) -> list[_Level]:
        levels = []
        slopes, blocks, cells = np.zeros(1, np.intp), _CELLS, 1
        while blocks > 2:  # pieces of half a picture; longer ones hardly find more
            cells, blocks = 2 * cells, blocks // 2
            most = min(math.ceil(_STEEPEST * (cells - 1) * self.cell_px), self.rows // 2 - 4)
            wider = np.arange(-most, most + 1)
            # Each half has half of the drop, or one less.
            half = np.clip(wider // 2, slopes[0], slopes[-1])
            r, b = np.arange(self.rows)[:, None, None], np.arange(blocks)[None, None, :]
            old = ((half - slopes[0]) * 2 * blocks)[None, :, None] + 2 * b
            moved = np.clip(r + (wider - half)[None, :, None], 0, self.rows - 1)
            row = len(slopes) * 2 * blocks
            shape = (self.rows, len(wider) * blocks)
            levels.append(
                _Level(cells, wider, blocks, (r * row + old).reshape(shape), (moved * row + old + 1).reshape(shape))
            )
            slopes = wider
        return levels

    def scan(self, grey: Plane, below: NDArray[np.bool_], carpet: NDArray[np.bool_]) -> FarPieces:
        """Return the pieces of lines.

        Args:
            grey: (H, W) uint8.
            below: (rows, 128) bool, at `cells_px`: below the hull of the carpet's edge.
            carpet: the same shape: there carpet or paint is seen, and nothing that stands on it.
        """
        seen = np.flatnonzero(carpet.any(axis=1))
        if len(seen) < 8:
            return _NOTHING
        rows = min(self.rows, int(seen[-1]) + 1 + _PAD)
        below, carpet = below[:rows], carpet[:rows]
        if self._map is not None:
            band = cv2.remap(
                grey, self._map[0][:rows], self._map[1][:rows], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        else:
            band = grey[self.foot - rows : self.foot][::-1, : _CELLS * self.cell_px]
        strip = np.asarray(cv2.resize(np.ascontiguousarray(band), (_CELLS, rows), interpolation=cv2.INTER_AREA))
        strip = strip.astype(np.float32)
        if not carpet.all():
            # What stands on the carpet is neither line nor noise; what lies beyond its edge is no darker side.
            share = carpet.astype(np.float32)
            weight = cv2.blur(share, _AROUND, borderType=cv2.BORDER_REPLICATE)
            mean = cv2.blur(strip * share, _AROUND, borderType=cv2.BORDER_REPLICATE) / np.maximum(weight, 1e-3)
            row = (strip * share).sum(axis=1) / np.maximum(share.sum(axis=1), 1.0)
            row = np.where(np.arange(rows) > seen[-1], row[seen[-1]], row)
            mean = np.where(weight > 0.05, mean, row[:, None].astype(np.float32))
            strip = np.where(carpet, strip, np.where(below, mean, np.maximum(strip, mean)))
        sums, found, sigma = strip, [], _LEAST_SIGMA
        for level in self._levels:
            left, right = sums.take(level.left[:rows], mode="clip"), sums.take(level.right[:rows], mode="clip")
            sums = 0.5 * (left + right)
            if level.cells >= _FIRST_CELLS:
                peaks, sigma = self._peaks(sums, level, carpet, sigma)
                found.append(peaks)
        peaks = np.concatenate(found)
        if not len(peaks):
            return _NOTHING
        return self._measured(strip, carpet, _distinct(peaks, self.config.most))

    def _peaks(self, sums: Plane, level: _Level, carpet: NDArray[np.bool_], sigma: float) -> tuple[FloatArray, float]:
        """Return the pieces of one length (N, 5): first cell, last cell, row at either, contrast in sigmas."""
        mean = np.asarray(cv2.blur(sums, (1, 3), borderType=cv2.BORDER_REPLICATE))
        near, middle, far = mean[: -2 * _BESIDE], mean[_BESIDE:-_BESIDE], mean[2 * _BESIDE :]
        # How much such means vary where nothing but carpet is: level pieces tell for all.
        flat = slice((len(level.slopes) // 2 - 1) * level.blocks, (len(level.slopes) // 2 + 2) * level.blocks)
        whole = carpet.reshape(len(carpet), level.blocks, level.cells).mean(axis=2) > 0.9
        whole = np.tile(whole[: -2 * _BESIDE] & whole[2 * _BESIDE :], (1, 3))
        even = np.abs(middle[:, flat] - 0.5 * (near[:, flat] + far[:, flat]))[whole]
        if len(even) > 24:
            sigma = max(1.4826 * float(np.partition(even, len(even) // 2)[len(even) // 2]), 0.7 * sigma, _LEAST_SIGMA)
        contrast = middle - np.maximum(near, np.minimum(far, sums[2 * _BESIDE - 1 : -1]))
        width = contrast.shape[1]
        values = contrast.ravel()
        strong = np.flatnonzero(values > self.config.gate * sigma)
        for rows in (1, 2):
            here = values[strong]
            strong = strong[
                (here >= values.take(strong - rows * width, mode="clip"))
                & (here >= values.take(strong + rows * width, mode="clip"))
            ]
        if not len(strong):
            return _NO_PEAKS, sigma
        column = strong % width
        start, slope = strong // width + _BESIDE, level.slopes[column // level.blocks]
        first = (column % level.blocks) * level.cells
        at = np.clip(np.rint(start[:, None] + slope[:, None] * _ALONG), 0, len(carpet) - 1).astype(np.intp)
        keep = carpet[at, first[:, None] + np.rint((level.cells - 1) * _ALONG).astype(np.intp)].mean(axis=1) > 0.7
        strength = values[strong] / sigma
        return np.stack((first, first + level.cells - 1.0, start, start + slope, strength), axis=1)[keep], sigma

    def _measured(self, strip: Plane, carpet: NDArray[np.bool_], pieces: FloatArray) -> FarPieces:
        """Return the points of pieces, moved to where the paint's middle is, without the parts that show none."""
        cells = np.rint(pieces[:, 1] - pieces[:, 0]).astype(np.intp) + 1
        groups = np.where(cells > _FIRST_CELLS, 4, 2)
        piece = np.repeat(np.arange(len(pieces)), cells)
        step = np.arange(len(piece)) - np.repeat(np.cumsum(cells) - cells, cells)
        share = step / (cells - 1.0)[piece]
        row = pieces[piece, 2] + share * (pieces[piece, 3] - pieces[piece, 2])
        whole = np.floor(row).astype(np.intp)
        part = (row - whole)[:, None].astype(np.float32)
        at = np.clip(whole[:, None] + _OFFSETS, 0, len(strip) - 1)
        window = strip[at, (pieces[piece, 0].astype(np.intp) + step)[:, None]]
        window = window[:, :-1] * (1.0 - part) + window[:, 1:] * part
        begins = np.concatenate([np.arange(g) * (n // g) for g, n in zip(groups.tolist(), cells.tolist(), strict=True)])
        owner = np.repeat(np.arange(len(pieces)), groups)
        begins += (np.cumsum(cells) - cells)[owner]
        size = (cells // groups)[owner]
        profile = np.add.reduceat(window, begins, axis=0) / size[:, None]
        base = 0.5 * (profile[:, _SIDES[0]].mean(axis=1) + profile[:, _SIDES[1]].mean(axis=1))
        shown = profile[:, _MIDDLE].mean(axis=1) - base
        # Halves say where the line is: they are moved, and the line with them.
        first = np.cumsum(groups) - groups
        half = np.stack((first, first + groups // 2), axis=1).ravel()
        weight = np.add.reduceat(profile[:, 1:-1] - base[:, None], half, axis=0)
        weight = np.maximum(weight - 0.25 * weight.max(axis=1, keepdims=True), 0.0) * _NEAR
        off = ((weight * _STEPS).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-6)).reshape(-1, 2)
        # Halves' middles are a quarter of the way in.
        middle, turn = off.mean(axis=1), off[:, 1] - off[:, 0]
        moved = pieces.copy()
        moved[:, 2] += middle - turn
        moved[:, 3] += middle + turn
        good = shown > 0.3 * (np.add.reduceat(shown, first) / groups)[owner]
        count = np.maximum(size // _POINT_CELLS, 1)
        chosen = np.repeat(np.arange(len(owner)), np.where(good, count, 0))
        if not len(chosen):
            return _NOTHING
        count = count[good]
        nth = np.arange(len(chosen)) - np.repeat(np.cumsum(count) - count, count)
        mine = owner[chosen]
        cell = (
            begins[chosen]
            - (np.cumsum(cells) - cells)[mine]
            + (nth + 0.5) * np.minimum(size[chosen], _POINT_CELLS)
            - 0.5
        )
        share = cell / (cells - 1.0)[mine]
        row, cell = moved[mine, 2] + share * (moved[mine, 3] - moved[mine, 2]), moved[mine, 0] + cell
        on_carpet = carpet[np.clip(np.rint(row), 0, len(carpet) - 1).astype(np.intp), cell.astype(np.intp)]
        points = np.stack(((cell + 0.5) * self.cell_px - 0.5, self.foot - 1.0 - row), axis=1) - self._centre
        return FarPieces(points[on_carpet], moved[mine[on_carpet], 4])


def _distinct(peaks: FloatArray, most: int) -> FloatArray:
    """Return the strongest pieces of which no two lie on one another."""
    left = peaks[np.argsort(-peaks[:, 4], kind="stable")][:600]
    kept: list[FloatArray] = []
    while len(left) and len(kept) < most:
        best = left[0]
        kept.append(best)
        low, high = np.maximum(left[:, 0], best[0]), np.minimum(left[:, 1], best[1])
        slope, own = (left[:, 3] - left[:, 2]) / (left[:, 1] - left[:, 0]), (best[3] - best[2]) / (best[1] - best[0])
        at_low = left[:, 2] + slope * (low - left[:, 0]) - best[2] - own * (low - best[0])
        at_high = left[:, 2] + slope * (high - left[:, 0]) - best[2] - own * (high - best[0])
        apart = np.maximum(np.abs(at_low), np.abs(at_high))
        same = (low < high) & (apart < np.where(at_low * at_high < 0.0, 2.0 * _APART_PX, _APART_PX))
        left = left[~same]
    return np.array(kept)
