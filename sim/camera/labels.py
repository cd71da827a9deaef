"""Boxes of what is visible in a rendered picture, as a human annotator would draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from robot.core.messages import BoxPx, ObjectClass


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """One object: box around its visible pixels (edges, see `robot.core.messages.BoxPx`) and how much of it shows."""

    object_class: ObjectClass
    box_px: BoxPx
    visible_fraction: float

    def yolo_line(self, size_px: tuple[int, int]) -> str:
        """Return `class x_centre y_centre width height`, relative to the picture's (width, height)."""
        (x0, y0, x1, y1), (w, h) = self.box_px, size_px
        relative = ((x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h)
        return f"{int(self.object_class)} " + " ".join(f"{v:.6f}" for v in relative)


@dataclass(frozen=True, slots=True)
class FullExtent:
    """Area of an object in pixels if nothing hid it: all of it, and the part inside the picture."""

    all_px: float = 0.0
    inside_px: float = 0.0


def full_extent(points_px: NDArray[np.float64], size_px: tuple[int, int]) -> FullExtent:
    """Return the areas of the convex hull of projected points (N, 2) for a picture of (width, height)."""
    hull = cv2.convexHull(points_px.astype(np.float32))
    if len(hull) < 3:
        return FullExtent()
    width, height = size_px
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inside, _ = cv2.intersectConvexConvex(hull, frame)
    return FullExtent(float(cv2.contourArea(hull)), float(inside))


def visible_labels(
    ids: NDArray[np.int16],
    classes: Sequence[ObjectClass],
    extents: Sequence[FullExtent],
    *,
    min_visible: float = 0.2,
    min_inside: float = 0.1,
    min_height_px: float = 3.0,
) -> tuple[Label, ...]:
    """Return the labels of one id picture.

    Args:
        ids: (height, width), index of the object that each pixel shows, or -1.
        classes: class of each object.
        extents: unoccluded area of each object.
        min_visible: objects of whose part inside the picture less is to be seen are not labelled; nobody boxes them.
        min_inside: nor are objects that show less of their whole extent, cut by the picture's edge.
        min_height_px: nor are smaller ones.
    """
    labels = []
    for k, (kind, extent) in enumerate(zip(classes, extents, strict=True)):
        mask = ids == k
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0 or extent.inside_px <= 0.0:
            continue
        columns = np.flatnonzero(mask.any(axis=0))
        visible_px = float(np.count_nonzero(mask))
        fraction = min(1.0, visible_px / extent.all_px)
        shown = visible_px >= min_visible * extent.inside_px and fraction >= min_inside
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        if shown and box[3] - box[1] >= min_height_px and box[2] - box[0] >= min_height_px:
            labels.append(Label(object_class=kind, box_px=box, visible_fraction=fraction))
    return tuple(labels)
