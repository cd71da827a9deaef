"""Which model fits balls at known places best? Candidates side by side, in sample and leave-one-out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from perception.calibration.ball_report import rmse_mm
from perception.calibration.ball_table import BallPlaces
from perception.calibration.balls import MOUNTING, STANDARD, Calibration, FitConfig, calibrate, leave_one_out
from perception.camera.model import CameraModel
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray


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
        Candidate("standard, least squares in metres", FitConfig(metre_sigma=0.05, huber=1e9)),
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
