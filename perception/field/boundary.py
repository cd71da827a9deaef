"""The carpet's upper edge, from the picture itself: no colour is known beforehand.

The lower part of an on-board picture is mostly carpet. Its colour (log chromaticity and log brightness, each with a
trend over the rows, since light and viewing angle change with range) is fitted robustly there; every cell of a
reduced picture is then carpet or not by its Mahalanobis distance. Thin bright things (lines) and small ones (balls
far away) between carpet are closed over; what remains connected to the picture's foot is free floor. The edge is
refined in the full picture to a pixel. Column scans for field boundaries: Laue et al., "Efficient and reliable
sensor models for humanoid soccer robot self-localization" (2009); the convex-hull test after B-Human's code release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2

Image = NDArray[np.uint8]
Planes = NDArray[np.float32]

_TEACHERS = 400
"""How many cells teach a colour."""

_CHROMA_AND_LIGHT = np.array([[0.0, -1.0, 1.0], [1.0, -1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]], np.float32)
"""From logarithms of blue, green, red to red-green, blue-green, brightness."""

_RIDGE = np.diag([0.0, 0.02, 0.02, 0.02, 0.02]).astype(np.float32)
"""What keeps a trend small that few cells tell of."""

_LEAST_SEEN = 0.15
"""Share of columns that must show carpet for an edge to be believed."""

MAX_FLOOR_M = 15.0
"""No SSL field shows carpet farther away (a Division A field's diagonal is 15 m)."""

MAX_RANGE_M = 20.0
"""What `free_range` says of a column in which nothing but floor is seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CarpetConfig:
    """How the picture is reduced and how much variation one carpet may show.

    `columns` x `rows` is the reduced picture. `learn_share` of its height, from the bottom, teaches the colour.
    `sigma_floor` is the least spread of (red-green, blue-green, brightness), as natural logarithms, `gate` the
    Mahalanobis distance that still is carpet. Gaps are shares of the height: the thickness of a line at the bottom
    and at the top of the picture; `line_columns` is the widest upright line, in reduced columns. Floor seen between
    two things less than `min_gap_columns` apart does not count as open.
    """

    columns: int = 80
    rows: int = 120
    learn_share: float = 0.45
    sigma_floor: tuple[float, float, float] = (0.045, 0.045, 0.09)
    gate: float = 4.0
    gap_near: float = 0.13
    gap_far: float = 0.025
    line_columns: int = 7
    min_gap_columns: int = 5
    refine_px: int = 7

    def __post_init__(self) -> None:
        if self.columns < 8 or self.rows < 16 or not 0.1 <= self.learn_share <= 1.0 or min(self.sigma_floor) <= 0.0:
            raise ValueError("columns >= 8, rows >= 16, learn_share in 0.1..1 and sigma_floor > 0 are needed")


class CarpetScanner:
    """Finds the carpet's edge in a picture. Stateless: the same picture gives the same edge."""

    def __init__(self, config: CarpetConfig | None = None, camera: CameraModel | None = None) -> None:
        """Prepare tables; a `camera` tells which part of the picture no carpet can reach: from 15 m to the sky."""
        self.config = config or CarpetConfig()
        c = self.config
        self._reachable = np.ones((c.rows, c.columns), bool)
        if camera is not None:
            u, v = np.meshgrid(np.arange(c.columns) + 0.5, np.arange(c.rows) + 0.5)
            size = np.array([camera.intrinsics.width_px / c.columns, camera.intrinsics.height_px / c.rows])
            centres = np.stack((u.ravel(), v.ravel()), axis=1) * size - 0.5
            ahead = np.linalg.norm(camera.ground_points(centres), axis=1) < MAX_FLOOR_M
            self._reachable = ahead.reshape(c.rows, c.columns)
        self._log = np.log(np.arange(256, dtype=np.float32) + 12.0)
        up = np.linspace(1.0, 0.0, c.rows, dtype=np.float32)[:, None] + np.zeros((1, c.columns), np.float32)
        side = np.linspace(-1.0, 1.0, c.columns, dtype=np.float32)[None, :] + np.zeros((c.rows, 1), np.float32)
        # What colour may do over the picture: range, uneven light, vignetting.
        self._basis = np.stack((np.ones_like(up), up, side, up * up, side * side)).reshape(5, -1)
        shares = (c.gap_far, 0.5 * (c.gap_far + c.gap_near), c.gap_near)
        self._gaps = [np.ones((max(3, round(share * c.rows)), 1), np.uint8) for share in shares]
        self._wide = np.ones((1, c.line_columns), np.uint8)

    def scan(self, image_bgr: Image) -> tuple[Vec2, ...]:
        """Return the edge as (column, row) of the highest carpet pixel per scanned column, left to right.

        Args:
            image_bgr: (H, W, 3) uint8, any size; the lower part should show carpet.

        Returns:
            `columns` points in pixels of that picture (centre of the first pixel is 0); row H where no carpet is
            seen at the column's foot, 0 where it fills the column. Empty where hardly any column shows carpet:
            then the picture tells nothing about the floor.
        """
        return self.scan_with_mask(image_bgr)[0]

    def scan_with_mask(self, image_bgr: Image) -> tuple[tuple[Vec2, ...], NDArray[np.bool_]]:
        """Return `scan` and the `carpet_mask` that it came from: the line finder needs both."""
        height, width = image_bgr.shape[:2]
        mask = self.carpet_mask(image_bgr)
        edge = self.edge_rows(mask)
        if np.mean(edge < self.config.rows) < _LEAST_SEEN:
            return (), mask
        scale_u, scale_v = width / self.config.columns, height / self.config.rows
        columns = (np.arange(self.config.columns) + 0.5) * scale_u - 0.5
        rows = self._refine(image_bgr, columns, edge * scale_v - 0.5, scale_v)
        return tuple(zip(columns.tolist(), rows.tolist(), strict=True)), mask

    def carpet_mask(self, image_bgr: Image) -> NDArray[np.bool_]:
        """Return (rows, columns) bool: carpet by colour, lines and specks closed over."""
        c = self.config
        logs = cv2.LUT(_shrink(image_bgr, c.columns, c.rows), self._log)
        colour = np.asarray(cv2.split(cv2.transform(logs, _CHROMA_AND_LIGHT)), np.float32)
        learn = c.rows - round(c.learn_share * c.rows)
        inside = np.zeros((c.rows, c.columns), bool)
        inside[learn:] = True
        # First without a trend, and forgiving to dark corners; what that calls carpet teaches the trend.
        close, brighter = self._classify(colour, *self._fit(colour, inside, terms=1), shade=0.4)
        reach = np.logical_and.accumulate(self._closed(close, brighter)[::-1], axis=0)[::-1]
        inside = close & (reach | inside)
        if inside.mean() > 0.02:
            close, brighter = self._classify(colour, *self._fit(colour, inside, terms=5), shade=0.6)
        return self._closed(close, brighter) & self._reachable

    def _fit(self, colour: Planes, inside: NDArray[np.bool_], *, terms: int) -> tuple[Planes, Planes]:
        """Fit each colour plane over the cells `inside` by the first `terms` of the basis, robustly.

        Returns:
            Coefficients (3, terms) and sigmas (3,).
        """
        chosen = np.flatnonzero(inside)
        chosen = chosen[:: max(1, len(chosen) // _TEACHERS)]
        sample, basis = colour.reshape(3, -1)[:, chosen], self._basis[:terms, chosen]
        floor = np.array(self.config.sigma_floor, np.float32)
        middle = _most_common(sample, 4.0 * floor) if terms == 1 else _medians(sample)
        sigma = np.maximum(1.4826 * _medians(np.abs(sample - middle[:, None])), floor)
        sigma = np.minimum(sigma, 1.6 * floor)
        coefficients = np.zeros((3, terms), np.float32)
        coefficients[:, 0] = middle
        for _ in range(1 if terms == 1 else 2):  # without a trend, it is but a first look
            away = (sample - coefficients @ basis) / sigma[:, None]
            weight = 1.0 / (1.0 + ((away * away).sum(axis=0) / 6.0) ** 2)  # Geman-McClure-like: robots do not count
            weight /= weight.sum()
            weighted = basis * weight
            coefficients = np.linalg.solve(weighted @ basis.T + _RIDGE[:terms, :terms], weighted @ sample.T).T.astype(
                np.float32
            )
            residual = sample - coefficients @ basis
            sigma = np.maximum(np.sqrt((residual * residual) @ weight), floor)
        return coefficients, np.minimum(sigma, 1.6 * floor)  # what varies more than this is not one colour

    def _classify(
        self, colour: Planes, coefficients: Planes, sigma: Planes, *, shade: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which cells have the carpet's colour, and which are brighter than it (lines, glare).

        `shade` scales the distance of cells darker than carpet: shadows are carpet more often than highlights are.
        """
        expected = coefficients @ self._basis[: coefficients.shape[1]]
        off = (colour.reshape(3, -1) - expected) / sigma[:, None]
        brighter = off[2] > 0.0
        off[2] *= np.where(brighter, np.float32(1.2), np.float32(shade))
        off *= off
        shape = colour.shape[1:]
        return (off[0] + off[1] + off[2] < self.config.gate**2).reshape(shape), brighter.reshape(shape)

    def _closed(self, close: NDArray[np.bool_], brighter: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Close thin gaps between carpet: lines across (both ways of the picture), lines upright, specks."""
        third, depth = self.config.rows // 3, len(self._gaps[-1])
        # Below the picture there is carpet: a line that the picture's foot cuts is a gap like any other.
        carpet = _with_foot(close, depth)
        bright = _with_foot(brighter, depth)
        upright = _close(carpet, self._wide)
        carpet |= upright & bright
        closed = _close(carpet, self._gaps[0])
        bright[-2 * depth :] = True  # at the foot also dark ones: corners lie in the lens's shadow
        for top, gap in ((third, self._gaps[1]), (2 * third, self._gaps[2])):
            # Dark gaps are robots more often than not: near ones are closed only where small both ways.
            closed[top:] |= _close(carpet, gap)[top:] & (bright[top:] | upright[top:])
        return closed[: len(close)]

    def edge_rows(self, mask: NDArray[np.bool_]) -> FloatArray:
        """Return per column the upper border (in reduced rows, 0 at the top) of the carpet connected to the foot."""
        connected = np.logical_and.accumulate(mask[::-1], axis=0)
        edge = (mask.shape[0] - connected.sum(axis=0)).astype(np.float64)
        # Floor seen through a gap narrower than `min_gap_columns` is no way through, and often not floor: a robot has
        # grey parts too. (An opening of the free space; then single columns that dip are noise.)
        line = edge[None, :].astype(np.float32)
        gap = np.ones((1, self.config.min_gap_columns), np.uint8)
        line = cv2.erode(cv2.dilate(line, gap, borderType=cv2.BORDER_REPLICATE), gap, borderType=cv2.BORDER_REPLICATE)
        # The median of three.
        padded = np.concatenate((line[0, :1], line[0], line[0, -1:])).astype(np.float64)
        left, middle, right = padded[:-2], padded[1:-1], padded[2:]
        smooth: FloatArray = np.maximum(np.minimum(left, middle), np.minimum(np.maximum(left, middle), right))
        return smooth

    def _refine(self, image: Image, columns: FloatArray, rows: FloatArray, cell: float) -> FloatArray:
        """Move each edge to the full picture's strongest step from carpet to what lies above, within a cell or two."""
        height, width = image.shape[:2]
        reach = max(self.config.refine_px, math.ceil(1.5 * cell))
        movable = (rows > reach + 2) & (rows < height - reach - 3)
        if not movable.any():
            return np.clip(rows, 0.0, float(height))
        u = np.clip(np.rint(columns[movable]).astype(int), 1, width - 2)
        v = np.rint(rows[movable]).astype(int)[:, None] + np.arange(-reach - 2, reach + 3)[None, :]
        strip = image[v, u[:, None]].astype(np.float32)
        below, above = strip[:, -3:].mean(axis=1), strip[:, :3].mean(axis=1)
        axis = below - above
        length = np.einsum("nk,nk->n", axis, axis)
        share = np.einsum("nvk,nk->nv", strip - above[:, None], axis) / np.maximum(length, 1.0)[:, None]
        carpet = share > 0.5
        # The crossing nearest to the foot: everything below it is carpet.
        firm = np.logical_and.accumulate(carpet[:, ::-1], axis=1)
        first = carpet.shape[1] - firm.sum(axis=1)
        fine = v[:, 0] + first
        clear = (length > 300.0) & (first > 0) & (first < carpet.shape[1])
        refined = rows.copy()
        refined[movable] = np.where(clear, fine, rows[movable])
        return np.clip(refined, 0.0, float(height))


def free_range(camera: CameraModel, edge_px: tuple[Vec2, ...], tilt_rad: Vec2 = (0.0, 0.0)) -> tuple[Vec2, ...]:
    """Return (bearing_rad, range_m) of the open floor along each scanned column, from the robot's centre.

    Robot frame, counter-clockwise positive, in the order of the columns (left of the picture first, so falling
    bearings). Columns whose edge lies at or above the horizon are open as far as the eye sees: 20 m.
    """
    if not edge_px:
        return ()
    pixels = np.array(edge_px)
    places = camera.ground_points(pixels, tilt_rad)
    rays = camera.rays_in_robot(pixels, tilt_rad)
    # Above the horizon (and beyond 20 m) take the point 20 m out along the column's direction.
    mount = np.array([camera.mounting.x_m, camera.mounting.y_m])
    level = rays[:, :2] / np.maximum(np.linalg.norm(rays[:, :2], axis=1, keepdims=True), 1e-9)
    lost = ~(np.linalg.norm(places, axis=1) < MAX_RANGE_M)
    places[lost] = mount + MAX_RANGE_M * level[lost]
    bearing = np.arctan2(places[:, 1], places[:, 0])
    distance = np.minimum(np.hypot(places[:, 0], places[:, 1]), MAX_RANGE_M)
    return tuple(zip(bearing.tolist(), distance.tolist(), strict=True))


def _most_common(sample: Planes, spread: Planes) -> Planes:
    """Return the colour around which, within `spread`, most of the sample lies: a goal's wall may fill much.

    Candidates are the means of the fullest cells of a coarse histogram; carpet is noisier than walls, so cells count
    for less than what surrounds them.
    """
    keys = np.floor(sample / spread[:, None]).astype(np.int64)
    keys -= keys.min(axis=1, keepdims=True)
    span = keys.max(axis=1) + 1
    flat = (keys[0] * span[1] + keys[1]) * span[2] + keys[2]
    count = np.bincount(flat)
    full = np.flatnonzero(count >= max(1, int(count.max()) // 8))
    fullest = full[np.argsort(-count[full], kind="stable")[:5]]
    member = (flat == fullest[:, None]).astype(np.float32)
    means = member @ sample.T / member.sum(axis=1)[:, None]
    near = (np.abs(sample - means[:, :, None]) < spread[:, None]).all(axis=1).sum(axis=1)
    return np.asarray(means[int(np.argmax(near))], np.float32)


def _medians(planes: Planes) -> Planes:
    """Return the (upper) median of each row."""
    middle = planes.shape[1] // 2
    return np.partition(planes, middle, axis=1)[:, middle]


def _with_foot(mask: NDArray[np.bool_], depth: int) -> NDArray[np.bool_]:
    return np.concatenate((mask, np.ones((depth, mask.shape[1]), bool)))


def _close(mask: NDArray[np.bool_], kernel: NDArray[np.uint8]) -> NDArray[np.bool_]:
    closed = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(closed).view(np.bool_)


def _shrink(image: Image, columns: int, rows: int) -> Image:
    """Reduce by averages: halving one way or both has a fast path, and is exact there."""
    while image.shape[0] >= 2 * rows and image.shape[1] >= 2 * columns:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    halves = image.shape[:2] == (rows, 2 * columns)
    way = cv2.INTER_LINEAR if halves else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=way), np.uint8)
