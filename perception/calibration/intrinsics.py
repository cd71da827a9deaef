"""Focal lengths, principal point and distortion from pictures of a board (Zhang 2000, by OpenCV), judged on views
that the fit has not seen; refused, with the mend, where the pictures cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibration.board import Board, BoardKind
from perception.calibration.board_finder import BoardView, find_board, has_markers, other_size
from perception.calibration.board_views import ViewCollector, ViewConfig, missing
from perception.camera.lens import Distortion, valid_radius
from perception.camera.parameters import CameraIntrinsics
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray

Picture = tuple[str, NDArray[np.uint8]]

LENSES: dict[str, int] = {
    "no distortion": cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST,
    "k1": cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST,
    "k1 k2": cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST,
    "k1 k2 p1 p2": cv2.CALIB_FIX_K3,
    "k1 k2 p1 p2 k3": 0,
}
"""Lens models, the simplest first, as flags of OpenCV."""

_GAIN = 0.993
"""A richer lens must lower the held-out error to this share to be worth its parameters."""

MAX_RMS_PX = 1.0
MIN_TILT_RAD = math.radians(12.0)
MAX_FOCAL_SIGMA = 0.01


@dataclass(frozen=True, kw_only=True)
class IntrinsicsFit:
    """The result.

    `sigmas` are those of fx, fy, cx, cy (pixels). `residuals_px` (per view, (N, 2)) are observed minus projected;
    `rms_px` over all corners in sample, `held_out_px` on views left out of the fit (their poses alone are fitted),
    `lens` the model that was chosen and `tried` the held-out error of each. `dropped` names views that did not fit.
    """

    intrinsics: CameraIntrinsics
    sigmas: tuple[float, float, float, float]
    views: tuple[BoardView, ...]
    residuals_px: tuple[FloatArray, ...]
    rms_px: float
    held_out_px: float
    lens: str
    tried: dict[str, float]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def collect(pictures: Iterable[Picture], board: Board, config: ViewConfig | None = None) -> ViewCollector:
    """Look for the board in all pictures and keep those that are sharp and show something new.

    Raises:
        CalibrationError: no picture, pictures of different sizes, no board in any of them (and which board is there
            instead), or blurred ones only.
    """
    config = config or ViewConfig()
    collector: ViewCollector | None = None
    looked = 0
    empty: list[NDArray[np.uint8]] = []
    for name, image in pictures:
        looked += 1
        size = (image.shape[1], image.shape[0])
        collector = collector or ViewCollector(config, size)
        if size != collector.size_px:
            raise CalibrationError(
                f"{name} is {size[0]}x{size[1]}, the pictures before it {collector.size_px[0]}x{collector.size_px[1]}",
                hint="take all pictures with one camera at one resolution: the one that it plays with",
            )
        view = find_board(image, board, name)
        if view is not None:
            collector.offer(view)
        elif len(empty) < 4:
            empty.append(image)
    if collector is None:
        raise CalibrationError("there is no picture to look at", hint="give a video or a folder of .jpg or .png files")
    if not collector.views:
        raise _nothing(collector, looked, empty, board)
    return collector


def _nothing(
    collector: ViewCollector, looked: int, empty: Sequence[NDArray[np.uint8]], board: Board
) -> CalibrationError:
    if collector.blurred:
        return CalibrationError(
            f"the board is blurred in all {collector.blurred} pictures that show it",
            hint="hold it still for a second at each place, with more light (shorter exposure), and focus the lens",
        )
    for image in empty:
        if has_markers(image, Board()) >= 4:
            if board.kind is BoardKind.CHESSBOARD:
                return CalibrationError("this is a ChArUco board, not a chessboard", hint="add --kind charuco")
            return CalibrationError(
                f"markers are seen, but no board of {board.columns}x{board.rows} squares",
                hint="check --squares; boards written by `blackout calibrate board` work",
            )
        plain = replace(board, kind=BoardKind.CHESSBOARD)
        size = other_size(image, plain)
        if board.kind is BoardKind.CHESSBOARD and size is not None:
            return CalibrationError(
                f"this is not a board of {board.columns}x{board.rows} squares, but of {size[0]}x{size[1]}",
                hint=f"add --squares {size[0]}x{size[1]} (squares, not inner corners)",
            )
        if board.kind is BoardKind.CHARUCO and (size is not None or find_board(image, plain) is not None):
            return CalibrationError(
                "this is a chessboard without markers, or they are too small or blurred to be read",
                hint="add --kind chessboard, or hold the board still, nearer, in more light",
            )
    whole = "; a chessboard must be wholly in the picture" if board.kind is BoardKind.CHESSBOARD else ""
    return CalibrationError(
        f"no {board.text()} in any of {looked} pictures{whole}",
        hint="check --kind and --squares (squares, not inner corners), light and focus",
    )


def fit_intrinsics(
    views: Sequence[BoardView], size_px: tuple[int, int], config: ViewConfig | None = None
) -> IntrinsicsFit:
    """Fit the lens to views of a board.

    Args:
        views: of one camera at one picture size; see `collect`.
        size_px: (width, height).
        config: what is asked of the views.

    Raises:
        CalibrationError: too few views, all frontal, too small a part of the picture covered, a focal length that
            these views do not tell, or corners that no lens explains.
    """
    config = config or ViewConfig()
    _check_views(views, size_px, config)
    views, dropped = _without_misfits(list(views), size_px)
    tried = {name: _held_out(views, size_px, flags) for name, flags in LENSES.items()}
    lens, best = "no distortion", tried["no distortion"]
    for name, error in tried.items():
        if error < _GAIN * best:
            lens, best = name, error
    rms, matrix, lens_k, turns, moves, sigmas = _calibrate(views, size_px, LENSES[lens])
    k = [float(v) for v in np.concatenate((lens_k.ravel(), np.zeros(5)))[:5]]
    distortion: Distortion = (k[0], k[1], k[2], k[3], k[4])
    try:
        intrinsics = CameraIntrinsics(
            width_px=size_px[0],
            height_px=size_px[1],
            fx=float(matrix[0, 0]),
            fy=float(matrix[1, 1]),
            cx=float(matrix[0, 2]),
            cy=float(matrix[1, 2]),
            distortion=distortion,
        )
    except ValueError as error:
        raise CalibrationError(
            f"the fit ends at a lens that cannot be: {error}",
            hint="more views, tilted to all sides, all over the picture",
        ) from error
    _check_fit(intrinsics, rms, sigmas)
    residuals = tuple(
        view.corners_px - np.asarray(cv2.projectPoints(view.board_m, r, t, matrix, lens_k)[0]).reshape(-1, 2)
        for view, r, t in zip(views, turns, moves, strict=True)
    )
    notes = [f"would be better still with: {wish}" for wish in missing(views, size_px, config)]
    return IntrinsicsFit(
        intrinsics=intrinsics,
        sigmas=sigmas,
        views=tuple(views),
        residuals_px=residuals,
        rms_px=float(rms),
        held_out_px=tried[lens],
        lens=lens,
        tried=tried,
        dropped=tuple(dropped),
        notes=tuple(notes),
    )


def _check_views(views: Sequence[BoardView], size_px: tuple[int, int], config: ViewConfig) -> None:
    wishes = missing(views, size_px, config)
    wish = "; ".join(wishes) or "more pictures"
    if len(views) < config.min_views:
        raise CalibrationError(
            f"{len(views)} different sharp views of the board are too few: {config.min_views} are needed", hint=wish
        )
    leaning = sum(view.tilt_rad >= MIN_TILT_RAD for view in views)
    if leaning < 4:
        raise CalibrationError(
            f"the board is seen from straight ahead in all but {leaning} pictures: the focal length cannot be told "
            "from the distance",
            hint=f"tilt the board by 20 to 45 degrees to all sides; missing: {wish}",
        )
    corners = np.concatenate([view.corners_px for view in views])
    spans = [float(np.ptp(corners[:, i])) / size_px[i] for i in range(2)]
    if min(spans) < 0.55:
        raise CalibrationError(
            f"the board was seen in {spans[0]:.0%} of the picture's width and {spans[1]:.0%} of its height only: "
            "what the lens does outside of that is unknown",
            hint=f"missing: {wish}",
        )


def _check_fit(intrinsics: CameraIntrinsics, rms: float, sigmas: Sequence[float]) -> None:
    if rms > MAX_RMS_PX:
        raise CalibrationError(
            f"corners lie {rms:.1f} px off on average: no lens explains these pictures",
            hint="glue the board to something flat; check --squares; hold still (rolling shutter); one zoom for all",
        )
    share = max(sigmas[0] / intrinsics.fx, sigmas[1] / intrinsics.fy)
    if share > MAX_FOCAL_SIGMA:
        raise CalibrationError(
            f"these views tell the focal length only to {share:.1%}",
            hint="more tilted views (20 to 45 degrees, all sides), some of them near",
        )
    corner = max(
        math.hypot((u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy)
        for u in (0.0, float(intrinsics.width_px))
        for v in (0.0, float(intrinsics.height_px))
    )
    if valid_radius(intrinsics.distortion) < corner:
        raise CalibrationError(
            "the fitted distortion folds back inside the picture: its corners are guessed",
            hint="show the board in the picture's corners, too",
        )


def _calibrate(
    views: Sequence[BoardView], size_px: tuple[int, int], flags: int
) -> tuple[
    float, FloatArray, FloatArray, Sequence[FloatArray], Sequence[FloatArray], tuple[float, float, float, float]
]:
    guess = np.array([[size_px[0], 0.0, 0.5 * size_px[0]], [0.0, size_px[0], 0.5 * size_px[1]], [0.0, 0.0, 1.0]])
    try:
        rms, matrix, lens, turns, moves, spread, _, _ = cv2.calibrateCameraExtended(
            [view.board_m.astype(np.float32) for view in views],
            [view.corners_px.astype(np.float32).reshape(-1, 1, 2) for view in views],
            size_px,
            guess,
            np.zeros(5),
            flags=flags | cv2.CALIB_USE_INTRINSIC_GUESS,
        )
    except cv2.error as error:
        raise CalibrationError(
            f"OpenCV cannot fit these views: {error.err}", hint="more views, tilted to all sides"
        ) from error
    wide = np.asarray(spread).ravel()
    sigmas = (float(wide[0]), float(wide[1]), float(wide[2]), float(wide[3]))
    poses = [[np.asarray(v, dtype=float) for v in rows] for rows in (turns, moves)]
    return float(rms), np.asarray(matrix, float), np.asarray(lens, float), poses[0], poses[1], sigmas


def _without_misfits(views: list[BoardView], size_px: tuple[int, int]) -> tuple[list[BoardView], list[str]]:
    """Drop views whose corners fit far worse than the others': moved, bent or misread boards."""
    _, matrix, lens, turns, moves, _ = _calibrate(views, size_px, LENSES["k1 k2 p1 p2"])
    errors = np.array(
        [
            _rms(view.corners_px - np.asarray(cv2.projectPoints(view.board_m, r, t, matrix, lens)[0]).reshape(-1, 2))
            for view, r, t in zip(views, turns, moves, strict=True)
        ]
    )
    good = errors <= max(3.0 * float(np.median(errors)), 0.3)
    kept = [view for view, keep in zip(views, good, strict=True) if keep]
    return kept, [view.name for view, keep in zip(views, good, strict=True) if not keep]


def _held_out(views: Sequence[BoardView], size_px: tuple[int, int], flags: int, folds: int = 4) -> float:
    """Return the RMS (px) on views left out of the fit, whose poses alone are then fitted."""
    total, count = 0.0, 0
    for fold in range(folds):
        kept = [view for i, view in enumerate(views) if i % folds != fold]
        _, matrix, lens, _, _, _ = _calibrate(kept, size_px, flags)
        for view in views[fold::folds]:
            good, turn, move = cv2.solvePnP(view.board_m, view.corners_px, matrix, lens)
            if good:
                seen = np.asarray(cv2.projectPoints(view.board_m, turn, move, matrix, lens)[0]).reshape(-1, 2)
                total += float(((view.corners_px - seen) ** 2).sum())
                count += len(seen)
    return math.sqrt(total / max(1, count))


def _rms(errors: FloatArray) -> float:
    return math.sqrt(float((errors**2).sum(axis=1).mean()))
