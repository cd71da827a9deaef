"""Which model fits balls at known places best? Candidates side by side, in sample and leave-one-out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement

import numpy as np

from perception.calibration.ball_report import rmse_mm
from perception.calibration.ball_table import BallPlaces
from perception.calibration.balls import (
    STANDARD,
    Calibration,
    FitConfig,
    RowTerm,
    calibrate,
    leave_one_out,
)
from perception.camera.model import CameraModel
from perception.camera.parameters import MOUNTING
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray

RANGE_ROW_M = 0.25


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


def _column_cubed(boxes: FloatArray, camera: CameraModel) -> FloatArray:
    """What a lens that sits askew, or a detector that favours a side, would leave."""
    column = 0.5 * (boxes[:, 0] + boxes[:, 2]) - camera.intrinsics.cx
    return np.asarray((2.0 * column / camera.intrinsics.width_px) ** 3)


def _row_squared(boxes: FloatArray, camera: CameraModel) -> FloatArray:
    """What a lens would leave that bends rows."""
    row = 0.5 * (boxes[:, 1] + boxes[:, 3]) - camera.intrinsics.cy
    return np.asarray((2.0 * row / camera.intrinsics.height_px) ** 2)


PRIOR_OF_TERMS = 10.0
"""The prior sigma that `FitConfig` gives to the coefficient of a row term."""


def _surface(sigma_px: float) -> Iterator[RowTerm]:
    """Yield what a detector's boxes might be off by, whatever the reason: a smooth surface over place and size.

    All products of up to two of column, row, 1 / height and 1 / width, each with a prior of `sigma_px`.
    """

    def axes(boxes: FloatArray, camera: CameraModel) -> FloatArray:
        lens, side = camera.intrinsics, boxes[:, 2:] - boxes[:, :2]
        middle = (boxes[:, :2] + boxes[:, 2:] - [2 * lens.cx, 2 * lens.cy]) / [lens.width_px, lens.height_px]
        return np.column_stack((middle, 20.0 / side))

    def product(boxes: FloatArray, camera: CameraModel, of: list[int]) -> FloatArray:
        return np.asarray(axes(boxes, camera)[:, of].prod(axis=1) * sigma_px / PRIOR_OF_TERMS)

    for count in (1, 2):
        for chosen in combinations_with_replacement(range(4), count):
            yield partial(product, of=list(chosen))


def candidates() -> tuple[Candidate, ...]:
    """Return the models that are compared; the one called `standard` is what `calibrate` fits."""
    ball = (*MOUNTING, "ball")
    bow = (*ball, "ball_bow_px")
    small = [name for name in STANDARD if name not in bow]
    return (
        Candidate("mounting only, box bottom (0.0)", FitConfig(free=MOUNTING), fixed_ball=0.0),
        Candidate("mounting only, fraction 0.15", FitConfig(free=MOUNTING), fixed_ball=0.15),
        Candidate("mounting only, box centre (0.5)", FitConfig(free=MOUNTING)),
        Candidate("+ fraction", FitConfig(free=ball)),
        Candidate("+ fraction, lens k1", FitConfig(free=(*ball, "k1"))),
        Candidate("+ fraction, bow", FitConfig(free=bow)),
        Candidate("+ fraction, bow, small balls (standard)", FitConfig()),
        *(
            Candidate(f"standard without {name}", FitConfig(free=tuple(n for n in STANDARD if n != name)))
            for name in small
        ),
        Candidate("standard without Huber", FitConfig(huber=1e9)),
        Candidate("standard, height not fixed by a ruler", _height_within(0.1)),
        Candidate("standard, least squares in metres", FitConfig(metre_sigma=0.05, huber=1e9)),
        Candidate("standard + lens k1", FitConfig(free=(*STANDARD, "k1"))),
        Candidate("standard + focal length", FitConfig(free=(*STANDARD, "focal_scale"))),
        Candidate("standard + fraction by size", FitConfig(row_terms=(_height_squared,))),
        Candidate("standard + column cubed", FitConfig(row_terms=(_column_cubed,))),
        Candidate("standard + row squared", FitConfig(row_terms=(_row_squared,))),
        Candidate("standard + surface, prior 1 px", FitConfig(row_terms=tuple(_surface(1.0)))),
        Candidate("standard + surface, prior 20 px", FitConfig(row_terms=tuple(_surface(20.0)))),
        Candidate("standard, edges half a pixel off", FitConfig(), shift_px=0.5),
    )


def _height_within(sigma_m: float) -> FitConfig:
    base = FitConfig()
    return replace(base, prior_sigma={**base.prior_sigma, "height_m": sigma_m})


def compare(table: BallPlaces, start: CameraModel) -> str:
    """Fit every candidate, in sample and leave-one-out, and return a Markdown table (RMSE in mm).

    "Left out": each ball by a fit without it; "row out": by a fit without any ball within its 0.25 m of range, which
    is how another session's balls differ. The last row fuses the standard model with the range that the box's size
    tells, weighted by covariance.
    """
    distance = np.hypot(table.places_in_robot_m[:, 0], table.places_in_robot_m[:, 1])
    bands = {"0.4-3.2 m": (distance >= 0.4) & (distance <= 3.2), "< 1.5 m": distance < 1.5, "< 2.6 m": distance < 2.6}
    head = ["model", *(f"{band}, in sample" for band in bands), *(f"{band}, left out" for band in bands)]
    head += [*(f"{band}, row out" for band in bands), "lens above the floor, mm"]
    range_rows = np.floor(distance / RANGE_ROW_M)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]

    def row(name: str, fit: Calibration, *errors: FloatArray) -> None:
        cells = [f"{rmse_mm(e, keep):.1f}" for e in errors for keep in bands.values()]
        cells.append(f"{1000.0 * fit.camera.mounting.height_m:.1f}")
        lines.append("| " + " | ".join([name, *cells]) + " |")

    standard: Calibration | None = None
    found: tuple[FloatArray, ...] = ()
    for candidate in candidates():
        begin = replace(start, contact=replace(start.contact, ball=candidate.fixed_ball, ball_bow_px=0.0))
        moved = replace(table, boxes_px=table.boxes_px + candidate.shift_px)
        try:
            fit = calibrate(moved, begin, candidate.config)
        except CalibrationError as error:
            lines.append(f"| {candidate.name} | no fit: {error.message} |")
            continue
        errors = (fit.errors_m, leave_one_out(moved, fit, begin), leave_one_out(moved, fit, begin, range_rows))
        row(candidate.name, fit, *errors)
        if candidate.config == FitConfig() and standard is None:
            standard, found = fit, errors
    if standard is not None:
        row("standard fused with box size", standard, *(_with_size_cue(table, standard, e) for e in found))
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
