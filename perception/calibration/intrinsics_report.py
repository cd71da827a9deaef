"""What a lens fit came to, for people: text, a table per view, pictures of coverage, residuals, straight rows."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibration.board import Board
from perception.calibration.board_views import cells
from perception.calibration.intrinsics import IntrinsicsFit

Image = NDArray[np.uint8]
_GAIN = 60.0
"""Residuals are drawn this many times enlarged."""


def report_text(fit: IntrinsicsFit, board: Board) -> str:
    """Return the report: parameters with uncertainties, lens models compared, views, what would make it better."""
    k = fit.intrinsics
    count = sum(len(view.corners_px) for view in fit.views)
    lines = [
        f"{board.text()}: {len(fit.views)} views, {count} corners, {k.width_px}x{k.height_px}",
        f"reprojection error {fit.rms_px:.3f} px RMS in sample, {fit.held_out_px:.3f} px on views left out",
        "",
    ]
    for name, sigma in zip(("fx", "fy", "cx", "cy"), fit.sigmas, strict=True):
        lines.append(f"{name:10s} {getattr(k, name):10.3f} +- {sigma:.3f} px")
    lines.append(f"distortion k1 k2 p1 p2 k3: {', '.join(f'{v:.5f}' for v in k.distortion)}")
    wide = 2.0 * math.degrees(math.atan(0.5 * k.width_px / k.fx))
    lines += [f"field of view {wide:.1f} degrees across", "", "lens model        left-out error (px)"]
    for name, error in fit.tried.items():
        lines.append(f"{name:16s}  {error:.4f}{'   <- taken' if name == fit.lens else ''}")
    tilts = [math.degrees(view.tilt_rad) for view in fit.views]
    fills = [view.fill for view in fit.views]
    lines += [
        "",
        f"tilts {min(tilts):.0f} to {max(tilts):.0f} degrees; the board fills {min(fills):.0%} to {max(fills):.0%}; "
        f"corners per part of the picture: {cells(fit.views, (k.width_px, k.height_px)).tolist()}",
    ]
    if fit.dropped:
        lines.append(f"left out, since their corners fit no common lens: {', '.join(fit.dropped)}")
    lines += [f"note: {note}" for note in fit.notes]
    return "\n".join(lines)


def write_report(folder: Path, fit: IntrinsicsFit, board: Board, sample: Image | None = None) -> list[Path]:
    """Write report.txt, views.csv, coverage.png, residuals.png and (from `sample`) undistorted.png."""
    folder.mkdir(parents=True, exist_ok=True)
    text, table = folder / "report.txt", folder / "views.csv"
    text.write_text(report_text(fit, board) + "\n", encoding="utf-8")
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["picture", "corners", "rms_px", "edge_px", "tilt_deg", "fill"])
        for view, errors in zip(fit.views, fit.residuals_px, strict=True):
            rms = math.sqrt(float((errors**2).sum(axis=1).mean()))
            row = (rms, view.edge_px, math.degrees(view.tilt_rad), view.fill)
            writer.writerow([view.name, len(errors), *(f"{v:.3f}" for v in row)])
    pictures = {"coverage.png": _coverage(fit), "residuals.png": _residuals(fit)}
    if sample is not None:
        pictures["undistorted.png"] = _straight(fit, sample)
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / name), picture)
    return [text, table, *(folder / name for name in pictures)]


def _canvas(fit: IntrinsicsFit, scale: int = 2) -> Image:
    return np.full((fit.intrinsics.height_px * scale, fit.intrinsics.width_px * scale, 3), 250, np.uint8)


def _put(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int] = (60, 60, 60)) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)


def _coverage(fit: IntrinsicsFit) -> Image:
    """Draw every corner that was used, one colour per view, over the 3 x 4 parts of the picture."""
    image = _canvas(fit)
    height, width = image.shape[:2]
    count = cells(fit.views, (fit.intrinsics.width_px, fit.intrinsics.height_px))
    for row in range(count.shape[0]):
        for column in range(count.shape[1]):
            x0, y0 = width * column // count.shape[1], height * row // count.shape[0]
            x1, y1 = width * (column + 1) // count.shape[1], height * (row + 1) // count.shape[0]
            if count[row, column] < 8:
                cv2.rectangle(image, (x0, y0), (x1, y1), (200, 200, 255), -1)
            cv2.rectangle(image, (x0, y0), (x1, y1), (210, 210, 210), 1)
            _put(image, f"{count[row, column]} corners", (x0 + 8, y1 - 8))
    for index, view in enumerate(fit.views):
        hue = np.array([[[(37 * index) % 180, 200, 190]]], np.uint8)
        blue, green, red = (int(v) for v in np.asarray(cv2.cvtColor(hue, cv2.COLOR_HSV2BGR))[0, 0])
        for u, v in view.corners_px:
            cv2.circle(image, (round(2 * u), round(2 * v)), 3, (blue, green, red), -1, cv2.LINE_AA)
    _put(image, f"{len(fit.views)} views", (10, 20))
    return image


def _residuals(fit: IntrinsicsFit) -> Image:
    """Draw where each corner was seen against where the fit puts it, enlarged; a pattern would be a wrong lens."""
    image = _canvas(fit)
    for view, errors in zip(fit.views, fit.residuals_px, strict=True):
        for (u, v), (du, dv) in zip(view.corners_px, errors, strict=True):
            start = (round(2 * u), round(2 * v))
            end = (round(2 * (u + _GAIN * du)), round(2 * (v + _GAIN * dv)))
            cv2.line(image, start, end, (30, 30, 200), 1, cv2.LINE_AA)
            cv2.circle(image, start, 1, (90, 90, 90), -1)
    _put(image, f"observed - projected, {_GAIN:g} times; RMS {fit.rms_px:.3f} px", (10, 20))
    return image


def _straight(fit: IntrinsicsFit, sample: Image) -> Image:
    """Put a picture beside its undistorted self, with straight threads to judge the board's rows by."""
    k = fit.intrinsics
    matrix = np.array([[k.fx, 0.0, k.cx], [0.0, k.fy, k.cy], [0.0, 0.0, 1.0]])
    flat = np.asarray(cv2.undistort(sample, matrix, np.array(k.distortion)), np.uint8)
    pair = []
    for title, image in (("as taken", sample), ("undistorted", flat)):
        shown = image.copy()
        for share in (0.1, 0.5, 0.9):
            row, column = round(share * k.height_px), round(share * k.width_px)
            cv2.line(shown, (0, row), (k.width_px, row), (0, 200, 255), 1)
            cv2.line(shown, (column, 0), (column, k.height_px), (0, 200, 255), 1)
        _put(shown, title, (8, 20), (0, 0, 255))
        pair.append(shown)
    return np.hstack(pair)
