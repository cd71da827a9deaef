"""`blackout calibrate balls`: mounting and the ball's contact rule from balls at measured places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from perception.calibration.ball_compare import compare
from perception.calibration.ball_report import report_text, write_report
from perception.calibration.ball_table import read_places
from perception.calibration.balls import CalibrationNotes, calibrate, leave_one_out, whole_boxes
from perception.camera import load_camera
from perception.camera.store import write_camera
from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError


@dataclass(frozen=True)
class Balls:
    """Mounting and the ball's contact rule from balls at measured places.

    Example: blackout calibrate balls session.csv --camera c922_640x480 --out cal.toml --report runs/calibration
    """

    points: Annotated[Path, tyro.conf.Positional]
    """CSV of one session: boxes, the robot's pose and the ball's place (see docs/calibration.md)."""
    camera: str = "c922_640x480"
    """The camera as measured by hand: a TOML file or a shipped name. Its mounting is the start and the prior."""
    out: Path | None = None
    """Where the fitted camera goes (TOML, readable by --camera and --calibration)."""
    report: Path | None = None
    """A folder for report.txt, residuals.csv and residuals.png."""
    compare: bool = False
    """Compare models by leave-one-out and print a Markdown table, instead of fitting one."""
    height_mm: float | None = None
    """Height of the lens above the floor, by ruler, where it differs from the camera file."""


def run_balls(args: Balls) -> int:
    """Fit, print the report, write the files."""
    if args.out is None and not args.compare:
        raise ConfigError("nowhere to write the fitted camera", hint="add --out cal.toml (or --compare)")
    check_outputs(files=[args.out], folders=[args.report])
    height = {"mounting.height_m": args.height_mm / 1000.0} if args.height_mm is not None else None
    start = load_camera(args.camera, height)
    table = read_places(args.points)
    whole = whole_boxes(table, start)
    if not whole.all():
        print(f"{int((~whole).sum())} boxes touch the picture's edge and are left out")
        table = table.only(whole)
    if args.compare:
        print(compare(table, start))
        return 0
    fit = calibrate(table, start)
    held_out = leave_one_out(table, fit, start)
    text = report_text(table, fit, held_out)
    print(text)
    for note in CalibrationNotes(fit, start).lines():
        print(f"note: {note}")
    if args.out is not None:
        comment = f"Fitted by `blackout calibrate balls {args.points.name} --camera {args.camera}`.\n\n{text}"
        write_camera(args.out, fit.camera, comment)
        print(f"wrote {args.out}")
    if args.report is not None:
        for path in write_report(args.report, table, fit, held_out):
            print(f"wrote {path}")
    return 0
