"""What a calibration came to, for people: text, a table by range, a table per ball, a picture, a model comparison."""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.camera.calibration import (
    MOUNTING,
    STANDARD,
    Calibration,
    FitConfig,
    calibrate,
    leave_one_out,
)
from perception.camera.model import CameraModel
from perception.camera.points import BallPlaces
from robot.core.errors import CalibrationError, MissingExtraError
from robot.core.geometry import FloatArray

RANGE_BINS_M = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.2, 10.0)


def rmse_mm(errors_m: FloatArray, keep: np.ndarray | None = None) -> float:
    """Root mean square length, in millimetres, of errors (N, 2); NaN when none is kept."""
    chosen = errors_m if keep is None else errors_m[keep]
    return 1000.0 * math.sqrt(float((chosen**2).sum(axis=1).mean())) if len(chosen) else math.nan


def report_text(table: BallPlaces, fit: Calibration, held_out: FloatArray) -> str:
    """Return the report: parameters with uncertainties, errors by range, the worst balls.

    Args:
        table: what was fitted.
        fit: the result.
        held_out: leave-one-out errors (N, 2), metres.
    """
    ranges = np.hypot(table.places_in_robot_m[:, 0], table.places_in_robot_m[:, 1])
    lines = [
        f"{len(table.frames)} balls, {ranges.min():.2f} to {ranges.max():.2f} m from the robot's centre; "
        f"Huber, {fit.iterations} iterations, {int((fit.weights < 0.5).sum())} balls weigh less than half",
        f"pixel noise found: column {fit.camera.noise.column_px:.2f}, row {fit.camera.noise.row_px:.2f}, "
        f"plus {fit.camera.noise.box_share:.0%} of the box",
        "",
        "parameter          value      sigma",
    ]
    for name, value, sigma in zip(fit.names, fit.values, fit.sigmas, strict=True):
        degrees = f"   ({math.degrees(value):.2f} degrees)" if name.endswith("_rad") else ""
        lines.append(f"{name:14s} {value:9.4f}  {sigma:9.4f}{degrees}")
    lines += ["", "range (m)      balls   RMSE in sample   leave-one-out (mm)"]
    bins = list(itertools.pairwise(RANGE_BINS_M))
    for low, high in [*bins, (0.0, 1.5), (0.4, 3.2), (0.0, math.inf)]:
        keep = (ranges >= low) & (ranges < high)
        if keep.any():
            name = "all" if math.isinf(high) else f"{low:.1f} to {high:.1f}"
            lines.append(
                f"{name:13s} {keep.sum():6d} {rmse_mm(fit.errors_m, keep):13.1f} {rmse_mm(held_out, keep):15.1f}"
            )
    length = np.hypot(fit.errors_m[:, 0], fit.errors_m[:, 1])
    worst = np.argsort(-np.nan_to_num(length, nan=np.inf))[:5]
    lines += ["", "worst balls: " + ", ".join(f"frame {table.frames[i]} {1000 * length[i]:.0f} mm" for i in worst)]
    heights = np.array([box[3] - box[1] for box in table.boxes_px])
    if heights.max() < 3.0 * heights.min():
        lines.append("note: all boxes are of similar size; add nearer and farther balls for a firmer fit")
    return "\n".join(lines)


def write_report(folder: Path, table: BallPlaces, fit: Calibration, held_out: FloatArray) -> list[Path]:
    """Write report.txt, residuals.csv and, where matplotlib is at hand, residuals.png; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "report.txt"
    text.write_text(report_text(table, fit, held_out) + "\n", encoding="utf-8")
    rows = folder / "residuals.csv"
    with rows.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["frame", "x_true_mm", "y_true_mm", "error_x_mm", "error_y_mm", "held_out_x_mm", "held_out_y_mm",
             "column_px", "row_px", "weight"]
        )  # fmt: skip
        for index, frame in enumerate(table.frames):
            metres = (*table.places_in_robot_m[index], *fit.errors_m[index], *held_out[index])
            tail = (*fit.residuals_px[index], fit.weights[index])
            writer.writerow([frame, *(f"{1000 * v:.1f}" for v in metres), *(f"{v:.2f}" for v in tail)])
    written = [text, rows]
    try:
        written.append(_picture(folder / "residuals.png", table, fit))
    except MissingExtraError:
        pass_note = "residuals.png needs matplotlib: pip install matplotlib"
        text.write_text(text.read_text(encoding="utf-8") + pass_note + "\n", encoding="utf-8")
    return written


def _picture(path: Path, table: BallPlaces, fit: Calibration) -> Path:
    """Draw the balls from above with their errors (three times enlarged), and the row residuals over range."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib is not installed", hint="pip install matplotlib") from error
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, rows = figure.subplots(1, 2)
    place, off = table.places_in_robot_m, 3.0 * np.nan_to_num(fit.errors_m)
    above.quiver(-place[:, 1], place[:, 0], -off[:, 1], off[:, 0], angles="xy", scale_units="xy", scale=1, width=0.004)
    shown = above.scatter(-place[:, 1], place[:, 0], c=fit.weights, cmap="viridis", vmin=0, vmax=1, s=18)
    figure.colorbar(shown, ax=above, label="weight left by Huber")
    above.set(xlabel="right of the robot (m)", ylabel="ahead (m)", title="errors from above, 3x", aspect="equal")
    rows.axhline(0.0, color="0.7")
    distance = np.hypot(place[:, 0], place[:, 1])
    rows.scatter(distance, fit.residuals_px[:, 1], s=14, label="row")
    rows.scatter(distance, fit.residuals_px[:, 0], s=14, marker="x", label="column")
    rows.set(xlabel="range (m)", ylabel="observed - projected (px)", title="pixel residuals")
    rows.legend()
    FigureCanvasAgg(figure)
    figure.savefig(path)
    return path


# --- which model? -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """One model of the comparison; `shift_px` moves boxes before the fit, `fixed_ball` pins the contact fraction."""

    name: str
    config: FitConfig
    fixed_ball: float = 0.5
    shift_px: float = 0.0


def _height_squared(boxes: FloatArray, camera: CameraModel) -> FloatArray:
    """A contact fraction that changes linearly with size moves the row by its height squared."""
    return np.asarray(((boxes[:, 3] - boxes[:, 1]) / 40.0) ** 2)


def candidates() -> tuple[Candidate, ...]:
    """Return the models that are compared; the one called `standard` is what `calibrate` fits."""
    ball = (*MOUNTING, "ball")
    return (
        Candidate("mounting only, box bottom (0.0)", FitConfig(free=MOUNTING), fixed_ball=0.0),
        Candidate("mounting only, fraction 0.15", FitConfig(free=MOUNTING), fixed_ball=0.15),
        Candidate("mounting only, box centre (0.5)", FitConfig(free=MOUNTING)),
        Candidate("+ fraction", FitConfig(free=ball)),
        Candidate("+ fraction, lens k1", FitConfig(free=(*ball, "k1"))),
        Candidate("+ fraction, bow (standard)", FitConfig(free=STANDARD)),
        Candidate("standard without Huber", FitConfig(huber=1e9)),
        Candidate("standard, height not fixed by a ruler", _looser("height_m", 0.1)),
        Candidate("standard + lens k1", FitConfig(free=(*STANDARD, "k1"))),
        Candidate("standard + focal length", FitConfig(free=(*STANDARD, "focal_scale"))),
        Candidate("standard + fraction by size", FitConfig(row_terms=(_height_squared,))),
        Candidate("standard, edges half a pixel off", FitConfig(), shift_px=0.5),
    )


def _looser(name: str, sigma: float) -> FitConfig:
    base = FitConfig()
    return replace(base, prior_sigma={**base.prior_sigma, name: sigma})


def compare(table: BallPlaces, start: CameraModel) -> str:
    """Fit every candidate, in sample and leave-one-out, and return a Markdown table (RMSE in mm).

    The last row fuses the standard model with the range that the box's size tells, weighted by covariance.
    """
    distance = np.hypot(table.places_in_robot_m[:, 0], table.places_in_robot_m[:, 1])
    bands = {"0.4-3.2 m": (distance >= 0.4) & (distance <= 3.2), "< 1.5 m": distance < 1.5, "< 2.6 m": distance < 2.6}
    head = ["model", *(f"{band}, in sample" for band in bands), *(f"{band}, left out" for band in bands)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]

    def row(name: str, errors: FloatArray, held_out: FloatArray) -> None:
        cells = [f"{rmse_mm(e, keep):.1f}" for e in (errors, held_out) for keep in bands.values()]
        lines.append("| " + " | ".join([name, *cells]) + " |")

    fused: tuple[FloatArray, FloatArray] | None = None
    for candidate in candidates():
        begin = replace(start, contact=replace(start.contact, ball=candidate.fixed_ball, ball_bow_px=0.0))
        moved = replace(table, boxes_px=table.boxes_px + candidate.shift_px)
        try:
            fit = calibrate(moved, begin, candidate.config)
        except CalibrationError as error:
            lines.append(f"| {candidate.name} | no fit: {error.message} |")
            continue
        held_out = leave_one_out(moved, fit, begin)
        row(candidate.name, fit.errors_m, held_out)
        if candidate.config == FitConfig() and fused is None:
            fused = (_with_size_cue(table, fit, fit.errors_m), _with_size_cue(table, fit, held_out))
    if fused is not None:
        row("standard fused with box size", *fused)
    return "\n".join(lines)


def _with_size_cue(table: BallPlaces, fit: Calibration, errors_m: FloatArray) -> FloatArray:
    """Return errors after fusing the radial place with a range from the box's width, inverse variances as weights.

    Width = focal * diameter / distance + a constant (detectors draw small balls too large), fitted leave-one-out.
    """
    place = table.places_in_robot_m
    origin = np.array([fit.camera.mounting.x_m, fit.camera.mounting.y_m])
    ray = place - origin
    truth = np.linalg.norm(ray, axis=1)
    width = table.boxes_px[:, 2] - table.boxes_px[:, 0]
    size = fit.camera.intrinsics.fx * 0.043
    slant = np.hypot(truth, fit.camera.mounting.height_m)
    spare = width - size / slant
    sigma_width = float(spare.std())
    fused = errors_m.copy()
    for index in range(len(truth)):
        margin = (spare.sum() - spare[index]) / (len(spare) - 1)
        by_size = size / max(width[index] - margin, 1.0)
        by_size = math.sqrt(max(by_size**2 - fit.camera.mounting.height_m**2, 1e-4))
        unit = ray[index] / truth[index]
        by_foot = truth[index] + float(errors_m[index] @ unit)
        # Both variances at the range that the foot says, as a robot would have to compute them.
        reach = math.hypot(by_foot, fit.camera.mounting.height_m)
        var_foot = (reach * by_foot / (fit.camera.intrinsics.fy * fit.camera.mounting.height_m)) ** 2 * 1.2**2 + 1e-4
        var_size = (reach**2 / size * sigma_width) ** 2 + 1e-4
        best = (by_foot / var_foot + by_size / var_size) / (1.0 / var_foot + 1.0 / var_size)
        fused[index] += (best - by_foot) * unit
    return fused
