"""`blackout calibrate lines`: the mounting from a recording in which the robot turned on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from perception.calibration.line_fit import fit_lines
from perception.calibration.line_report import lines_text, write_lines_report
from perception.camera import load_camera
from perception.camera.store import write_camera
from perception.field.model import field_model
from robot.cli._outputs import check_outputs
from robot.core.config import find_config, load
from robot.core.field import FieldGeometry
from robot.recording.reader import Recording
from robot.runtime.line_views import line_views
from robot.runtime.replay import robot_of


@dataclass(frozen=True)
class Lines:
    """The mounting from field lines seen while the robot turned once around: no tape measure, no balls.

    Example: blackout calibrate lines runs/turn.mcap --field division_b --out cal.toml --report runs/mounting
    """

    recording: Annotated[Path, tyro.conf.Positional]
    """A recording of `blackout play`: the robot turned on the spot, by itself or by hand, near some lines."""
    camera: str | None = None
    """Camera file (or shipped name) with the lens and the mounting as measured by hand; the recorded one by default."""
    field: str | None = None
    """Field whose lines these are: a TOML file or a shipped name; the recorded one by default."""
    out: Path | None = None
    """Camera file to write."""
    report: Path | None = None
    """A folder for report.txt and map.png."""
    salvage: bool = False
    """Read a cut recording as far as it goes."""


def run_lines(args: Lines) -> int:
    """Fit, print, write; returns 0."""
    check_outputs(files=[args.out], folders=[args.report])
    recording = Recording(args.recording, salvage=args.salvage)
    robot = robot_of(recording)
    start = load_camera(args.camera) if args.camera is not None else robot.camera
    field = load(FieldGeometry, find_config(args.field, "fields")) if args.field is not None else robot.field
    model = field_model(field)
    fit = fit_lines(list(line_views(recording, robot, start)), start, model)
    text = lines_text(fit, start)
    print(text)
    if args.out is not None:
        comment = f"Mounting by `blackout calibrate lines {args.recording.name}`.\n\n{text}"
        write_camera(args.out, fit.camera, comment)
        print(f"wrote {args.out}")
    if args.report is not None:
        for path in write_lines_report(args.report, fit, start, model):
            print(f"wrote {path}")
    return 0
