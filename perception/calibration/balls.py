"""Extrinsics and contact rule from balls at measured places: robust, with priors, uncertainties and honest errors.

Each ball gives a pixel (by the contact rule) and a place; the residual is the pixel against the place's projection,
whitened by the noise of box and place, under Huber's loss (`least_squares`); priors from a ruler keep what the table
cannot tell (height against pitch) where it physically is. Errors are given in sample and leave-one-out, in metres on
the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perception.calibration.ball_table import BallPlaces
from perception.calibration.least_squares import minimise
from perception.camera.model import CameraModel
from perception.camera.observe import ball_plane_m, ball_points_px, cut_sides
from perception.camera.parameters import CALIBRATED, MOUNTING, CalibrationUncertainty, CameraNoise
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray

CONTACT, STANDARD = CALIBRATED[6:], CALIBRATED

MAX_TYPICAL_RESIDUAL_PX = 12.0
"""A fit whose median residual is larger is not a fit: good detectors leave 1 to 4 px."""

MAX_PRIOR_SIGMAS = 6.0
"""A mounting parameter this far from the camera file means a wrong table or a wrong file, not a bumped camera."""

RowTerm = Callable[[FloatArray, CameraModel], FloatArray]
"""An extra regressor for the row of a box's point: boxes (N, 4) -> (N,) pixels per unit of its coefficient."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How well the start is known (one sigma each), how noisy places are, and where Huber's loss turns linear.

    A ruler gives height to a centimetre; `x_m`, `y_m` also absorb where the overhead cameras think that the robot's
    centre is. `ball` and `ball_bow_px` belong to the detector, not to the camera. `metre_sigma` fits errors on the
    floor, all with that noise, in place of pixels: what is nearest to the table, not to the truth (comparisons only).
    """

    free: tuple[str, ...] = STANDARD
    prior_sigma: dict[str, float] = field(
        default_factory=lambda: {
            "x_m": 0.05,
            "y_m": 0.05,
            "height_m": 0.01,
            "pitch_rad": 0.15,
            "roll_rad": 0.1,
            "yaw_rad": 0.2,
            "ball": 0.3,
            "ball_bow_px": 10.0,
            "small_by_height_px": 3.0,
            "small_by_width_px": 3.0,
            "small_by_column_px": 6.0,
            "small_by_column_and_height_px": 6.0,
            "k1": 0.05,
            "focal_scale": 0.02,
        }
    )
    place_sigma_m: float = 0.01
    huber: float = 2.0
    min_points: int = 12
    row_terms: tuple[RowTerm, ...] = ()
    noise_rounds: int = 3
    metre_sigma: float | None = None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The result of a fit.

    `values` and `sigmas` pair with `names`; `covariance` (P, P) is theirs. `errors_m` (N, 2) is estimate minus truth
    in the robot frame, `weights` (N,) what Huber left of each point, `residuals_px` (N, 2) observed minus projected.
    """

    camera: CameraModel
    names: tuple[str, ...]
    values: FloatArray
    sigmas: FloatArray
    covariance: FloatArray
    errors_m: FloatArray
    residuals_px: FloatArray
    weights: FloatArray
    iterations: int
    config: FitConfig

    def locate(self, boxes_px: FloatArray) -> FloatArray:
        """Place uncut ball boxes (N, 4) on the floor: (N, 2) metres, robot frame; NaN above the horizon."""
        extra = self.values[len(self.config.free) :]
        points = _points(self.camera, boxes_px, self.config, extra)
        return self.camera.ground_points(points, plane_z_m=ball_plane_m(self.camera))


def calibrate(table: BallPlaces, start: CameraModel, config: FitConfig | None = None) -> Calibration:
    """Fit mounting and contact rule to balls at known places.

    Args:
        table: the session; boxes cut by the picture's edge are better left out beforehand.
        start: intrinsics, noise and the mounting as measured by hand: both the start and the prior.
        config: what is free, and how firmly the priors hold.

    Raises:
        CalibrationError: too few points, points behind the camera, too many at the horizon, or no minimum found.
    """
    config = config or FitConfig()
    far_m = float(np.linalg.norm(table.places_in_robot_m, axis=1).max(initial=0.0))
    if len(table.frames) and not 0.1 < far_m < 20.0:
        raise CalibrationError(
            f"the largest distance of a ball from the robot is {1000 * far_m:.0f} mm: are these metres?",
            hint="the columns ending in _mm are millimetres",
        )
    if len(table.frames) < config.min_points:
        raise CalibrationError(
            f"{len(table.frames)} balls are too few to fit {len(config.free)} parameters",
            hint=f"record at least {config.min_points}, better 30: near and far, left and right",
        )
    spread = np.linalg.svd(table.places_in_robot_m - table.places_in_robot_m.mean(axis=0), compute_uv=False)
    if spread[1] < 0.1 * math.sqrt(len(table.frames)):
        raise CalibrationError(
            "all balls lie on one line: roll, yaw and pitch cannot be told apart",
            hint="put balls to the left and right too, at several ranges",
        )
    if np.isnan(_predict(start, table)).any():
        where = [f for f, row in zip(table.frames, _predict(start, table), strict=True) if np.isnan(row).any()]
        raise CalibrationError(
            f"the ball of frame {', '.join(where[:5])} lies behind the camera as it is mounted in the camera file",
            hint="check the robot's pose columns (mm, radians) and the [mounting] yaw and x",
        )
    camera = start
    for _ in range(config.noise_rounds):
        fit = _minimise(table, start, camera, config)
        camera = replace(fit.camera, noise=_noise(fit, table))
    fit = _minimise(table, start, camera, config)
    typical = float(np.median(np.linalg.norm(fit.residuals_px, axis=1)))
    if typical > MAX_TYPICAL_RESIDUAL_PX:
        raise CalibrationError(
            f"boxes and places do not belong together: half of them are more than {typical:.0f} px apart after the fit",
            hint="check the rows' order, the units (mm, radians), that y grows downwards, and the camera file",
        )
    for name, value, begin in zip(config.free, fit.values, _values_of(start, config.free), strict=False):
        if name in MOUNTING and abs(value - begin) > MAX_PRIOR_SIGMAS * config.prior_sigma[name]:
            raise CalibrationError(
                f"the fit moved {name} from {begin:.3f} to {value:.3f}: not the camera file's mounting",
                hint="check that y grows downwards in the boxes, the heading's sign, and the file's [mounting]",
            )
    lost = np.isnan(fit.errors_m).any(axis=1)
    if lost.sum() > len(table.frames) // 4:
        raise CalibrationError(
            f"{lost.sum()} of {len(table.frames)} boxes lie at or above the fitted horizon",
            hint="check that y grows downwards and that boxes and places belong to the same rows",
        )
    return fit


def whole_boxes(table: BallPlaces, camera: CameraModel) -> np.ndarray:
    """Return (N,) bool: which boxes the picture's edge does not cut."""
    return np.array([not any(cut_sides(tuple(box), camera)) for box in table.boxes_px.tolist()])


@dataclass(frozen=True)
class CalibrationNotes:
    """What a person should hear about a fit beside its numbers."""

    fit: Calibration
    start: CameraModel

    def lines(self) -> list[str]:
        """Return a sentence for each parameter that went where a ruler would not believe it."""
        notes = []
        for name in MOUNTING:
            value, begin = getattr(self.fit.camera.mounting, name), getattr(self.start.mounting, name)
            limit = 0.03 if name.endswith("_m") else math.radians(3.0)
            if abs(value - begin) > limit:
                step = (
                    f"{1000 * (value - begin):+.0f} mm"
                    if name.endswith("_m")
                    else f"{math.degrees(value - begin):+.1f} degrees"
                )
                notes.append(
                    f"{name} moved by {step} from the camera file: measure it, or suspect the robot's pose in the table"
                )
        return notes


def leave_one_out(
    table: BallPlaces, fit: Calibration, start: CameraModel, groups: np.ndarray | None = None
) -> FloatArray:
    """Return the errors (N, 2), metres, of each ball under a fit that has not seen it (noise as in `fit`).

    With `groups` (N,) of labels all balls with the same label are left out together: neighbours share errors.
    """
    labels = np.arange(len(table.frames)) if groups is None else groups
    errors = np.empty((len(labels), 2))
    for label in np.unique(labels):
        out = labels == label
        without = _minimise(table.only(~out), start, fit.camera, fit.config, first=fit.values)
        errors[out] = without.locate(table.boxes_px[out]) - table.places_in_robot_m[out]
    return errors


def apply(camera: CameraModel, names: Sequence[str], values: Sequence[float]) -> CameraModel:
    """Return the camera with named parameters replaced; `k1` and `focal_scale` act on the intrinsics."""
    new = dict(zip(names, (float(v) for v in values), strict=True))
    intrinsics = camera.intrinsics
    if "k1" in new:
        intrinsics = replace(intrinsics, distortion=(new.pop("k1"), *intrinsics.distortion[1:]))
    if "focal_scale" in new:
        scale = new.pop("focal_scale")
        intrinsics = replace(intrinsics, fx=intrinsics.fx * scale, fy=intrinsics.fy * scale)
    contact = replace(camera.contact, **{n: new.pop(n) for n in CONTACT if n in new})
    return replace(camera, intrinsics=intrinsics, contact=contact, mounting=replace(camera.mounting, **new))


def _values_of(camera: CameraModel, names: Sequence[str]) -> FloatArray:
    special = {"k1": camera.intrinsics.distortion[0], "focal_scale": 1.0}
    found = [
        special[n] if n in special else getattr(camera.contact if n in CONTACT else camera.mounting, n) for n in names
    ]
    return np.array(found, dtype=float)


def _points(camera: CameraModel, boxes: FloatArray, config: FitConfig, extra: FloatArray) -> FloatArray:
    points = ball_points_px(boxes, camera)
    for term, value in zip(config.row_terms, extra, strict=True):
        points[:, 1] += value * term(boxes, camera)
    return points


def _predict(camera: CameraModel, table: BallPlaces) -> FloatArray:
    z = np.full((len(table.frames), 1), ball_plane_m(camera))
    return camera.project(np.hstack((table.places_in_robot_m, z)))


def _sigmas_px(camera: CameraModel, table: BallPlaces, config: FitConfig) -> FloatArray:
    """Noise (N, 2) of each residual in pixels: the box's, and the place's seen from the camera."""
    noise, mount, lens = camera.noise, camera.mounting, camera.intrinsics
    size = table.boxes_px[:, 2:] - table.boxes_px[:, :2]
    away = np.hypot(table.places_in_robot_m[:, 0] - mount.x_m, table.places_in_robot_m[:, 1] - mount.y_m)
    slant = np.hypot(away, mount.height_m)
    place_u = lens.fx / slant * config.place_sigma_m
    place_v = lens.fy * mount.height_m / slant**2 * config.place_sigma_m
    box = noise.box_share * size
    sigma_u = np.sqrt(noise.column_px**2 + box[:, 0] ** 2 + place_u**2)
    sigma_v = np.sqrt(noise.row_px**2 + box[:, 1] ** 2 + place_v**2)
    return np.stack((sigma_u, sigma_v), axis=1)


def _minimise(
    table: BallPlaces, start: CameraModel, noisy: CameraModel, config: FitConfig, first: FloatArray | None = None
) -> Calibration:
    """One robust fit with fixed noise (`noisy.noise`), from `first` or from the start."""
    names = config.free
    extras = len(config.row_terms)
    centre = np.concatenate((_values_of(start, names), np.zeros(extras)))
    prior = np.concatenate(([config.prior_sigma[n] for n in names], np.full(extras, 10.0)))
    sigma = _sigmas_px(noisy, table, config)
    base = replace(start, noise=noisy.noise)

    def camera_of(theta: FloatArray) -> CameraModel:
        return apply(base, names, theta[: len(names)].tolist())

    def residual(theta: FloatArray) -> FloatArray:
        camera = camera_of(theta)
        seen = _points(camera, table.boxes_px, config, theta[len(names) :])
        if config.metre_sigma is not None:
            floor = camera.ground_points(seen, plane_z_m=ball_plane_m(camera))
            return np.asarray(np.nan_to_num(floor - table.places_in_robot_m, nan=10.0) / config.metre_sigma)
        whitened: FloatArray = (seen - _predict(camera, table)) / sigma
        return whitened

    least = minimise(residual, centre if first is None else first, centre, prior, config.huber)
    if not least.found:
        raise CalibrationError(
            "the fit found no minimum among cameras that a robot can carry: boxes and places do not belong together",
            hint="check the rows' order, the units (mm, radians), that y grows downwards, and the camera file",
        )
    theta = least.parameters
    camera = camera_of(theta)
    ground = camera.ground_points(
        _points(camera, table.boxes_px, config, theta[len(names) :]), plane_z_m=ball_plane_m(camera)
    )
    pixels = _points(camera, table.boxes_px, config, theta[len(names) :]) - _predict(camera, table)
    return Calibration(
        camera=replace(camera, uncertainty=_uncertainty(names, least.covariance)),
        names=tuple(names) + tuple(f"row_term_{i}" for i in range(extras)),
        values=theta,
        sigmas=np.sqrt(np.diag(least.covariance)),
        covariance=least.covariance,
        errors_m=ground - table.places_in_robot_m,
        residuals_px=pixels,
        weights=least.weights,
        iterations=least.iterations,
        config=config,
    )


def _uncertainty(names: Sequence[str], covariance: FloatArray) -> CalibrationUncertainty:
    """Spread a fit's covariance over all that can be fitted; what was held fixed counts as known."""
    rows = [CALIBRATED.index(n) for n in names if n in CALIBRATED]
    mine = [k for k, n in enumerate(names) if n in CALIBRATED]
    full = np.zeros((len(CALIBRATED), len(CALIBRATED)))
    full[np.ix_(rows, rows)] = covariance[np.ix_(mine, mine)]
    return CalibrationUncertainty(covariance=tuple(tuple(float(v) for v in row) for row in full))


def _noise(fit: Calibration, table: BallPlaces) -> CameraNoise:
    """Return the camera's noise with the pixel sigmas that the residuals show (root mean square, cut at 3 sigma)."""
    noise = fit.camera.noise
    whitened = fit.residuals_px / _sigmas_px(fit.camera, table, fit.config)
    scale = np.sqrt(np.minimum(whitened**2, 9.0).mean(axis=0))
    return replace(
        noise,
        column_px=float(np.clip(noise.column_px * scale[0], 0.3, 20.0)),
        row_px=float(np.clip(noise.row_px * scale[1], 0.3, 20.0)),
    )
