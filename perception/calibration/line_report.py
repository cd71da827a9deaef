"""What a fit to field lines or field points came to, for people: text and pictures."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibration.field_points import FieldPoints, PointFit
from perception.calibration.line_fit import LineFit
from perception.camera.model import CameraModel
from perception.camera.parameters import MOUNTING
from perception.field.model import FieldModel
from robot.core.geometry import FloatArray

Image = NDArray[np.uint8]
_SCALE = 110.0
"""Pixels per metre of the map."""


def mounting_table(names: Sequence[str], values: FloatArray, sigmas: FloatArray, start: CameraModel) -> list[str]:
    """Return lines: each parameter of the mounting, its uncertainty, and how far it is from the camera file."""
    lines = ["parameter       value       sigma     against the file"]
    for name, value, sigma in zip(names, values, sigmas, strict=True):
        moved = value - getattr(start.mounting, name)
        if name.endswith("_rad"):
            numbers = (math.degrees(value), math.degrees(sigma), math.degrees(moved))
            lines.append("{:12s} {:9.2f}   {:9.2f}   {:+9.2f} degrees".format(name.removesuffix("_rad"), *numbers))
        else:
            numbers = (1000 * value, 1000 * sigma, 1000 * moved)
            lines.append("{:12s} {:9.1f}   {:9.1f}   {:+9.1f} mm".format(name.removesuffix("_m"), *numbers))
    return lines


def lines_text(fit: LineFit, start: CameraModel) -> str:
    """Return the report of a fit to field lines."""
    a = fit.attitude
    used = fit.errors_m[fit.used]
    typical = 1000 * float(np.sqrt(np.mean(used**2)))
    lines = [
        f"{fit.views} pictures, {len(fit.errors_m)} line points; {fit.used.mean():.0%} lie on markings, "
        f"to {typical:.0f} mm",
        f"directions alone: pitch {math.degrees(a.pitch_rad):+.2f}, roll {math.degrees(a.roll_rad):+.2f} degrees "
        f"against the file ({a.inliers} of {a.segments} line pieces agree)",
        "",
        *mounting_table(MOUNTING, fit.values, fit.sigmas, start),
    ]
    if fit.yaw_kept:
        lines.append(
            "note: these lines do not tell yaw: the file's is kept; turn on the spot once around, 1 to 2 m from "
            "several lines, and drive a metre straight ahead and back, or use balls"
        )
    elif fit.sigmas[5] > math.radians(0.7):
        lines.append("note: yaw is not known well; drive a metre straight ahead and back, too, or use balls")
    return "\n".join(lines)


def write_lines_report(folder: Path, fit: LineFit, start: CameraModel, model: FieldModel) -> list[Path]:
    """Write report.txt and map.png: the line points on the field by the camera file as it was, and as fitted."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "report.txt"
    text.write_text(lines_text(fit, start) + "\n", encoding="utf-8")
    before = _map(model, fit.before_m, np.zeros(len(fit.before_m), bool), "by the camera file as it was")
    after = _map(model, fit.points_m, fit.used, "as fitted (red: on no marking)")
    picture = folder / "map.png"
    cv2.imwrite(str(picture), np.vstack((before, after)))
    return [text, picture]


def _map(model: FieldModel, points: FloatArray, used: NDArray[np.bool_], title: str) -> Image:
    lines = np.array([(*line.start_m, *line.end_m) for line in model.lines])
    low = lines.reshape(-1, 2).min(axis=0) - 0.5
    high = lines.reshape(-1, 2).max(axis=0) + 0.5
    width, height = (int(v) for v in np.ceil((high - low) * _SCALE))
    image = np.full((height, width, 3), (70, 120, 60), np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round((x - low[0]) * _SCALE), round((high[1] - y) * _SCALE)

    for x0, y0, x1, y1 in lines:
        cv2.line(image, at(x0, y0), at(x1, y1), (215, 225, 215), 2, cv2.LINE_AA)
    for arc in model.arcs:
        cv2.circle(image, at(*arc.centre_m), round(arc.radius_m * _SCALE), (215, 225, 215), 2, cv2.LINE_AA)
    any_used = bool(used.any())
    for (x, y), good in zip(points, used, strict=True):
        if math.isfinite(x) and math.isfinite(y) and abs(x) < 50 and abs(y) < 50:
            cv2.circle(image, at(x, y), 2, (255, 160, 0) if good or not any_used else (40, 40, 255), -1, cv2.LINE_AA)
    cv2.putText(image, title, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def points_text(fit: PointFit, start: CameraModel) -> str:
    """Return the report of a fit to field points."""
    pose = fit.robot_pose
    rms_px = math.sqrt(float((fit.residuals_px**2).sum(axis=1).mean()))
    rms_mm = 1000 * math.sqrt(float((fit.errors_m**2).sum(axis=1).mean()))
    lines = [
        f"{len(fit.residuals_px)} points: {rms_px:.1f} px, {rms_mm:.0f} mm RMS on the floor in sample",
        f"robot at ({pose.x_m:.3f}, {pose.y_m:.3f}) m, heading {math.degrees(pose.theta_rad):.1f} degrees",
        "",
        *mounting_table(fit.names, fit.values, fit.sigmas, start),
    ]
    if np.isfinite(fit.left_out_m).all():
        left_out = 1000 * math.sqrt(float((fit.left_out_m**2).sum(axis=1).mean()))
        lines.append(f"each point placed by the others: {left_out:.0f} mm RMS")
    if len(fit.names) < 6:
        lines.append("note: without the robot's pose, x, y and yaw stay as in the camera file")
    return "\n".join(lines)


def write_points_report(
    folder: Path, fit: PointFit, points: FieldPoints, start: CameraModel, picture: Image | None
) -> list[Path]:
    """Write report.txt, residuals.csv and residuals.png: seen (cross) and projected (ring) points over the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    text, rows = folder / "report.txt", folder / "residuals.csv"
    text.write_text(points_text(fit, start) + "\n", encoding="utf-8")
    with rows.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["u", "v", "x_m", "y_m", "column_px", "row_px", "error_x_mm", "error_y_mm"])
        for pixel, place, off, error in zip(
            points.pixels_px, points.points_m, fit.residuals_px, fit.errors_m, strict=True
        ):
            writer.writerow([*(f"{v:g}" for v in (*pixel, *place)), *(f"{v:.2f}" for v in (*off, *(1000 * error)))])
    k = fit.camera.intrinsics
    blank = np.full((k.height_px, k.width_px, 3), 235, np.uint8)
    image = blank if picture is None or picture.shape[:2] != blank.shape[:2] else picture.copy()
    for (u, v), (du, dv) in zip(points.pixels_px, fit.residuals_px, strict=True):
        seen = (round(u), round(v))
        cv2.drawMarker(image, seen, (0, 0, 255), cv2.MARKER_CROSS, 9, 1, cv2.LINE_AA)
        cv2.circle(image, (round(u - du), round(v - dv)), 5, (255, 0, 0), 1, cv2.LINE_AA)
    path = folder / "residuals.png"
    cv2.imwrite(str(path), image)
    return [text, rows, path]
