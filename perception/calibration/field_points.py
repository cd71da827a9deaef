"""Mounting from a few points of the field whose pixels are known: crossings of lines, ends of marks, posts' feet.

With the robot's pose all of the mounting is fitted. Without it, height, pitch and roll are, together with
where the camera must have been: a picture of a known corner of the field is enough, wherever the robot stood.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.calibration.least_squares import minimise
from perception.camera.model import CameraModel
from robot.core.errors import CalibrationError, DataError
from robot.core.geometry import FloatArray, Pose2

COLUMNS = ("u", "v", "x_m", "y_m")
_WITH_POSE = ("x_m", "y_m", "height_m", "pitch_rad", "roll_rad", "yaw_rad")
_WITHOUT_POSE = ("height_m", "pitch_rad", "roll_rad")
_PRIOR = {"x_m": 0.005, "y_m": 0.005, "height_m": 0.01, "pitch_rad": 0.15, "roll_rad": 0.1, "yaw_rad": 0.2}

MAX_TYPICAL_PX = 8.0
MAX_FIELD_M = 30.0


@dataclass(frozen=True, eq=False)
class FieldPoints:
    """Pixels (N, 2) of field points (N, 2), metres, field frame."""

    pixels_px: FloatArray
    points_m: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class PointFit:
    """The fitted camera; `names`, `values`, `sigmas` of what was fitted of the mounting; where the robot stood.

    `residuals_px` (N, 2) are seen minus projected, `errors_m` (N, 2) the same on the floor, `left_out_m` (N, 2) under
    fits that have not seen the point (NaN where too few would be left).
    """

    camera: CameraModel
    names: tuple[str, ...]
    values: FloatArray
    sigmas: FloatArray
    robot_pose: Pose2
    residuals_px: FloatArray
    errors_m: FloatArray
    left_out_m: FloatArray


def read_points(path: Path) -> FieldPoints:
    """Read a table with the columns u, v (pixels) and x_m, y_m (field frame).

    Raises:
        DataError: missing file or column, or a value that is no number; names the row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(line for line in stream if not line.startswith("#"))
            names = [name.strip() for name in reader.fieldnames or []]
            missing = [name for name in COLUMNS if name not in names]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}", hint=f"the first line should be {','.join(COLUMNS)}"
                )
            reader.fieldnames = names
            rows = [
                [_number(path, row[name], name, number) for name in COLUMNS] for number, row in enumerate(reader, 1)
            ]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV table: {error}", hint="export it as comma separated text") from error
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return FieldPoints(table[:, :2], table[:, 2:])


def _number(path: Path, text: str | None, name: str, number: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}, row {number}: {name} is {text!r}, not a number",
            hint=f"each row needs four numbers: {','.join(COLUMNS)}",
        )
    return value


def fit_points(
    points: FieldPoints,
    start: CameraModel,
    robot_pose: Pose2 | None = None,
    *,
    sigma_px: float = 1.5,
    height_sigma_m: float = 0.01,
) -> PointFit:
    """Fit the mounting to field points.

    Args:
        points: at least 4, not on one line.
        start: camera file: intrinsics, and the mounting as measured by hand.
        robot_pose: where the robot stood on the field, if that is known.
        sigma_px: how exactly the pixels were read.
        height_sigma_m: how exactly the height was measured.

    Raises:
        CalibrationError: too few points, on one line, above the horizon, or pixels and points that do not belong
            together; a noise or a pose that cannot be.
    """
    count = len(points.points_m)
    if not 0.0 < sigma_px < 100.0:
        raise CalibrationError(f"pixels cannot be read to {sigma_px:g} px", hint="for example --pixel-sigma 1.5")
    if robot_pose is not None and not robot_pose.is_finite():
        raise CalibrationError("the robot's pose is not finite", hint="--robot-pose X Y DEGREES, metres")
    far_m = float(np.abs(points.points_m).max(initial=0.0))
    if far_m > MAX_FIELD_M:
        raise CalibrationError(
            f"a point lies {far_m:g} m from the field's centre: are these metres?", hint="x_m and y_m are metres"
        )
    if count < 4:
        raise CalibrationError(f"{count} points are too few", hint="at least 4, better 8: near and far, left and right")
    spread = np.linalg.svd(points.points_m - points.points_m.mean(axis=0), compute_uv=False)
    if spread[1] < 0.1 * math.sqrt(count):
        raise CalibrationError(
            "all points lie on one line: roll and pitch cannot be told apart", hint="add points off that line"
        )
    prior = {**_PRIOR, "height_m": height_sigma_m}
    fit = _fit(points, start, robot_pose, prior, sigma_px)
    typical = float(np.median(np.linalg.norm(fit.residuals_px, axis=1)))
    if not typical < MAX_TYPICAL_PX:
        raise CalibrationError(
            f"pixels and points do not belong together: half of them are more than {typical:.0f} px apart",
            hint="check the order of the rows, left and right (y grows to the left of x), and the robot's pose",
        )
    left_out = np.full((count, 2), np.nan)
    if count >= 6:
        for index in range(count):
            keep = np.arange(count) != index
            without = _fit(
                FieldPoints(points.pixels_px[keep], points.points_m[keep]), start, robot_pose, prior, sigma_px
            )
            left_out[index] = _errors(without.camera, without.robot_pose, points)[index]
    return replace(fit, left_out_m=left_out)


def _fit(
    points: FieldPoints, start: CameraModel, robot_pose: Pose2 | None, prior: dict[str, float], sigma_px: float
) -> PointFit:
    names = _WITH_POSE if robot_pose is not None else _WITHOUT_POSE
    first = np.array([getattr(start.mounting, name) for name in names])
    sigma = np.array([prior[name] for name in names])
    if robot_pose is None:
        guess = _guess_pose(points, start)
        first = np.concatenate((first, (guess.x_m, guess.y_m, guess.theta_rad)))
        sigma = np.concatenate((sigma, (100.0, 100.0, 100.0)))

    def unpack(theta: FloatArray) -> tuple[CameraModel, Pose2]:
        named = dict(zip(names, theta[: len(names)].tolist(), strict=True))
        camera = replace(start, mounting=replace(start.mounting, **named))
        if robot_pose is not None:
            return camera, robot_pose
        x, y, heading = theta[len(names) :].tolist()
        return camera, Pose2(x, y, heading)

    def residual(theta: FloatArray) -> FloatArray:
        camera, pose = unpack(theta)
        return np.asarray((points.pixels_px - _seen(camera, pose, points)) / sigma_px)

    # Steps of the numeric derivative follow the prior: for a free pose that would be metres.
    scale = np.where(sigma > 1.0, 1.0, sigma)
    least = minimise(residual, first, first, np.where(sigma > 1.0, 10.0, scale), 2.0)
    if not least.found:
        raise CalibrationError(
            "the fit found no minimum: some point lies behind the camera",
            hint="check the robot's pose and the camera file's [mounting]",
        )
    camera, pose = unpack(least.parameters)
    known = start.uncertainty.with_mounting(names, least.covariance[: len(names), : len(names)])
    camera = replace(camera, uncertainty=known)
    return PointFit(
        camera=camera,
        names=names,
        values=least.parameters[: len(names)],
        sigmas=np.sqrt(np.diag(least.covariance))[: len(names)],
        robot_pose=pose,
        residuals_px=points.pixels_px - _seen(camera, pose, points),
        errors_m=_errors(camera, pose, points),
        left_out_m=np.zeros((0, 2)),
    )


def _local(pose: Pose2, points_m: FloatArray) -> FloatArray:
    inverse = pose.inverse()
    return np.array([inverse.transform((float(x), float(y))) for x, y in points_m])


def _seen(camera: CameraModel, pose: Pose2, points: FieldPoints) -> FloatArray:
    local = _local(pose, points.points_m)
    return camera.project(np.column_stack((local, np.zeros(len(local)))))


def _errors(camera: CameraModel, pose: Pose2, points: FieldPoints) -> FloatArray:
    return np.asarray(camera.ground_points(points.pixels_px) - _local(pose, points.points_m))


def _guess_pose(points: FieldPoints, camera: CameraModel) -> Pose2:
    """Lay the points, as the camera file places them, on the field's: rotation and shift (Kabsch 1976)."""
    local = camera.ground_points(points.pixels_px)
    good = np.isfinite(local).all(axis=1)
    if good.sum() < 3:
        raise CalibrationError(
            f"{int((~good).sum())} of {len(local)} points lie at or above the horizon of the camera file",
            hint="check that v grows downwards and the [mounting] pitch",
        )
    a, b = local[good], points.points_m[good]
    middle_a, middle_b = a.mean(axis=0), b.mean(axis=0)
    cross = (a - middle_a).T @ (b - middle_b)
    angle = math.atan2(cross[0, 1] - cross[1, 0], cross[0, 0] + cross[1, 1])
    c, s = math.cos(angle), math.sin(angle)
    x, y = middle_b - np.array([[c, -s], [s, c]]) @ middle_a
    return Pose2(float(x), float(y), angle)
