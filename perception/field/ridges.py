"""Points on painted lines: bright bands on the carpet, found along scan lines across the picture.

Two families of scan lines: upright ones (each the mean of a few columns) find lines that lie across the view, level
ones (each the mean of a few rows) find those that lead away. The mean along the line is what makes a line visible
that is a tenth of a pixel wide (10 mm at 3 m, seen from 0.17 m). On a scan line the mean over `k` pixels must exceed
the means on both sides, by a multiple of how much this carpet varies by itself (median absolute deviation): no colour
and no brightness is set by hand. A far line is a pixel wide and compared with rows 2 away: a carpet's streaks are few
rows wide there, and with rows 4 away they hid lines that are plain to the eye. Near rows are scanned in a reduced
picture, so that few `k` serve 10 to 50 mm at all ranges. Scan lines and contrast on both sides: B-Human's code
releases; centre-surround with a robust noise estimate: ridge detection after Steger (1998), in one dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from robot.core.geometry import FloatArray

Plane = NDArray[Any]

_LINE_M = 0.01
"""The width that the rules ask for."""
_REDUCED = 4
"""Two halvings: the fast way to a smaller picture."""
_ALONG = np.ones((5, 1), np.uint8)
_LEAST_SIGMA = 0.35
"""Grey levels: carpets are never smoother than this, pictures of one colour are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RidgeConfig:
    """What counts as a point of a line.

    `gate` is the least contrast in sigmas of the carpet, `min_contrast` in shares of its brightness. Points farther
    than `max_range_m` are not looked for. `columns_px` and `rows_px` are the thicknesses of scan lines in the full
    picture.
    """

    gate: float = 2.4
    min_contrast: float = 0.015
    max_range_m: float = 4.6
    columns_px: int = 5
    rows_px: int = 6

    def __post_init__(self) -> None:
        if not 1.0 <= self.gate <= 100.0 or self.columns_px < 1 or self.rows_px < 1 or self.max_range_m <= 0.0:
            raise ValueError("gate in 1..100, columns_px and rows_px >= 1 and max_range_m > 0 are needed")


@dataclass(frozen=True, slots=True)
class Ridges:
    """Line points: pixels (N, 2), strength in sigmas (N,), on a level scan line or an upright one (N,), that scan
    line's thickness and the band's width along it in pixels (N,).
    """

    pixels_px: FloatArray
    strength: FloatArray
    level: NDArray[np.bool_]
    step_px: FloatArray
    width_px: FloatArray


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows [top, bottom) of the picture reduced by `pitch`, scanned in one direction on lines `thick` cells thick, with
    boxes of these widths.
    """

    top: int
    bottom: int
    level: bool
    pitch: int
    thick: int
    boxes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one band gave: its scan lines, and for each point the cell along and the line, the box and the contrast."""

    band: _Band
    top: int
    lines: Plane
    along: NDArray[np.intp]
    line: NDArray[np.intp]
    box: NDArray[np.intp]
    strength: Plane


class RidgeScanner:
    """Finds line points. Tables depend on the camera; stateless otherwise."""

    def __init__(self, config: RidgeConfig, camera: CameraModel) -> None:
        """Divide the picture into bands by how many pixels 10 mm are wide there."""
        self.config = config
        k = camera.intrinsics
        self.size_px = (k.width_px, k.height_px)
        self._cells: dict[tuple[_Band, tuple[int, ...]], NDArray[np.intp]] = {}
        rows = np.arange(k.height_px, dtype=float)
        middle = np.column_stack((np.full(len(rows), k.cx), rows))
        ground = camera.ground_points(middle)
        reach = np.hypot(ground[:, 0], ground[:, 1])
        seen = np.isfinite(reach) & (reach < config.max_range_m)
        away = np.column_stack((ground + np.array((_LINE_M, 0.0)), np.zeros(len(rows))))
        aside = np.column_stack((ground + np.array((0.0, _LINE_M)), np.zeros(len(rows))))
        with np.errstate(invalid="ignore"):
            across = np.linalg.norm(camera.project(away) - middle, axis=1)
            along = np.linalg.norm(camera.project(aside) - middle, axis=1)
        c = config
        self._bands = []
        for width, level, low, high, pitch, thick, boxes in (
            (across, False, 0.0, 0.6, 1, c.columns_px, (1, 3)),
            (across, False, 0.6, 2.0, 1, c.columns_px, (3,)),
            (across, False, 2.0, np.inf, _REDUCED, max(1, c.columns_px // 2), (3, 7)),
            (along, True, 0.0, 4.0, 1, c.rows_px, (5,)),
            (along, True, 4.0, np.inf, _REDUCED, max(1, c.rows_px // 2), (3, 9)),
        ):
            rows = np.flatnonzero(seen & (width > low) & (width <= high))
            if len(rows) >= 8:
                self._bands.append(_Band(int(rows[0]) // pitch, int(rows[-1]) // pitch + 1, level, pitch, thick, boxes))

    def scan(self, grey: Plane, mask: NDArray[np.bool_]) -> Ridges:
        """Return the line points of a picture.

        Args:
            grey: (H, W) uint8, the size of the camera's picture.
            mask: (rows, columns) bool, any size: where carpet and what lies on it is (`CarpetScanner.carpet_mask`).
        """
        small = grey
        for _ in range(2):
            small = np.asarray(cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2)))
        parts = [
            part
            for band in self._bands
            if (part := self._scan_band(grey if band.pitch == 1 else small, mask, band)) is not None
        ]
        if not parts:
            return Ridges(np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool), np.zeros(0), np.zeros(0))
        counts = [len(part.along) for part in parts]
        centre, width = _centroids(parts)

        def each(values: list[float]) -> FloatArray:
            return np.repeat(np.array(values), counts)

        level = each([part.band.level for part in parts]).astype(bool)
        pitch = each([part.band.pitch for part in parts])
        thick = each([part.band.pitch * part.band.thick for part in parts])
        along = (centre + 0.5) * pitch - 0.5
        across = (np.concatenate([part.line for part in parts]) + 0.5) * thick - 0.5
        top = each([part.band.pitch * part.top for part in parts])
        pixels = np.stack((np.where(level, along, across), np.where(level, across, along) + top), axis=1)
        strength = np.concatenate([part.strength for part in parts]).astype(float)
        return Ridges(pixels, strength, level, thick, width * pitch)

    def _scan_band(self, picture: Plane, mask: NDArray[np.bool_], band: _Band) -> _Part | None:
        height, columns = picture.shape
        largest = band.boxes[-1]
        # Upright scan lines need rows beyond the band to compare with.
        more = 0 if band.level else largest + _offset(largest) + 2
        top, bottom = max(0, band.top - more), min(height, band.bottom + more)
        across, down = (1, band.thick) if band.level else (band.thick, 1)
        bottom -= (bottom - top) % down
        cut = picture[top:bottom, : columns - columns % across]
        size = (cut.shape[1] // across, cut.shape[0] // down)
        if min(size) < 2:
            return None
        # Scan along axis 0.
        sums = np.asarray(cv2.boxFilter(cut, cv2.CV_16U, (across, down), normalize=False))
        sums = sums[down // 2 :: down, across // 2 :: across][: size[1], : size[0]]
        lines = np.ascontiguousarray(sums.T if band.level else sums, dtype=np.float32) * np.float32(
            1.0 / (across * down)
        )
        inside = self._mask_cells(mask, lines.shape, band, top, (height, columns))
        contrasts = self._contrasts(lines, inside, band)
        if not contrasts:
            return None
        best = contrasts[0]
        for other in contrasts[1:]:
            best = np.maximum(best, other)
        highest = np.asarray(cv2.dilate(best, _ALONG))
        peak = np.flatnonzero((best >= highest) & inside & (best >= np.float32(self.config.gate)))
        along, line = np.divmod(peak, lines.shape[1])
        if not band.level:
            kept = (top + along >= band.top) & (top + along < band.bottom)
            peak, along, line = peak[kept], along[kept], line[kept]
        if not len(peak):
            return None
        which = np.argmax([contrast.ravel()[peak] for contrast in contrasts], axis=0)
        return _Part(band, top, lines, along, line, np.asarray(band.boxes)[which], best.ravel()[peak])

    def _mask_cells(
        self, mask: NDArray[np.bool_], shape: tuple[int, ...], band: _Band, top: int, size: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return the carpet mask at each cell of a band's scan lines (nearest neighbour)."""
        key = (band, mask.shape)
        if key not in self._cells:
            along, across = np.arange(shape[0]) + 0.5, (np.arange(shape[1]) + 0.5) * band.thick
            v, u = (across[None, :] + top, along[:, None]) if band.level else (along[:, None] + top, across[None, :])
            rows = np.minimum((v * mask.shape[0] / size[0]).astype(np.intp), mask.shape[0] - 1)
            columns = np.minimum((u * mask.shape[1] / size[1]).astype(np.intp), mask.shape[1] - 1)
            self._cells[key] = rows * mask.shape[1] + columns
        return mask.take(self._cells[key])

    def _contrasts(self, lines: Plane, carpet: NDArray[np.bool_], band: _Band) -> list[Plane]:
        """Return the contrast to the brighter side in sigmas for each box width; none where no carpet is."""
        sample = (slice(None, None, 5), slice(None, None, 4))
        inside = np.flatnonzero(carpet[sample])
        if len(inside) < 30:
            return []
        level = _median(lines[sample].take(inside))
        found = []
        for box in band.boxes:
            offset = _offset(box)
            if lines.shape[0] < 2 * offset + box:
                continue
            mean = np.asarray(cv2.blur(lines, (1, box), borderType=cv2.BORDER_REPLICATE))
            padded = np.asarray(cv2.copyMakeBorder(mean, offset, offset, 0, 0, cv2.BORDER_REPLICATE))
            before, after = padded[: -2 * offset], padded[2 * offset :]
            even = (mean[sample] - 0.5 * (before[sample] + after[sample])).take(inside)
            sigma = max(
                1.4826 * _median(np.abs(even)), _LEAST_SIGMA, self.config.min_contrast * level / self.config.gate
            )
            contrast = np.maximum(before, after)
            np.subtract(mean, contrast, out=contrast)
            contrast *= np.float32(1.0 / sigma)
            found.append(contrast)
        return found


def _median(values: Plane) -> float:
    """Return the upper median: np.median without its care for NaN and axes, three times as fast on a thousand."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _offset(box: int) -> int:
    """Return how far beside a box the carpet is measured: close by, since its streaks are as wide as far lines."""
    return max(box, 2) if box <= 3 else (3 * box + 1) // 2


def _centroids(parts: list[_Part]) -> tuple[FloatArray, FloatArray]:
    """Return centre and width of each band along its scan line, by what rises above a third of its contrast."""
    box = np.concatenate([part.box for part in parts])
    reach = int(box.max()) + 1
    steps = np.arange(-reach, reach + 1)
    window = np.concatenate(
        [part.lines[np.clip(part.along[:, None] + steps, 0, len(part.lines) - 1), part.line[:, None]] for part in parts]
    )
    away = np.abs(steps)
    near = (away <= (0.75 * box + 0.75)[:, None]).astype(np.float32)
    beside = ((away >= box[:, None]) & (away <= box[:, None] + 1)).astype(np.float32)
    base = (window * beside).sum(axis=1) / beside.sum(axis=1)
    weight = (window - base[:, None]) * near
    weight -= 0.33 * weight.max(axis=1, keepdims=True)
    weight = np.maximum(weight, 0.0) * near
    width = np.count_nonzero(weight > 1e-4, axis=1).astype(float)
    weight += 1e-6 * near
    shift = (weight @ steps.astype(np.float32)) / weight.sum(axis=1)
    centre: FloatArray = np.concatenate([part.along for part in parts]) + shift.astype(float)
    return centre, width
