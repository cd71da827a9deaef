"""What stands along the carpet's edge, straightened: the picture above and before the wall's foot, column by column.

Through each point of the carpet's edge goes one line of the picture that is upright on the wall and leads towards the
camera on the floor (both lie in the upright plane through the lens). Sampled along these lines, a thing that stands on
the floor is an upright bar, however the camera leans, and how far it stands before the wall can be read in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2

Image = NDArray[np.uint8]

_NODES = 33
"""Columns for which the camera model is asked; between them things change evenly."""
_ABOVE_PX = (12.0, 8.0)
"""So far above where something of the goal's height should end: a mounting may be half a degree off."""
_HEIGHTS = (0.78, 0.69, 0.60, 0.50, 0.41, 0.31, 0.22, 0.125)
"""Samples on the wall, as shares of the goal's height."""
_LEAST_COSINE = 0.35
_REACH_M = 0.6
_REACH_SHARE = 0.6
_FAR_M = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class WallStrip:
    """Samples, K rows by N columns: rows above the goal's height, then on the wall from top to foot, then on the floor.

    Attributes:
        planes: (3, K, N) float32: blue, green, red.
        u_px: (K, N) where each was taken.
        v_px: (K, N).
        before_m: (F, N): how far before the wall's foot, along the line of sight on the floor, each floor row lies.
        range_m: (N,) from the camera's foot to the wall's.
        cosine: (N,) of the angle between the line of sight and the wall's normal, `_LEAST_COSINE` at least.
    """

    planes: NDArray[np.float32]
    u_px: NDArray[np.float32]
    v_px: NDArray[np.float32]
    before_m: NDArray[np.float32]
    range_m: NDArray[np.float32]
    cosine: NDArray[np.float32]

    above: ClassVar[int] = len(_ABOVE_PX)
    foot: ClassVar[int] = len(_ABOVE_PX) + len(_HEIGHTS)
    """The first row on the floor: the carpet's edge itself."""

    def pixel(self, row: int, column: int) -> Vec2:
        """Return where a sample was taken."""
        return float(self.u_px[row, column]), float(self.v_px[row, column])


class StripCutter:
    """Cuts the strip out of pictures of one camera."""

    def __init__(self, camera: CameraModel, goal_height_m: float, *, step_px: int = 2, floor_rows: int = 17) -> None:
        k = camera.intrinsics
        self._camera, self._goal_height_m = camera, goal_height_m
        self.columns_px: FloatArray = np.arange(0.5 * (step_px - 1), k.width_px, step_px)
        self._columns = self.columns_px.astype(np.float32)
        self._nodes = np.linspace(0.0, k.width_px - 1.0, _NODES)
        # Straight lines from node to node, as a matrix: seven rows at once.
        self._spread = np.array([np.interp(self.columns_px, self._nodes, one) for one in np.eye(_NODES)], np.float32)
        self._steps = np.linspace(0.0, 1.0, floor_rows, dtype=np.float32)[:, None]
        self._heights = np.array(_HEIGHTS, np.float32)[:, None]
        self._above_px = np.array(_ABOVE_PX, np.float32)[:, None]

    def cut(self, image_bgr: Image, hull: FloatArray, tilt_rad: Vec2 = (0.0, 0.0)) -> WallStrip:
        """Return the strip along the hull (N, 2) of the carpet's edge (`perception.field.edge.floor_hull`)."""
        at = np.column_stack((self._nodes, np.interp(self._nodes, hull[:, 0], hull[:, 1])))
        floor = self._camera.ground_points(at, tilt_rad)
        eye = self._camera.robot_from_optical(tilt_rad)[1][:2]
        away = floor - eye
        reach = np.hypot(away[:, 0], away[:, 1])
        reach = np.where(reach < _FAR_M, reach, _FAR_M)  # also where it is not a number
        along = np.empty_like(floor)
        along[1:-1] = floor[2:] - floor[:-2]
        along[0], along[-1] = along[1], along[-2]
        cosine = np.abs(away[:, 0] * along[:, 1] - away[:, 1] * along[:, 0])
        cosine /= np.maximum(reach * np.hypot(along[:, 0], along[:, 1]), 1e-6)
        cosine = np.where(cosine > _LEAST_COSINE, cosine, _LEAST_COSINE)
        before = np.minimum(_REACH_M / cosine, _REACH_SHARE * reach)
        both = np.empty((2, _NODES, 3))
        both[0, :, :2], both[0, :, 2] = floor, self._goal_height_m
        both[1, :, :2], both[1, :, 2] = eye + away * ((reach - before) / reach)[:, None], 0.0
        ends = self._camera.project(both, tilt_rad).reshape(2, -1, 2) - at
        rows = np.vstack((ends[0].T, ends[1].T, 1.0 / reach, 1.0 / (reach - before), cosine))
        up_u, up_v, down_u, down_v, far, near, across = np.nan_to_num(rows).astype(np.float32) @ self._spread
        base_v = np.interp(self.columns_px, hull[:, 0], hull[:, 1]).astype(np.float32)
        above = 1.0 + self._above_px / np.maximum(-up_v, 1.0)
        rise = np.concatenate((above, np.broadcast_to(self._heights, (len(self._heights), above.shape[1]))))
        u = np.concatenate((self._columns + rise * up_u, self._columns + self._steps * down_u))
        v = np.concatenate((base_v + rise * up_v, base_v + self._steps * down_v))
        # Rows of the picture go with one over the distance.
        reach = 1.0 / far
        before = reach - 1.0 / (far + self._steps * (near - far))
        samples = cv2.remap(image_bgr, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        planes = np.array(cv2.split(samples), np.float32)
        return WallStrip(planes, u, v, before, reach, across)
