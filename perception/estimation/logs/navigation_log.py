"""Reads navigation logs: one CSV row per picture, with odometry, a goal's box, and for evaluation a reference pose."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot.core.clock import NS_PER_S
from robot.core.errors import DataError
from robot.core.geometry import FloatArray, Pose2, wrap_angles
from robot.core.messages import BoxPx

ODOMETRY = ("odo_x", "odo_y", "odo_theta")
BOX = ("x_min", "y_min", "x_max", "y_max")
REFERENCE = ("pos_x", "pos_y", "pos_theta")
REQUIRED = ("t", *ODOMETRY, "has_goal", *BOX)

MAX_STEP_S, MAX_SPEED_M_S, MAX_TURN_RATE_RAD_S, MAX_PLACE_M = 5.0, 12.0, 30.0, 20.0
"""No log of a robot on a field has more, in its right units, but for single rows (a reboot, a slip of the detector)."""

_OFTEN = 0.1

_TURN_RAD = 0.2
"""Turns are compared from here on: less is noise."""

_DEGREES_TURN = math.sqrt(math.degrees(1.0))
"""A heading that turns by more than this times the odometry's is in degrees: the middle between 1 and 57."""


@dataclass(frozen=True, slots=True, eq=False)
class NavigationLog:
    """A log of N rows, in the order of the file.

    Attributes:
        name: the file's base name, for messages.
        t_s: (N,) strictly increasing, seconds.
        odometry: (N, 3) x, y (m), theta (rad, may wrap), cumulative, in the odometry's own frame.
        boxes: per row the goal's box in pixels, or None where the detector reported none.
        reference: (N, 3) true poses in the field frame (m, m, rad), or None. Never an input of localisation, but
            for the first row as a seed.
    """

    name: str
    t_s: FloatArray
    odometry: FloatArray
    boxes: tuple[BoxPx | None, ...]
    reference: FloatArray | None

    def __len__(self) -> int:
        return len(self.t_s)

    def t_ns(self, row: int) -> int:
        """Time of a row in nanoseconds."""
        return round(float(self.t_s[row]) * NS_PER_S)

    def odometry_pose(self, row: int) -> Pose2:
        """`odom_from_robot` of a row, as reported."""
        return _pose(self.odometry[row])

    def reference_pose(self, row: int) -> Pose2:
        """`field_from_robot` of a row by the reference.

        Raises:
            DataError: the log has none.
        """
        if self.reference is None:
            raise DataError(
                f"{self.name} has no reference poses ({', '.join(REFERENCE)})",
                hint="give the first pose with --seed x,y,theta, and leave --evaluate away",
            )
        return _pose(self.reference[row])

    def part(self, start: int, stop: int) -> NavigationLog:
        """Return rows start ... stop - 1 as a log of their own."""
        reference = self.reference[start:stop] if self.reference is not None else None
        return NavigationLog(
            self.name, self.t_s[start:stop], self.odometry[start:stop], self.boxes[start:stop], reference
        )


def read_log(path: Path) -> NavigationLog:
    """Read one navigation log.

    Columns t, odo_x, odo_y, odo_theta, has_goal, x_min, y_min, x_max, y_max are needed; pos_x, pos_y, pos_theta are
    read where present; others are ignored. A bad row stops the reading: a log is repaired by its owner, not guessed.

    Raises:
        DataError: missing file or columns, no rows, a cell that is no finite number, or time that does not increase;
            the message has the line. Or values that are in other units than asked for.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV text file: {error}", hint="see docs/localisation.md") from error
    names = [name.strip() for name in rows[0]] if rows else []
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(
            f"{path} lacks the column(s) {', '.join(missing)}",
            hint=f"a navigation log has a header line with {', '.join(REQUIRED)}",
        )
    body = [(number, row) for number, row in enumerate(rows[1:], start=2) if any(cell.strip() for cell in row)]
    if not body:
        raise DataError(f"{path} has a header but no rows", hint="record at least one row")
    columns = list(REQUIRED) + [name for name in REFERENCE if name in names]
    indices = [names.index(name) for name in columns]
    table = np.array([_numbers(path, number, row, indices, columns) for number, row in body])
    data = dict(zip(columns, table.T, strict=True))
    t_s = data["t"]
    backwards = np.flatnonzero(np.diff(t_s) <= 0.0)
    if backwards.size:
        line = body[int(backwards[0]) + 1][0]
        raise DataError(
            f"{path} line {line}: time does not increase ({t_s[backwards[0]]} s, then {t_s[backwards[0] + 1]} s)",
            hint="sort the log by t and remove repeated rows",
        )
    has_reference = all(name in data for name in REFERENCE)
    _check_units(path, data, has_reference)
    return NavigationLog(
        name=path.name,
        t_s=t_s,
        odometry=np.column_stack([data[name] for name in ODOMETRY]),
        boxes=tuple(_box(data, row) for row in range(len(t_s))),
        reference=np.column_stack([data[name] for name in REFERENCE]) if has_reference else None,
    )


def _check_units(path: Path, data: dict[str, FloatArray], has_reference: bool) -> None:
    """Refuse millimetres, degrees and milliseconds: else the estimator leaves out what no robot can do, and stands.

    Raises:
        DataError: says which columns.
    """
    step_s = np.diff(data["t"])
    checks = []
    if len(step_s):
        way_m = np.hypot(np.diff(data["odo_x"]), np.diff(data["odo_y"]))
        turn_rad = np.abs(wrap_angles(np.diff(data["odo_theta"])))
        checks += [
            ("t", "seconds", step_s > MAX_STEP_S),
            ("odo_x, odo_y", "metres", way_m > MAX_SPEED_M_S * step_s),
            ("odo_theta", "radians", turn_rad > MAX_TURN_RATE_RAD_S * step_s),
        ]
    if has_reference:
        checks += [
            ("pos_x, pos_y", "metres", np.hypot(data["pos_x"], data["pos_y"]) > MAX_PLACE_M),
            ("pos_theta", "radians", (np.abs(data["pos_theta"]) > 2.0 * math.tau) & (not _turns_alike(data))),
        ]
    for columns, unit, absurd in checks:
        if absurd.mean() > _OFTEN:
            raise DataError(
                f"{path}: {columns} cannot be in {unit}: no robot does what {absurd.mean():.0%} of the rows say",
                hint=f"write t in seconds, x and y in metres, angles in radians; here {columns} in {unit}",
            )


def _turns_alike(data: dict[str, FloatArray]) -> bool:
    """True when the reference's heading turns by about as much as the odometry's: so do radians that are not wrapped,
    however many they are, but not degrees. False for a log without a turn to tell it by.
    """
    heading, ratios, last = np.unwrap(data["odo_theta"]), [], 0
    for row, turned in enumerate(heading):
        by_odometry = abs(float(turned - heading[last]))
        if by_odometry >= _TURN_RAD:
            ratios.append(abs(float(data["pos_theta"][row] - data["pos_theta"][last])) / by_odometry)
            last = row
    return bool(ratios) and float(np.median(ratios)) < _DEGREES_TURN


def _numbers(path: Path, line: int, row: list[str], indices: list[int], columns: list[str]) -> list[float]:
    values = []
    for index, name in zip(indices, columns, strict=True):
        text = row[index].strip() if index < len(row) else ""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{path} line {line}: {name} is {text!r}, not a finite number",
                hint=f"repair or remove line {line} (a cut file ends in a broken line)",
            )
        values.append(value)
    return values


def _box(data: dict[str, FloatArray], row: int) -> BoxPx | None:
    if data["has_goal"][row] != 1:
        return None
    x_min, y_min, x_max, y_max = (float(data[name][row]) for name in BOX)
    return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else None


def _pose(row: FloatArray) -> Pose2:
    return Pose2(float(row[0]), float(row[1]), float(row[2]))
