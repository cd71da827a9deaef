"""Anchors of the SSD: default boxes per feature map, from one small specification that travels with the weights.

Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 2; shapes are given directly in input pixels
because three classes of known size need no scale heuristics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class AnchorSpec:
    """Which default boxes a network has.

    Args:
        input_size_px: (width, height) of the network's input.
        strides_px: stride of each head's feature map, finest first.
        shapes_px: for each head the (width, height) of its anchors, in input pixels.
    """

    input_size_px: tuple[int, int]
    strides_px: tuple[int, ...]
    shapes_px: tuple[tuple[tuple[float, float], ...], ...]

    def __post_init__(self) -> None:
        if len(self.strides_px) != len(self.shapes_px):
            raise ValueError(f"{len(self.strides_px)} strides but {len(self.shapes_px)} groups of anchor shapes")
        if min(self.input_size_px) <= 0 or min(self.strides_px, default=0) <= 0:
            raise ValueError("input size and strides must be positive")

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Columns and rows of each feature map: every stride-2 layer rounds up."""
        width, height = self.input_size_px
        return tuple((math.ceil(width / s), math.ceil(height / s)) for s in self.strides_px)

    @property
    def count(self) -> int:
        """Number of anchors, A."""
        return sum(c * r * len(shapes) for (c, r), shapes in zip(self.grids, self.shapes_px, strict=True))

    def boxes(self) -> NDArray[np.float32]:
        """Return every anchor as (A, 4) float32 x_centre, y_centre, width, height in input pixels.

        Order: head by head, then row, column, shape: that of a (rows, columns, shapes) head output, flattened.
        """
        parts = []
        for stride, (columns, rows), shapes in zip(self.strides_px, self.grids, self.shapes_px, strict=True):
            grid = np.empty((rows, columns, len(shapes), 4), np.float32)
            grid[..., 0] = ((np.arange(columns) + 0.5) * stride)[None, :, None]
            grid[..., 1] = ((np.arange(rows) + 0.5) * stride)[:, None, None]
            grid[..., 2:] = np.asarray(shapes, np.float32)
            parts.append(grid.reshape(-1, 4))
        return np.concatenate(parts)
