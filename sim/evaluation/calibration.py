"""Calibration on trial, with truth: a lens from rendered boards, a wrong mounting from a turn, bumps while playing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from perception.calibration.board import Board, BoardKind
from perception.calibration.bump import BumpConfig, BumpMonitor, BumpReport
from perception.calibration.intrinsics import IntrinsicsFit, collect, fit_intrinsics
from perception.calibration.line_bundle import LineFitConfig
from perception.calibration.line_fit import LineFit, fit_lines
from perception.camera.lens import distort, undistort
from perception.camera.model import CameraModel
from perception.camera.parameters import CameraIntrinsics
from perception.field.model import field_model
from robot.core.clock import NS_PER_S
from robot.core.errors import CalibrationError
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, Pose2
from sim.camera.board_pictures import BoardRenderer, PictureStyle, board_poses
from sim.camera.onboard import true_camera
from sim.evaluation.scripted import START_NS, drive, game, place_at, turn_and_shuttle
from sim.scenarios.trials import make_trial
from sim.setup import TrialSetup, seed_sequence
from sim.simulation import Simulation

# --- lens -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LensTrial:
    """A lens that was drawn, and what was found; `worst_px` is the largest difference of the two at any pixel, after
    the turn of the camera that explains most of it (a mounting absorbs that).
    """

    true: CameraIntrinsics
    fit: IntrinsicsFit
    median_px: float
    worst_px: float


def lens_trial(seed: int, kind: BoardKind = BoardKind.CHARUCO, pictures: int = 40) -> LensTrial:
    """Draw a lens, render a person's pictures of a board (some blurred), calibrate."""
    rng = np.random.default_rng(seed_sequence(seed))
    focal = float(rng.uniform(480.0, 760.0))
    k1 = float(rng.uniform(-0.2, 0.12))
    k2 = float(rng.uniform(-0.1, 0.1)) - 0.5 * k1
    p1, p2 = (float(v) for v in rng.normal(0.0, 0.001, 2))
    true = CameraIntrinsics(
        width_px=640,
        height_px=480,
        fx=focal,
        fy=focal * float(rng.uniform(0.995, 1.005)),
        cx=320.0 + float(rng.normal(0.0, 8.0)),
        cy=240.0 + float(rng.normal(0.0, 8.0)),
        distortion=(k1, k2, p1, p2, 0.0),
    )
    board = Board(kind=kind)
    renderer = BoardRenderer(board, true)
    taken = []
    for index, pose in zip(range(pictures), board_poses(board, true, rng), strict=False):
        blurred = bool(rng.random() < 0.15)
        style = PictureStyle(
            softness_px=float(rng.uniform(0.5, 1.1)),
            smear_px=float(rng.uniform(5.0, 12.0)) if blurred else 0.0,
            noise=float(rng.uniform(1.0, 6.0)),
        )
        taken.append((f"{index:03d}", renderer.render(pose, style, rng)))
    collector = collect(taken, board)
    fit = fit_intrinsics(collector.chosen(), collector.size_px)
    median, worst = lens_difference(true, fit.intrinsics)
    return LensTrial(true=true, fit=fit, median_px=median, worst_px=worst)


def lens_difference(true: CameraIntrinsics, found: CameraIntrinsics) -> tuple[float, float]:
    """Return (median, largest) distance in pixels between where two lenses show the same rays, over the picture.

    The small rotation that explains most of it is taken out: a principal point that is off is a camera that is
    turned, to first order, and the mounting is calibrated with the lens in place.
    """
    u, v = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 639, 33), np.linspace(0, 479, 25)))
    x, y = undistort((u - true.cx) / true.fx, (v - true.cy) / true.fy, true.distortion)
    rays = np.stack((x, y, np.ones_like(x)), axis=1)

    def shown(turn: FloatArray) -> FloatArray:
        seen = rays @ np.asarray(cv2.Rodrigues(turn)[0], dtype=float).T
        xd, yd = distort(seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2], found.distortion)
        return np.concatenate((found.fx * xd + found.cx - u, found.fy * yd + found.cy - v))

    turn = np.zeros(3)
    for _ in range(4):
        jacobian = np.stack([(shown(turn + d) - shown(turn - d)) / 2e-4 for d in 1e-4 * np.eye(3)], axis=1)
        turn = turn - np.linalg.lstsq(jacobian, shown(turn), rcond=None)[0]
    off = shown(turn).reshape(2, -1)
    apart = np.hypot(off[0], off[1])
    return float(np.median(apart)), float(apart.max())


# --- mounting ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TurnTrial:
    """A mounting that differs from its file by `wrong` (height, pitch, roll, yaw) and what the turn said of it.

    `left` is what remains wrong (same order), `sigmas` the fit's own; `fit` None and a `reason` where it refused.
    """

    seed: int
    wrong: FloatArray
    left: FloatArray
    sigmas: FloatArray
    start: CameraModel
    fit: LineFit | None
    reason: str = ""


def turn_trial(seed: int, camera: CameraModel, field: FieldGeometry, shift: FloatArray | None = None) -> TurnTrial:
    """Mount the camera wrongly, turn once around and drive a metre ahead and back, fit.

    Args:
        seed: venue, place on the field, errors of sensors and wheels, and (unless given) the wrong mounting.
        camera: its file.
        field: dimensions.
        shift: (height_m, pitch_rad, roll_rad, yaw_rad) by which the real camera differs from its file.
    """
    rng = np.random.default_rng(seed_sequence(seed))
    setup = make_trial(1, seed, field)
    if shift is None:
        shift = rng.normal(0.0, 1.0, 4) * (0.006, math.radians(2.0), math.radians(1.0), math.radians(2.0))
    errors = replace(
        setup.camera,
        height_m=float(shift[0]),
        pitch_rad=float(shift[1]),
        roll_rad=float(shift[2]),
        yaw_rad=float(shift[3]),
    )
    setup = place_at(replace(setup, camera=errors), _somewhere(rng, field, 1.3))
    views = [view for view, _ in drive(setup, camera, turn_and_shuttle(), every_s=0.2)]
    real = true_camera(camera, errors).mounting
    truth = np.array((real.height_m, real.pitch_rad, real.roll_rad, real.yaw_rad))
    try:
        fit = fit_lines(views, camera, field_model(field), LineFitConfig(max_sigma={}))  # yaw as fitted, too
    except CalibrationError as error:
        nothing = np.full(4, np.nan)
        return TurnTrial(
            seed=seed, wrong=shift, left=nothing, sigmas=nothing, start=camera, fit=None, reason=error.message
        )
    return TurnTrial(seed=seed, wrong=shift, left=fit.values[2:] - truth, sigmas=fit.sigmas[2:], start=camera, fit=fit)


def _somewhere(rng: np.random.Generator, field: FieldGeometry, from_wall_m: float) -> Pose2:
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    m = from_wall_m
    return Pose2(
        float(rng.uniform(x_min + m, x_max - m)),
        float(rng.uniform(y_min + m, y_max - m)),
        float(rng.uniform(-math.pi, math.pi)),
    )


# --- bumps ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BumpTrial:
    """A drive as in play with a camera that is knocked at `knock_s` (or never).

    `true_rad` is how far the camera then sits from its file, (pitch, roll, yaw jump); `history` all reports with
    their time; `told_s` when the first bump was reported, None if none was.
    """

    seed: int
    knock_rad: FloatArray
    knock_s: float
    true_rad: FloatArray
    history: tuple[tuple[float, BumpReport], ...]

    @property
    def told_s(self) -> float | None:
        """When a bump was reported first."""
        return next((t for t, report in self.history if report.bumped), None)

    @property
    def false_alarm(self) -> bool:
        """True when a bump was reported before there was one."""
        knocked = bool(np.any(self.knock_rad))
        return any(r.bumped and (not knocked or t < self.knock_s) for t, r in self.history)

    def error_rad(self) -> FloatArray | None:
        """Return found minus true (pitch, roll, yaw) by the last report that says bumped; None if there is none."""
        reports = [r for t, r in self.history if r.bumped and t > self.knock_s]
        if not reports:
            return None
        last = reports[-1]
        return np.array((last.pitch_rad, last.roll_rad, last.yaw_jump_rad)) - self.true_rad


def bump_trial(
    seed: int, camera: CameraModel, field: FieldGeometry, knock_rad: FloatArray, *, seconds: float = 18.0
) -> BumpTrial:
    """Drive as in play for some seconds, knock the camera at about the middle, watch.

    Args:
        seed: venue, place, drive, errors of everything.
        camera: its file; the real one differs by the trial's small errors from the start.
        field: dimensions.
        knock_rad: (pitch, roll, yaw) of the knock; zeros for a clean drive.
        seconds: of driving.
    """
    rng = np.random.default_rng(seed_sequence(seed))
    setup = place_at(make_trial(1, seed, field), _somewhere(rng, field, 1.3))
    knock_s = float(rng.uniform(0.35, 0.5)) * seconds
    monitor = BumpMonitor(BumpConfig(), camera)
    history = []
    knocks = ((knock_s, _knock(knock_rad)),)
    legs = game(rng, seconds)
    for view, _ in drive(setup, camera, legs, every_s=1.0 / 15.0, at=knocks, seconds=seconds, localise=True):
        report = monitor.on_view(view)
        if report is not None:
            history.append(((view.t_ns - START_NS) / NS_PER_S, report))
    return BumpTrial(
        seed=seed,
        knock_rad=knock_rad,
        knock_s=knock_s,
        true_rad=np.array((*_base(setup), 0.0)) + knock_rad,
        history=tuple(history),
    )


def _knock(knock_rad: FloatArray) -> Callable[[Simulation], None]:
    pitch, roll, yaw = (float(v) for v in knock_rad)

    def knock(world: Simulation) -> None:
        world.knock_camera(pitch_rad=pitch, roll_rad=roll, yaw_rad=yaw)

    return knock


def _base(setup: TrialSetup) -> tuple[float, float]:
    return setup.camera.pitch_rad, setup.camera.roll_rad
