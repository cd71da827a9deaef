"""Estimate the robot's pose along a recorded run from odometry and goal boxes.

Example:
    blackout localize run.csv --robot robocin_half_field --seed-from-log --out runs/poses.csv --evaluate
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from perception.estimation.logs.evaluation import plot, reference_of, report
from perception.estimation.logs.navigation_log import NavigationLog, read_log
from perception.estimation.logs.offline import Seed, localize, raw_odometry, write_poses
from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, wrap_angle
from robot.runtime.robot_config import open_robot

OUTSIDE_M = 1.0
"""A reference may be off, and a robot may stand beside the field."""


@dataclass(frozen=True)
class Args:
    """Flags of `blackout localize`."""

    log: Annotated[Path, tyro.conf.Positional]
    """CSV of one run (see docs/localisation.md): t, odometry, goal boxes; pos_* only as seed and for --evaluate."""
    out: Path
    """Where the poses go: t, x_m, y_m, theta_rad, sigma_x_m, sigma_y_m, sigma_theta_rad, one row per row of the log."""
    robot: str = "robocin_half_field"
    """The robot: a TOML file or a shipped name."""
    seed: str = ""
    """Pose at the first row: x,y,theta in metres and radians (or degrees, with deg: 1.0,-2.0,90deg)."""
    seed_from_log: bool = False
    """Take the seed from pos_x, pos_y, pos_theta of the first row."""
    seed_sigma_m: float = 0.02
    """Standard deviation of the seed's x and y, metres."""
    seed_sigma_deg: float = 1.2
    """Standard deviation of the seed's heading, degrees."""
    evaluate: bool = False
    """Compare with the log's reference poses, beside raw odometry."""
    plot: Path | None = None
    """Draw path and errors against the reference into this PNG."""


def run(args: Args) -> int:
    """Localise, write, and compare where asked."""
    check_outputs(files=[args.out, args.plot])
    robot = open_robot(args.robot)
    log = read_log(args.log)
    if args.evaluate or args.plot is not None:
        reference_of(log)  # said before the work, not after it
    seed = _seed(args, log, robot.field)
    config = robot.config
    table = localize(log, config.estimation, config.body, robot.field, robot.camera, seed)
    write_poses(args.out, table)
    print(f"wrote {args.out}: {len(log)} poses")
    if args.evaluate or args.plot is not None:
        # The baseline starts where the reference starts, whatever the seed.
        raw = raw_odometry(log, log.reference_pose(0))
        if args.evaluate:
            print(report(log, table, raw))
        if args.plot is not None:
            plot(args.plot, log, table, raw)
            print(f"wrote {args.plot}")
    return 0


def _seed(args: Args, log: NavigationLog, field: FieldGeometry) -> Seed:
    if bool(args.seed) == args.seed_from_log:
        raise ConfigError("no seed, or two", hint="give either --seed x,y,theta or --seed-from-log")
    if not (0.0 < args.seed_sigma_m < 10.0 and 0.0 < args.seed_sigma_deg < 180.0):
        raise ConfigError("seed sigmas must be positive", hint="e.g. --seed-sigma-m 0.02 --seed-sigma-deg 1.2")
    pose = log.reference_pose(0) if args.seed_from_log else parse_pose(args.seed)
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    if not (x_min - OUTSIDE_M < pose.x_m < x_max + OUTSIDE_M and y_min - OUTSIDE_M < pose.y_m < y_max + OUTSIDE_M):
        raise ConfigError(
            f"the seed ({pose.x_m:g}, {pose.y_m:g}) lies outside of the field's walls "
            f"(x {x_min:g} to {x_max:g}, y {y_min:g} to {y_max:g} m)",
            hint="give it in metres, in the field's frame; or another --robot, whose field it is",
        )
    return Seed(pose, args.seed_sigma_m, math.radians(args.seed_sigma_deg))


def parse_pose(text: str) -> Pose2:
    """Read `x,y,theta`: metres and radians, or degrees where the last ends in `deg`.

    Raises:
        ConfigError: not three finite numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    in_degrees = parts[-1].endswith("deg")
    try:
        values = [float(part.removesuffix("deg")) if i == 2 else float(part) for i, part in enumerate(parts)]
    except ValueError:
        values = []
    if len(values) != 3 or not all(math.isfinite(v) for v in values):
        raise ConfigError(f"--seed {text!r} is not a pose", hint="write --seed=x,y,theta, e.g. --seed=0.33,-2.39,0.45")
    if not in_degrees and abs(values[2]) > 2.0 * math.tau:
        raise ConfigError(
            f"--seed {text!r}: {values[2]:g} is more than two turns in radians", hint=f"degrees are {values[2]:g}deg"
        )
    return Pose2(values[0], values[1], wrap_angle(math.radians(values[2]) if in_degrees else values[2]))
