"""`blackout calibrate points`: the mounting from field points whose pixels are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro

from perception.calibration.field_points import fit_points, read_points
from perception.calibration.line_report import points_text, write_points_report
from perception.camera import load_camera
from perception.camera.store import write_camera
from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError
from robot.core.geometry import Pose2


@dataclass(frozen=True)
class Points:
    """The mounting from points of the field whose pixels are known: no balls, no motion, one picture.

    Example: blackout calibrate points points.csv --robot-pose 0 0 90 --out cal.toml --report runs/points
    """

    points: Annotated[Path, tyro.conf.Positional]
    """CSV with the columns u, v (pixels) and x_m, y_m (field frame); lines that start with # are comments."""
    camera: str = "c922_640x480"
    """The camera as measured by hand: a TOML file or a shipped name."""
    robot_pose: tuple[float, float, float] | None = None
    """Where the robot stood: x, y (metres), heading (degrees). Without it height, pitch and roll are fitted only."""
    height_mm: float | None = None
    """Height of the lens above the floor, by ruler, where it differs from the camera file."""
    pixel_sigma: float = 1.5
    """How exactly the pixels were read."""
    picture: Path | None = None
    """The picture itself, to draw the report on."""
    out: Path | None = None
    """Camera file to write."""
    report: Path | None = None
    """A folder for report.txt, residuals.csv and residuals.png."""


def run_points(args: Points) -> int:
    """Fit, print, write; returns 0."""
    check_outputs(files=[args.out], folders=[args.report])
    height = {"mounting.height_m": args.height_mm / 1000.0} if args.height_mm is not None else None
    start = load_camera(args.camera, height)
    points = read_points(args.points)
    pose = None
    if args.robot_pose is not None:
        x, y, degrees = args.robot_pose
        pose = Pose2(x, y, math.radians(degrees))
    fit = fit_points(points, start, pose, sigma_px=args.pixel_sigma)
    text = points_text(fit, start)
    print(text)
    if args.out is not None:
        comment = f"Fitted by `blackout calibrate points {args.points.name} --camera {args.camera}`.\n\n{text}"
        write_camera(args.out, fit.camera, comment)
        print(f"wrote {args.out}")
    if args.report is not None:
        image = None
        if args.picture is not None:
            read = cv2.imread(str(args.picture), cv2.IMREAD_COLOR)
            if read is None:
                raise ConfigError(f"cannot read the picture {args.picture}", hint="is it a whole .jpg or .png?")
            image = np.asarray(read, np.uint8)
        for path in write_points_report(args.report, fit, points, start, image):
            print(f"wrote {path}")
    return 0
