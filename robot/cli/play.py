"""Play on the robot: camera, detector, pipeline, serial port, at 100 Hz.

Type `start`, `stop` or `halt` and Enter, or give --start. Ctrl-C stops the robot and ends.

    blackout play --robot my_robot.toml --start
    blackout play --camera file:runs/video.avi --port pty --seconds 60 --start     # no robot needed
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robot.cli._console import Console
from robot.cli._flags import parse_overrides
from robot.core.errors import ConfigError
from robot.runtime.onboard import PlayOptions, PlayReport, play
from robot.runtime.robot_config import open_robot


@dataclass(frozen=True)
class Args:
    """Flags of `blackout play`."""

    robot: str = "default"
    """Robot file: a shipped name or a path."""
    camera: str | None = None
    """Instead of the robot's: /dev/videoN, or file:VIDEO_OR_FOLDER at its true rate."""
    port: str | None = None
    """Instead of the robot's: /dev/ttyX, or pty for the firmware core in a process of its own."""
    vision: Literal["process", "inline"] = "process"
    """Vision in a process of its own, or in a thread of this one."""
    seconds: float = 0.0
    """Stop after this long; 0 plays until Ctrl-C."""
    stage: int = 1
    """Stage of the challenge."""
    start: bool = False
    """FORCE START as soon as the robot is ready, unless something is typed before."""
    seed_at: tuple[float, float] | None = None
    """Stage 3: X Y of a place within 0.5 m of the robot's, metres from the field's centre; no heading."""
    target: tuple[float, float] | None = None
    """Stage 3: X Y of the place to drive to."""
    record: Path = Path("runs")
    """Folder for the recording (a folder with date and time is made in it)."""
    no_record: bool = False
    """Record nothing."""
    override: tuple[str, ...] = ()
    """Change values of the robot's configuration: key=value, key=value ..."""


def run(args: Args) -> int:
    """Play and print the report; returns 1 after a crash, and when vision had died and did not come back.

    Raises:
        ConfigError: a flag is out of range, before anything is opened.
    """
    if not 0.0 <= args.seconds < math.inf:
        raise ConfigError(f"--seconds should be 0 or more, not {args.seconds:g}", hint="0 plays until Ctrl-C")
    overrides = parse_overrides(args.override)
    if args.camera is not None:
        overrides["capture.device"] = args.camera
    if args.port is not None:
        overrides["link.port"] = args.port
    robot = open_robot(args.robot, overrides)
    recording = None if args.no_record else _new_folder(args.record, time.strftime("play-%Y%m%d-%H%M%S")) / "run.mcap"
    options = PlayOptions(
        vision=args.vision,
        seconds=args.seconds,
        stage=args.stage,
        start=args.start,
        seed_in_field_m=args.seed_at,
        target_in_field_m=args.target,
        recording=recording,
    )
    with Console() as console:
        report = play(robot, options, lines=_typed(), said=console)
    print(_text(report))
    if recording is not None:
        print(f"recording: {recording}")
    return 1 if report.crash or report.vision.failure else 0


def _new_folder(parent: Path, name: str) -> Path:
    """Return a folder that is not there yet: a Jetson without a clock battery has the same date at every start."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(parent / each for each in names if not (parent / each).exists())


def _typed() -> Iterator[str]:
    """Lines of the terminal, an unfinished last one too; none where standard input is closed (as under systemd).

    Read from the descriptor, so that no thread holds the lock of `sys.stdin` when Python ends.
    """
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return
    text = ""
    with contextlib.suppress(OSError):  # the terminal has gone: the end of its input
        while data := os.read(descriptor, 1024):
            *lines, text = (text + data.decode(errors="replace")).split("\n")
            yield from lines
    if text:
        yield text


def _text(report: PlayReport) -> str:
    rate_hz = report.ticks / report.duration_s if report.duration_s > 0 else 0.0
    vision, capture = report.vision, report.vision.capture
    lines = [
        f"ended by {report.ended_by} after {report.duration_s:.1f} s, {report.ticks} ticks ({rate_hz:.1f} Hz)",
        f"period: median {report.periods.median_ms:.2f} ms, p99 {report.periods.p99_ms:.2f} ms, "
        f"max {report.periods.max_ms:.2f} ms, {report.overruns} overruns",
        f"vision: {vision.analysed} frames ({vision.rate_hz:.1f} Hz), {report.detections} batches used, "
        f"age at use median {report.detection_age.median_ms:.0f} ms, p99 {report.detection_age.p99_ms:.0f} ms",
    ]
    if vision.died:
        times = "once" if len(vision.died) == 1 else f"{len(vision.died)} times"
        end = "it did not come back" if vision.failure else "it was started again"
        lines.append(f"vision died {times} ({vision.died[-1]}): {end}")
    if capture is not None:
        lines.append(
            f"camera: {capture.frames} frames, {capture.dropped} dropped, {capture.bad} bad, {capture.stalls} stalls, "
            f"{capture.stamped_at_grab} stamped at grab"
        )
    if report.last is not None and report.last.link is not None:
        link = report.last.link
        errors = link.crc_errors + link.cobs_errors + link.length_errors
        lines.append(
            f"link: {link.state}, {link.rx_ok} frames in, {link.tx_frames} out, {errors} errors, "
            f"{link.sequence_gaps} gaps, round trip {link.round_trip_ns / 1e6:.1f} ms, reopened {report.port_reopened}"
        )
    telemetry = report.last.world.telemetry if report.last is not None else None
    if telemetry is not None:
        lines.append(f"battery: {telemetry.battery_v:.1f} V at the end")
    stages = ", ".join(f"{name} {s.median_ms:.2f}" for name, s in report.stages.items())
    lines.append(
        f"step: median {report.step.median_ms:.2f} ms, p99 {report.step.p99_ms:.2f} ms; medians of stages: {stages}"
    )
    if report.not_recorded or report.recorder_failure:
        lines.append(f"recorder: {report.not_recorded} messages dropped {report.recorder_failure}".rstrip())
    if vision.frames_not_recorded or vision.recorder_failure:
        lines.append(f"recorder: {vision.frames_not_recorded} frames not recorded {vision.recorder_failure}".rstrip())
    if report.crash:
        lines.append(f"CRASH (the robot was stopped):\n{report.crash}")
    return "\n".join(lines)
