"""Calibrate the camera: lens, mounting, contact rule; check it. Ten minutes, see docs/calibration.md.

Example:
    blackout calibrate board board.pdf
    blackout calibrate intrinsics file:board.mp4 --out lens.toml --report runs/lens
    blackout calibrate lines runs/turn.mcap --camera lens.toml --out cal.toml --report runs/mounting
    blackout calibrate balls session.csv --camera cal.toml --out cal.toml --report runs/balls
    blackout calibrate check runs/trial.mcap

A table of balls may be given without the word `balls`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from robot.cli._calibrate_balls import Balls, run_balls
from robot.cli._calibrate_board import BoardFile, run_board
from robot.cli._calibrate_check import Check, run_check
from robot.cli._calibrate_intrinsics import Intrinsics, run_intrinsics
from robot.cli._calibrate_lines import Lines, run_lines
from robot.cli._calibrate_points import Points, run_points

Args = (
    Annotated[BoardFile, tyro.conf.subcommand("board")]
    | Annotated[Intrinsics, tyro.conf.subcommand("intrinsics")]
    | Annotated[Lines, tyro.conf.subcommand("lines")]
    | Annotated[Points, tyro.conf.subcommand("points")]
    | Annotated[Balls, tyro.conf.subcommand("balls")]
    | Annotated[Check, tyro.conf.subcommand("check")]
)

_WAYS = ("board", "intrinsics", "lines", "points", "balls", "check")


def rewrite(argv: list[str]) -> list[str]:
    """Put `balls` before the flags where no way of calibrating is named: the form of the first release.

    A word that is no file is a way misspelt, and is left to be named as that.
    """
    if not argv or argv[0] in (*_WAYS, "-h", "--help"):
        return argv
    table = Path(argv[0])
    return ["balls", *argv] if argv[0].startswith("-") or table.suffix or table.exists() else argv


def run(args: Args) -> int:
    """Do it; returns the exit code."""
    if isinstance(args, BoardFile):
        return run_board(args)
    if isinstance(args, Intrinsics):
        return run_intrinsics(args)
    if isinstance(args, Lines):
        return run_lines(args)
    if isinstance(args, Points):
        return run_points(args)
    if isinstance(args, Check):
        return run_check(args)
    return run_balls(args)
