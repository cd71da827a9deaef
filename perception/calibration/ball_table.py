"""Tables of detected balls, with or without their measured places: the input of `blackout calibrate` and `project`.

One row per picture, millimetres and radians, as the overhead cameras write them: `frame, robot_x_mm, robot_y_mm,
robot_theta, ball_x_mm, ball_y_mm, x_min, x_max, y_min, y_max`. Other columns are ignored.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot.core.errors import DataError
from robot.core.geometry import FloatArray, Pose2, wrap_angle

BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
PLACE_COLUMNS = ("robot_x_mm", "robot_y_mm", "robot_theta", "ball_x_mm", "ball_y_mm")

MAX_POSE_SPREAD_M = 0.02
MAX_HEADING_SPREAD_RAD = 0.05


@dataclass(frozen=True)
class BallBoxes:
    """Boxes of one ball per row: `frames` as written, `boxes_px` (N, 4) as x_min, y_min, x_max, y_max."""

    frames: tuple[str, ...]
    boxes_px: FloatArray


@dataclass(frozen=True)
class BallPlaces(BallBoxes):
    """Boxes with the ball's measured place relative to the robot (N, 2), metres, robot frame.

    `robot_pose` is the robot's pose in the field frame, averaged over the session (it stood still), with the spread
    of single readings (x_m, y_m, theta_rad).
    """

    places_in_robot_m: FloatArray
    robot_pose: Pose2
    pose_spread: tuple[float, float, float]

    def without(self, index: int) -> BallPlaces:
        """Return the table without one row."""
        return self.only(np.arange(len(self.frames)) != index)

    def only(self, keep: np.ndarray) -> BallPlaces:
        """Return the rows where `keep` (N,) is true."""
        return BallPlaces(
            tuple(frame for frame, kept in zip(self.frames, keep, strict=True) if kept),
            self.boxes_px[keep],
            self.places_in_robot_m[keep],
            self.robot_pose,
            self.pose_spread,
        )


def read_boxes(path: Path) -> BallBoxes:
    """Read frames and boxes only; no other column is looked at.

    Raises:
        DataError: missing file or column, nothing in it, or a value that is no number; names the line.
    """
    frames, values = _read(path, BOX_COLUMNS)
    return BallBoxes(frames, _checked_boxes(path, frames, values))


def read_places(path: Path) -> BallPlaces:
    """Read boxes and measured places; the ball is put into the frame of the robot's averaged pose.

    Raises:
        DataError: as `read_boxes`, or the robot did not stand still.
    """
    frames, values = _read(path, BOX_COLUMNS + PLACE_COLUMNS)
    boxes = _checked_boxes(path, frames, values[:, :4])
    robot = values[:, 4:7] * [1e-3, 1e-3, 1.0]
    heading = math.atan2(float(np.sin(robot[:, 2]).mean()), float(np.cos(robot[:, 2]).mean()))
    turned = np.array([wrap_angle(float(theta) - heading) for theta in robot[:, 2]])
    spread = (float(robot[:, 0].std()), float(robot[:, 1].std()), float(turned.std()))
    if max(spread[:2]) > MAX_POSE_SPREAD_M or spread[2] > MAX_HEADING_SPREAD_RAD:
        raise DataError(
            f"{path}: the robot moved while the balls were measured (spread {spread[0] * 1000:.0f} mm, "
            f"{spread[1] * 1000:.0f} mm, {math.degrees(spread[2]):.1f} degrees)",
            hint="use one session in which the robot stands still; split the table where it was moved",
        )
    pose = Pose2(float(robot[:, 0].mean()), float(robot[:, 1].mean()), heading)
    seen_from = pose.inverse()
    places = [seen_from.transform((float(x), float(y))) for x, y in values[:, 7:9] * 1e-3]
    return BallPlaces(frames, boxes, np.array(places), pose, spread)


def _read(path: Path, columns: tuple[str, ...]) -> tuple[tuple[str, ...], FloatArray]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or []]
            missing = [name for name in ("frame", *columns) if name not in header]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)} (it has: {', '.join(header) or 'nothing'})",
                    hint="the first line names the columns, comma separated; see docs/calibration.md",
                )
            reader.fieldnames = header
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV table: {error}", hint="export it as comma separated text") from error
    if not rows:
        raise DataError(f"{path} has a header but no rows", hint="record some balls first; see docs/calibration.md")
    values = np.array([[_number(path, line, name, row[name]) for name in columns] for line, row in rows])
    return tuple(str(row["frame"]).strip() for _, row in rows), values


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}, line {line}: {name} is {text!r}, not a number", hint="mend or delete that line")
    return value


def _checked_boxes(path: Path, frames: tuple[str, ...], boxes: FloatArray) -> FloatArray:
    for frame, (x_min, y_min, x_max, y_max) in zip(frames, boxes, strict=True):
        if x_max <= x_min or y_max <= y_min:
            raise DataError(
                f"{path}, frame {frame}: the box ({x_min:g}, {y_min:g}) to ({x_max:g}, {y_max:g}) is empty or inverted",
                hint="delete rows without a detection; x_min < x_max and y_min < y_max",
            )
    return boxes
