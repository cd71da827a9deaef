"""Judge ball and robot tracks by the truth of simulated trials with rendered pixels; count hijacks by clutter.

Example:
    blackout evaluate-tracks --cluttered 100 --trials 6 --workers 2 --json runs/tracks.json --plot runs/tracks.png
    blackout evaluate-tracks --cluttered 0 --trials 2 --kinds kicked wall

Each trial is rendered and recorded once (inputs and truth, no frames) under --recordings; later runs only judge the
recordings, in seconds, with the estimator of the day; recordings of another detector or configuration are refused.
Delete the folder after a change of the code of the simulator or the carpet scan. Exits with 1 when anything outside the
field reached the ball track.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from robot.cli._flags import parse_overrides
from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError
from robot.runtime.recorded_trials import check_recorded, model_text
from robot.runtime.robot_config import open_robot
from robot.runtime.track_trials import TrackJob, judge_track_trial, record_track_trial
from sim.evaluation.track_report import draw, summary, table
from sim.evaluation.trials import run_trials
from sim.scenarios.tracks import KINDS

CLUTTERED = "cluttered"


@dataclass(frozen=True)
class Args:
    """Flags of `blackout evaluate-tracks`."""

    trials: int = 6
    """trials per kind of motion"""
    cluttered: int = 100
    """trials with lookalikes around the field"""
    kinds: tuple[str, ...] = tuple(kind for kind in KINDS if kind != CLUTTERED)
    """kinds of motion to try"""
    seed: int = 1
    """seed of the first trial; the others count up"""
    recordings: Path = Path("runs/tracks")
    """folder of the recordings; what is missing there is played and recorded"""
    workers: int = 1
    """processes that play and judge side by side"""
    robot: str = "default"
    """robot file: a shipped name or a path"""
    override: tuple[str, ...] = ()
    """change values of the robot's configuration: key=value, key=value ..."""
    json: Path | None = None
    """write all figures here"""
    plot: Path | None = None
    """picture of one trial per kind of motion"""


def run(args: Args) -> int:
    """Record what is missing, judge, print; 1 when something outside the field reached the ball."""
    unknown = [kind for kind in args.kinds if kind not in KINDS]
    if unknown:
        raise ConfigError(f"no kind named {unknown[0]}", hint=f"kinds: {', '.join(KINDS)}")
    if min(args.trials, args.cluttered) < 0 or args.workers < 1:
        raise ConfigError("--trials and --cluttered >= 0, --workers >= 1 are needed", hint="evaluate-tracks --help")
    if args.trials * len(args.kinds) + args.cluttered == 0:
        raise ConfigError("no trial to judge", hint="give --trials (with --kinds) or --cluttered at least 1")
    check_outputs(files=[args.json, args.plot], folders=[args.recordings])
    robot = open_robot(args.robot, parse_overrides(args.override))
    counts = [(kind, args.trials) for kind in args.kinds] + [(CLUTTERED, args.cluttered)]
    jobs = [
        TrackJob(robot=robot, kind=kind, seed=args.seed + k, folder=args.recordings)
        for kind, count in counts
        for k in range(count)
    ]
    check_recorded([job.path for job in jobs], robot)
    missing = [job for job in jobs if not job.path.is_file()]
    started_s = time.perf_counter()
    for number, path in enumerate(run_trials(record_track_trial, missing, args.workers), 1):
        print(
            f"[{number}/{len(missing)}] {path} ({time.perf_counter() - started_s:.0f} s)", file=sys.stderr, flush=True
        )
    judge = functools.partial(judge_track_trial, robot=robot)
    results = list(run_trials(judge, [job.path for job in jobs], args.workers))
    figures = summary(results)
    print(f"played with {model_text(robot)}")
    print(table(figures))
    print(f"Pipeline.step: median {median(r.step_ms for r in results):.2f} ms over {len(results)} trials")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if args.plot is not None:
        firsts = {r.kind: r for r in reversed(results) if r.kind != CLUTTERED}
        draw(args.plot, [firsts[kind] for kind in args.kinds if kind in firsts])
    return 1 if any(r.ball.outside_used for r in results) else 0
