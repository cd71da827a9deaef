"""What the carpet's edge says of the rest of the picture: where there can be floor, and what stands on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Vec2

_STEEP = 1.0
"""A wall 0.17 m beside the camera falls as steeply in the picture; what falls more steeply is a robot or a shadow."""
_GENTLE = 0.4


def floor_hull(
    edge_px: tuple[Vec2, ...], mask: NDArray[np.bool_], size_px: tuple[int, int], boxes_px: tuple[BoxPx, ...] = ()
) -> FloatArray:
    """Return the hull (N, 2) of the floor, left to right: above it, there is none.

    The edge is where the way straight ahead ends, be it at a robot, at its shadow or at a worn patch; floor goes on
    beside and behind those. So the hull spans all carpet that is joined to the picture's foot in any way, to a pixel
    where that is the edge, to a cell of the mask elsewhere. What cuts off its ends steeply is no wall.

    Args:
        edge_px: from `CarpetScanner.scan_with_mask`, not empty.
        mask: from there, too.
        size_px: (width, height) of the picture.
        boxes_px: robots and balls: no edge of the floor.
    """
    edge = np.array(edge_px)
    rows, columns = mask.shape
    cell_u, cell_v = size_px[0] / columns, size_px[1] / rows
    # Bridges of a single cell join what does not belong together.
    firm = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(firm, connectivity=4)
    foot = labels[-rows // 6 :]
    floor = labels == np.argmax(np.bincount(foot[foot > 0], minlength=2))
    top = np.where(floor.any(axis=0), np.argmax(floor, axis=0), rows) * cell_v - 0.5 + cell_v
    column = np.clip(((edge[:, 0] + 0.5) / cell_u).astype(np.intp), 0, columns - 1)
    highest = np.where(edge[:, 1] > top[column] + 2.0 * cell_v, top[column], edge[:, 1])
    free = np.ones(len(edge), bool)
    for x0, y0, x1, _ in boxes_px:
        free &= ~((edge[:, 0] > x0 - 12.0) & (edge[:, 0] < x1 + 12.0) & (highest > y0 - 4.0))
    if free.sum() < 8:
        free[:] = True
    hull = np.array(carpet_hull(tuple(zip(edge[free, 0].tolist(), highest[free].tolist(), strict=True))))
    for end, step in ((0, 1), (-1, -1)):
        while len(hull) > 2 and abs(_slope(hull[end], hull[end + step])) > _STEEP:
            hull = np.delete(hull, end, axis=0)
    ends = []
    for end, step, u in ((0, 1, edge[0, 0]), (-1, -1, edge[-1, 0])):
        if len(hull) > 1 and abs(hull[end, 0] - u) > 1.0:
            slope = float(np.clip(_slope(hull[end], hull[end + step]), -_GENTLE, _GENTLE))
            ends.append((u, hull[end, 1] + slope * (u - hull[end, 0])))
    if ends:
        hull = np.concatenate((hull, ends))
        hull = hull[np.argsort(hull[:, 0], kind="stable")]
    return hull


def floor_is_seen(
    camera: CameraModel, places_m: FloatArray, mask: NDArray[np.bool_], boxes: tuple[BoxPx, ...], tilt_rad: Vec2
) -> NDArray[np.bool_]:
    """Tell for places (N, 2) on the floor, robot frame, whether the picture shows floor there (N,)."""
    pixels = camera.project(np.column_stack((places_m, np.zeros(len(places_m)))), tilt_rad)
    k = camera.intrinsics
    u, v = np.nan_to_num(pixels, nan=-1.0).T
    seen: NDArray[np.bool_] = (u >= 2.0) & (u <= k.width_px - 3.0) & (v >= 2.0) & (v <= k.height_px - 3.0)
    for x0, y0, x1, y1 in boxes:
        seen &= ~((u > x0 - 3.0) & (u < x1 + 3.0) & (v > y0 - 3.0) & (v < y1 + 3.0))
    rows = np.clip((v + 0.5) * mask.shape[0] / k.height_px, 0, mask.shape[0] - 1).astype(int)
    columns = np.clip((u + 0.5) * mask.shape[1] / k.width_px, 0, mask.shape[1] - 1).astype(int)
    seen &= mask[rows, columns]
    return seen


def _slope(a: FloatArray, b: FloatArray) -> float:
    return float((b[1] - a[1]) / (b[0] - a[0]))


def carpet_hull(edge_px: tuple[Vec2, ...]) -> tuple[Vec2, ...]:
    """Return the upper convex hull of an edge: walls are straight, so dips are objects that stand on the carpet."""
    hull: list[Vec2] = []
    for u, v in edge_px:
        # A corner on or below the chord from the one before it to the new point (rows grow downwards) is none.
        while len(hull) >= 2:
            (u0, v0), (u1, v1) = hull[-2], hull[-1]
            if (u1 - u0) * (v - v0) > (v1 - v0) * (u - u0):
                break
            hull.pop()
        hull.append((u, v))
    return tuple(hull)


def on_carpet(edge_px: tuple[Vec2, ...], box_px: BoxPx, margin_px: float = 4.0) -> bool:
    """Tell whether a box's foot stands on the carpet: below the hull of the edge, or above it by at most the margin.

    Args:
        edge_px: from `CarpetScanner.scan`; empty means that nothing is known, and everything passes.
        box_px: the box, in pixels of the same picture.
        margin_px: how far above the edge a foot may be.
    """
    if not edge_px:
        return True
    hull = carpet_hull(edge_px)
    column = 0.5 * (box_px[0] + box_px[2]) - 0.5
    limit = float(np.interp(column, [u for u, _ in hull], [v for _, v in hull]))
    return box_px[3] - 0.5 >= limit - margin_px
