"""What a calibration came to, for people: text, a table by range, a table per ball, a picture."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

import numpy as np

from perception.calibration.ball_table import BallPlaces
from perception.calibration.balls import Calibration
from perception.camera.observe import place
from robot.core.errors import MissingExtraError
from robot.core.geometry import FloatArray
from robot.core.messages import ObjectClass

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
        f"{'parameter':30s} {'value':>9s}  {'sigma':>9s}",
    ]
    for name, value, sigma in zip(fit.names, fit.values, fit.sigmas, strict=True):
        degrees = f"   ({math.degrees(value):.2f} degrees)" if name.endswith("_rad") else ""
        lines.append(f"{name:30s} {value:9.4f}  {sigma:9.4f}{degrees}")
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
    lines += ["", consistency_text(table, fit, held_out)]
    lines += ["", "worst balls: " + ", ".join(f"frame {table.frames[i]} {1000 * length[i]:.0f} mm" for i in worst)]
    heights = np.array([box[3] - box[1] for box in table.boxes_px])
    if heights.max() < 3.0 * heights.min():
        lines.append("note: all boxes are of similar size; add nearer and farther balls for a firmer fit")
    return "\n".join(lines)


def consistency_text(table: BallPlaces, fit: Calibration, held_out: FloatArray) -> str:
    """Say how well the covariance of `observe.place` covers the leave-one-out errors: 95 % should be in its ellipse.

    The measured places are wrong by a little, too (`FitConfig.place_sigma_m`): that is added.
    """
    measured = fit.config.place_sigma_m**2 * np.eye(2)
    distances = []
    for box, error in zip(table.boxes_px.tolist(), held_out, strict=True):
        point, _ = place(ObjectClass.BALL, (box[0], box[1], box[2], box[3]), fit.camera)
        if point is not None:
            distances.append(float(error @ np.linalg.solve(np.array(point.covariance_m2) + measured, error)))
    inside = float(np.mean(np.array(distances) < 5.991)) if distances else math.nan
    return (
        f"covariance: {inside:.0%} of the left-out balls lie in their 95 % ellipse "
        f"(NEES: mean {np.mean(distances):.1f} of 2, median {np.median(distances):.1f} of 1.4)"
    )


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
