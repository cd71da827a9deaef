"""Place ball boxes on the floor with a calibrated camera.

Example:
    blackout project session.csv --calibration cal.toml --out places.csv
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from perception.calibration.ball_table import read_boxes
from perception.camera import load_camera
from perception.camera.observe import place
from robot.cli._outputs import check_outputs
from robot.core.messages import ObjectClass


@dataclass(frozen=True)
class Args:
    """Flags of `blackout project`."""

    points: Annotated[Path, tyro.conf.Positional]
    """CSV with `frame, x_min, y_min, x_max, y_max`; any other column is not read."""
    calibration: str
    """The fitted camera (TOML) or a shipped one's name."""
    out: Path
    """CSV to write: frame, x_in_robot_mm, y_in_robot_mm, sigma_mm (expected length of the error, one sigma)."""


def run(args: Args) -> int:
    """Read the boxes, write the places; `nan` where a box lies at or above the horizon."""
    camera = load_camera(args.calibration)
    table = read_boxes(args.points)
    check_outputs(files=[args.out])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lost = 0
    with args.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["frame", "x_in_robot_mm", "y_in_robot_mm", "sigma_mm"])
        for frame, box in zip(table.frames, table.boxes_px, strict=True):
            x_min, y_min, x_max, y_max = (float(edge) for edge in box)
            point, _ = place(ObjectClass.BALL, (x_min, y_min, x_max, y_max), camera)
            if point is None:
                lost += 1
                writer.writerow([frame, "nan", "nan", "nan"])
                continue
            (x, y), covariance = point.position_in_robot_m, point.covariance_m2
            sigma = math.sqrt(covariance[0][0] + covariance[1][1])
            writer.writerow([frame, f"{1000 * x:.2f}", f"{1000 * y:.2f}", f"{1000 * sigma:.2f}"])
    print(f"wrote {args.out}: {len(table.frames)} rows" + (f", {lost} above the horizon" if lost else ""))
    return 0
