"""Finds a board in a picture: its corners to a fraction of a pixel, how sharp it is, how it lies before the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibration.board import Board, BoardKind
from robot.core.geometry import FloatArray

MIN_CORNERS = 8
_EDGE_SAMPLES = 25


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardView:
    """One picture of a board.

    `corners_px` (N, 2) are found, `board_m` (N, 3) the same on the board. `edge_px` is how wide black turns to white:
    2 is sharp, 6 blurred. `fill` is the share of the picture's width or height that the board takes; `tilt_rad` how
    much it leans (0: frontal) and `lean_rad` which way; by a guessed focal length: only for guidance.
    """

    name: str
    size_px: tuple[int, int]
    corners_px: FloatArray
    board_m: FloatArray
    edge_px: float
    fill: float
    tilt_rad: float
    lean_rad: float

    def centre_px(self) -> FloatArray:
        """Return the middle of its corners (2,)."""
        return np.asarray(self.corners_px.mean(axis=0))


def find_board(image: NDArray[np.uint8], board: Board, name: str = "") -> BoardView | None:
    """Look for the board.

    Args:
        image: grey or BGR.
        board: what was printed.
        name: of the picture, for reports.

    Returns:
        None when it is not (wholly, for a chessboard) in the picture.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image, np.uint8)
    found = _charuco(grey, board) if board.kind is BoardKind.CHARUCO else _chessboard(grey, board.columns, board.rows)
    if found is None:
        return None
    corners, numbers = found
    places = board.corners_m[numbers]
    size = (grey.shape[1], grey.shape[0])
    fill = max((corners[:, i].max() - corners[:, i].min()) / size[i] for i in range(2))
    tilt, lean = _attitude(corners, places, size)
    return BoardView(
        name=name,
        size_px=size,
        corners_px=corners,
        board_m=places,
        edge_px=_edge_width(grey, corners, numbers, board),
        fill=float(fill),
        tilt_rad=tilt,
        lean_rad=lean,
    )


def other_size(image: NDArray[np.uint8], board: Board) -> tuple[int, int] | None:
    """Return the size (columns, rows) of a chessboard that is there in place of the one that was named, or None."""
    if board.kind is not BoardKind.CHESSBOARD:
        return None
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image, np.uint8)
    c, r = board.columns, board.rows
    # Most mistakes: inner corners counted, squares missed, sides swapped; then the common sizes.
    sizes = [(c + 1, r + 1), (c - 1, r - 1), (c + 1, r), (c, r + 1), (c - 1, r), (c, r - 1), (r, c)]
    sizes += [(10, 7), (9, 6), (8, 6), (7, 5), (9, 7), (12, 9), (8, 8)]
    for columns, rows in dict.fromkeys(sizes):
        if (columns, rows) == (c, r) or min(columns, rows) < 4:
            continue
        quick = cv2.CALIB_CB_FAST_CHECK | cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
        if cv2.findChessboardCorners(grey, (columns - 1, rows - 1), flags=quick)[0]:
            return columns, rows
    return None


def has_markers(image: NDArray[np.uint8], board: Board) -> int:
    """Return how many of a ChArUco board's kind of markers are seen, whatever the board's size."""
    _, numbers, _ = cv2.aruco.ArucoDetector(board.charuco.getDictionary()).detectMarkers(image)
    return 0 if numbers is None else len(numbers)


def _chessboard(grey: NDArray[np.uint8], columns: int, rows: int) -> tuple[FloatArray, NDArray[np.intp]] | None:
    size = (columns - 1, rows - 1)
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
    good, corners = cv2.findChessboardCornersSB(grey, size, flags=flags)
    if not good or corners is None:
        return None
    points = np.asarray(corners, dtype=float).reshape(-1, 2)
    # Either end of a board may come first. Mirrored it may not be: then x would not be right of y.
    along, down = points[columns - 2] - points[0], points[-(columns - 1)] - points[0]
    if along[0] * down[1] - along[1] * down[0] < 0.0:
        points = points.reshape(rows - 1, columns - 1, 2)[:, ::-1].reshape(-1, 2)
    return points, np.arange(len(points))


def _charuco(grey: NDArray[np.uint8], board: Board) -> tuple[FloatArray, NDArray[np.intp]] | None:
    corners, numbers, _, _ = cv2.aruco.CharucoDetector(board.charuco).detectBoard(grey)
    if corners is None or numbers is None or len(numbers) < MIN_CORNERS:
        return None
    points = np.asarray(corners, dtype=float).reshape(-1, 2)
    # The detector's own refinement uses a fixed window; squares may be smaller than it, or much larger.
    chosen = np.asarray(numbers).ravel().astype(np.intp)
    window = int(np.clip(0.2 * _typical_side(points, chosen, board), 2, 11))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.001)
    raw = np.ascontiguousarray(points.reshape(-1, 1, 2), np.float32)
    flat = np.asarray(cv2.cornerSubPix(grey, raw, (window, window), (-1, -1), stop), dtype=float).reshape(-1, 2)
    on_board = board.corners_m[chosen][:, :2]
    if np.linalg.svd(on_board - on_board.mean(axis=0), compute_uv=False)[1] < 1.5 * board.square_m:
        return None  # corners of one row: no plane
    return flat, chosen


def _neighbours(numbers: NDArray[np.intp], board: Board) -> list[tuple[int, int]]:
    """Return pairs of positions in `numbers` of corners beside or below each other."""
    at = {int(n): k for k, n in enumerate(numbers)}
    wide = board.columns - 1
    pairs = []
    for n, k in at.items():
        if (n + 1) % wide and n + 1 in at:
            pairs.append((k, at[n + 1]))
        if n + wide in at:
            pairs.append((k, at[n + wide]))
    return pairs


def _typical_side(points: FloatArray, numbers: NDArray[np.intp], board: Board) -> float:
    sides = [math.dist(points[a], points[b]) for a, b in _neighbours(numbers, board)]
    return float(np.median(sides)) if sides else 20.0


def _edge_width(grey: NDArray[np.uint8], points: FloatArray, numbers: NDArray[np.intp], board: Board) -> float:
    """Return the typical width (px) over which edges of squares change from black to white: contrast over slope."""
    pairs = np.array(_neighbours(numbers, board), dtype=int).reshape(-1, 2)
    if not len(pairs):
        return math.inf
    a, b = points[pairs[:, 0]], points[pairs[:, 1]]
    side = np.hypot(*(b - a).T)
    # Between a square's edge and the marker in it is an eighth of a square.
    share = 0.3 if board.kind is BoardKind.CHESSBOARD else 0.115
    across = np.stack((-(b - a)[:, 1], (b - a)[:, 0]), axis=1) / np.maximum(side, 1e-9)[:, None]
    reach = share * side
    t = np.linspace(-1.0, 1.0, _EDGE_SAMPLES)
    spots = 0.5 * (a + b)[:, None, :] + (t[:, None] * reach[:, None, None]) * across[:, None, :]
    values = np.asarray(
        cv2.remap(
            grey.astype(np.float32),
            spots[..., 0].astype(np.float32),
            spots[..., 1].astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )
    contrast = np.abs(values[:, -1] - values[:, 0])
    step_px = 2.0 * reach / (_EDGE_SAMPLES - 1)
    slope = np.abs(np.diff(values, axis=1)).max(axis=1) / np.maximum(step_px, 1e-9)
    clear = contrast > 20.0
    return float(np.median(contrast[clear] / np.maximum(slope[clear], 1e-6))) if clear.any() else math.inf


def _attitude(corners: FloatArray, places: FloatArray, size: tuple[int, int]) -> tuple[float, float]:
    """Return how much the board leans from frontal and which way, with the focal length guessed as the width."""
    matrix = np.array([[size[0], 0.0, 0.5 * size[0]], [0.0, size[0], 0.5 * size[1]], [0.0, 0.0, 1.0]])
    good, turn, _ = cv2.solvePnP(places, corners, matrix, None, flags=cv2.SOLVEPNP_IPPE)
    if not good:
        return 0.0, 0.0
    normal = np.asarray(cv2.Rodrigues(turn)[0])[:, 2]
    return float(math.acos(min(1.0, abs(normal[2])))), float(math.atan2(normal[1], normal[0]))
