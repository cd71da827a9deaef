"""Pictures of a calibration board through a lens: distortion, softness, motion, noise and JPEG, from a known camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibration.board import Board
from perception.camera.lens import undistort
from perception.camera.parameters import CameraIntrinsics

_SUPER = 2
"""Sub-pixels per pixel and direction: what a lens and a pixel's area average."""
_TEXTURE_PX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardPose:
    """Where a board's middle is before the camera (optical frame: x right, y down, z ahead), and how it leans."""

    x_m: float
    y_m: float
    z_m: float
    turn_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Rotation vector."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureStyle:
    """Softness of the lens (sigma, px), smear by motion (px along x), noise (grey levels), light and JPEG quality."""

    softness_px: float = 0.7
    smear_px: float = 0.0
    noise: float = 3.0
    white: float = 205.0
    black: float = 35.0
    shade: float = 0.25
    jpeg_quality: int = 85


class BoardRenderer:
    """Renders one board through one lens; the rays of all sub-pixels are computed once."""

    def __init__(self, board: Board, lens: CameraIntrinsics) -> None:
        self.board, self.lens = board, lens
        self._texture = board.picture(_TEXTURE_PX, margin=0.5).astype(np.float32)
        width, height = lens.width_px * _SUPER, lens.height_px * _SUPER
        u, v = np.meshgrid((np.arange(width) + 0.5) / _SUPER - 0.5, (np.arange(height) + 0.5) / _SUPER - 0.5)
        x, y = undistort((u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy, lens.distortion)
        self._x, self._y = np.asarray(x, np.float32), np.asarray(y, np.float32)

    def render(self, pose: BoardPose, style: PictureStyle, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return the picture (H, W, 3) of the board on a cluttered grey ground."""
        board, lens, x, y = self.board, self.lens, self._x, self._y
        turn = np.asarray(cv2.Rodrigues(np.array(pose.turn_rad))[0], dtype=float)
        middle = np.array([pose.x_m, pose.y_m, pose.z_m])
        # A board point is middle + a turn_x + b turn_y; the ray (x, y, 1) meets it where three planes do: a homography.
        from_board = np.stack((turn[:, 0], turn[:, 1], middle), axis=1)
        h = np.linalg.inv(from_board).astype(np.float32)
        w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        scale = np.float32(_TEXTURE_PX / board.square_m)
        sides = (board.columns, board.rows)
        s, t = (
            scale * (h[i, 0] * x + h[i, 1] * y + h[i, 2]) / w + np.float32((0.5 * sides[i] + 0.5) * _TEXTURE_PX - 0.5)
            for i in range(2)
        )
        # A texture finer than the picture's sub-pixels would alias: blur it by about one of them.
        grain = pose.z_m / lens.fx / _SUPER * float(scale)
        texture = np.asarray(cv2.GaussianBlur(self._texture, (0, 0), max(0.3, 0.45 * grain)), np.float32)
        shown = cv2.remap(texture, s, t, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=-1e4)
        clutter = cv2.resize(rng.uniform(40.0, 190.0, (9, 12)).astype(np.float32), x.shape[::-1])
        paper = style.black + (style.white - style.black) / 255.0 * shown
        picture = np.where(shown < 0.0, clutter, paper).astype(np.float32)
        small = cv2.resize(picture, (lens.width_px, lens.height_px), interpolation=cv2.INTER_AREA)
        return _develop(np.asarray(small, np.float32), lens, style, rng)


def _develop(
    grey: NDArray[np.float32], lens: CameraIntrinsics, style: PictureStyle, rng: np.random.Generator
) -> NDArray[np.uint8]:
    image = np.asarray(cv2.GaussianBlur(grey, (0, 0), style.softness_px), np.float32)
    smear = round(style.smear_px)
    if smear > 1:
        image = np.asarray(cv2.blur(image, (smear, 1)), np.float32)
    across = np.linspace(-1.0, 1.0, lens.width_px, dtype=np.float32)[None, :]
    image = image * (1.0 - style.shade * 0.5 * (1.0 + across)) + style.noise * rng.standard_normal(
        image.shape, np.float32
    )
    colour = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    ok, data = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, style.jpeg_quality])
    assert ok
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def board_poses(
    board: Board, lens: CameraIntrinsics, rng: np.random.Generator, *, max_tilt_rad: float = math.radians(45.0)
) -> Iterator[BoardPose]:
    """Yield poses as a person shows a board: all over the picture, near and far, leaning to all sides.

    The board's middle is always in the picture, and the board mostly.
    """
    size = max(board.columns * board.square_m, board.rows * board.square_m)
    while True:
        fill = float(rng.uniform(0.3, 0.85))
        z = size * lens.fx / (fill * lens.width_px)
        room = 0.5 * max(0.1, 1.0 - 0.85 * fill)
        u = lens.width_px * (0.5 + room * float(rng.uniform(-1.0, 1.0)))
        v = lens.height_px * (0.5 + room * float(rng.uniform(-1.0, 1.0)))
        lean, way = max_tilt_rad * math.sqrt(float(rng.uniform())), float(rng.uniform(-math.pi, math.pi))
        yield BoardPose(
            x_m=(u - lens.cx) / lens.fx * z,
            y_m=(v - lens.cy) / lens.fy * z,
            z_m=z,
            turn_rad=(lean * math.cos(way), lean * math.sin(way), float(rng.normal(0.0, 0.1))),
        )
