"""Fit odometry constants, camera lag and direction, and noise to runs with a reference.

Example:
    blackout fit-motion run1.csv run2.csv --robot my_robot.toml --out fitted/my_robot.toml
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from perception.camera.store import write_camera
from perception.estimation.logs.fit_robot import RobotFit, fit_robot
from perception.estimation.logs.navigation_log import read_log
from robot.cli._outputs import check_outputs
from robot.core.config import find_config, read_toml, to_dict
from robot.core.errors import ConfigError
from robot.core.files import write_whole
from robot.runtime.robot_config import open_robot

FITTED = ("motion", "vision")


@dataclass(frozen=True)
class Args:
    """Flags of `blackout fit-motion`."""

    logs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """CSV logs with reference poses (see docs/localisation.md); two or more of different character are best."""
    out: Path
    """Where the fitted robot goes (TOML)."""
    camera_out: Path | None = None
    """Where its camera goes (TOML); beside the robot, as NAME_camera.toml, where this is not given."""
    robot: str = "robocin_half_field"
    """The robot to start from: a TOML file or a shipped name; what is not fitted is kept."""
    camera: str = ""
    """The camera to start from, instead of the robot's own."""


def run(args: Args) -> int:
    """Fit, print the report, write robot and camera."""
    if not args.logs:
        raise ConfigError("no logs given", hint="blackout fit-motion run1.csv run2.csv --out my_robot.toml")
    check_outputs(files=[args.out, args.camera_out])
    robot = open_robot(args.robot, {"camera": args.camera} if args.camera else None)
    config = robot.config
    fit = fit_robot([read_log(p) for p in args.logs], config.estimation, config.body, robot.field, robot.camera)
    names = " ".join(path.name for path in args.logs)
    start = f" --camera {args.camera}" if args.camera else ""
    comment = f"Fitted by `blackout fit-motion {names} --robot {args.robot}{start}`.\n\n{fit.text()}"
    print(fit.text())
    camera_path = args.camera_out or args.out.with_name(f"{args.out.stem}_camera.toml")
    table = read_toml(find_config(args.robot, "robots"))
    beside = os.path.relpath(camera_path.resolve(), args.out.resolve().parent)
    write_camera(camera_path, fit.camera, comment)
    write_whole(args.out, _robot_toml(table, fit, beside, comment))
    print(f"wrote {args.out} and {camera_path}")
    return 0


def _robot_toml(table: dict[str, Any], fit: RobotFit, camera: str, comment: str) -> str:
    """Return the text of a robot's file: the one that was read, with the fitted values in their places."""
    estimation = dict(table.get("estimation", {}))
    fitted = to_dict(fit.config)
    for name in FITTED:
        estimation[name] = fitted[name]
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += ["", *_toml({**table, "camera": camera, "estimation": estimation}, "")]
    return "\n".join(lines) + "\n"


def _toml(table: dict[str, Any], prefix: str) -> list[str]:
    lines = [f"{key} = {_literal(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            name = f"{prefix}.{key}" if prefix else key
            inner = _toml(value, name)
            has_values = any(not isinstance(v, dict) for v in value.values())
            lines += ["", f"[{name}]", *inner] if has_values else inner
    return lines


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
