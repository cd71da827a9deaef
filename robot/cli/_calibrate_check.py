"""`blackout calibrate check`: does the camera still sit as it was calibrated?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from perception.calibration.bump import BumpMonitor, mended
from perception.calibration.line_attitude import Attitude, AttitudeConfig, LineView, fit_attitude
from perception.camera import load_camera
from perception.camera.model import CameraModel
from perception.camera.store import write_camera
from perception.capture.files import PictureFolder
from robot.cli._outputs import check_outputs
from robot.core.clock import NS_PER_S
from robot.core.errors import ConfigError
from robot.recording.reader import Recording
from robot.runtime.line_views import PictureLines, line_views
from robot.runtime.replay import robot_of

MIN_SHIFT_RAD = math.radians(0.6)


@dataclass(frozen=True)
class Check:
    """Ask the field's lines whether the camera was bumped since it was calibrated, and by how much.

    Example: blackout calibrate check runs/trial.mcap --camera cal.toml

    Exit code 0: it sits as it should; 1: it was bumped, or the pictures do not tell.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """A recording, or a folder of pictures from the robot's camera (each should show two lines or more)."""
    camera: str | None = None
    """Camera file or shipped name; a recording's own by default."""
    out: Path | None = None
    """Where a bumped camera's file goes, mended by what the lines say."""
    salvage: bool = False
    """Read a cut recording as far as it goes."""


def run_check(args: Check) -> int:
    """Check, print, say how to mend it."""
    check_outputs(files=[args.out])
    if args.source.is_dir():
        return _folder(args)
    recording = Recording(args.source, salvage=args.salvage)
    robot = robot_of(recording)
    camera = load_camera(args.camera) if args.camera is not None else robot.camera
    monitor = BumpMonitor(robot.config.bump, camera)
    start_ns: int | None = None
    bumped = False
    for view in line_views(recording, robot, camera, localise=True):
        start_ns = view.t_ns if start_ns is None else start_ns
        report = monitor.on_view(view)
        if report is not None and report.bumped != bumped:
            bumped = report.bumped
            t_s = (report.t_ns - start_ns) / NS_PER_S
            print(f"{t_s:7.1f} s  {'BUMPED: ' + report.text() if bumped else 'sits as calibrated again'}")
    last = monitor.report
    if last is None:
        print("the lines of this recording do not tell: at least two lines at several headings are needed")
        return 1
    print(f"{monitor.checks} checks; at the end {last.text()} against the camera file")
    if last.bumped and args.out is not None:
        _write(args.out, mended(camera, last), last.text())
    return _verdict(last.bumped)


def _folder(args: Check) -> int:
    if args.camera is None:
        raise ConfigError("pictures do not say which camera took them", hint="add --camera cal.toml")
    camera = load_camera(args.camera)
    fits = []
    for name, fit in _fits(args.source, camera):
        if fit is None:
            print(f"{name}: too few lines")
            continue
        sigmas = [math.degrees(s) for s in fit.sigma_rad()]
        print(
            f"{name}: pitch {math.degrees(fit.pitch_rad):+.2f} +- {sigmas[0]:.2f}, "
            f"roll {math.degrees(fit.roll_rad):+.2f} +- {sigmas[1]:.2f} degrees against the file "
            f"({fit.inliers} of {fit.segments} line pieces agree)"
        )
        if max(fit.sigma_rad()) < math.radians(2.0) and fit.inliers >= 4:
            fits.append(fit)
    if not fits:
        print("these pictures do not tell: each should show two lines or more, not all in one direction")
        return 1
    weight = [np.linalg.inv(fit.covariance[:2, :2]) for fit in fits]
    total = np.linalg.inv(np.sum(weight, axis=0))
    shift = total @ np.sum([w @ (f.pitch_rad, f.roll_rad) for w, f in zip(weight, fits, strict=True)], axis=0)
    sigma = np.sqrt(np.diag(total))
    size, away = float(np.hypot(*shift)), float(np.sqrt(shift @ np.linalg.solve(total, shift)))
    print(
        f"together: pitch {math.degrees(shift[0]):+.2f} +- {math.degrees(sigma[0]):.2f}, "
        f"roll {math.degrees(shift[1]):+.2f} +- {math.degrees(sigma[1]):.2f} degrees against the file"
    )
    return _verdict(size > MIN_SHIFT_RAD and away > 3.0)


def _fits(folder: Path, camera: CameraModel) -> Iterator[tuple[str, Attitude | None]]:
    source, finder = PictureFolder(folder, 30.0), PictureLines(camera)
    k = camera.intrinsics
    for index, path in enumerate(source.paths):
        image = source.read(index)
        if image is None or image.shape[1::-1] != (k.width_px, k.height_px):
            raise ConfigError(
                f"{path} is no picture of {k.width_px}x{k.height_px}", hint="give pictures of the calibrated camera"
            )
        segments, points = finder.find(image)
        view = LineView(t_ns=0, segments_px=segments, points_px=points)
        yield path.name, fit_attitude([view], camera, AttitudeConfig(repeats=1.0))


def _write(path: Path, camera: CameraModel, text: str) -> None:
    write_camera(path, camera, f"Mended by `blackout calibrate check`: {text}.")
    print(f"wrote {path}")


def _verdict(bumped: bool) -> int:
    if bumped:
        print("BUMPED. Mend: straighten and fasten the camera, or calibrate again (blackout calibrate lines)")
    else:
        print("the camera sits as it was calibrated")
    return int(bumped)
