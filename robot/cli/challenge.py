"""Play many seeded trials of a stage in the simulator and count points.

Example:
    blackout challenge --stage 1 --trials 40 --seed 1 --workers 2 --json runs/stage1.json
    blackout challenge --stage 1 --trials 1 --seed 7 --record runs/look     # then: blackout report runs/look/...
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from robot.cli._flags import parse_overrides
from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError
from robot.core.files import write_whole
from robot.recording.report import points_text
from robot.runtime.challenge import TrialJob, play_job, summary
from robot.runtime.robot_config import open_robot
from robot.runtime.simulation import TrialOutcome
from sim.evaluation.trials import run_trials


@dataclass(frozen=True)
class Args:
    """Flags of `blackout challenge`."""

    stage: int = 1
    """Stage of the challenge."""
    trials: int = 10
    """How many trials."""
    seed: int = 1
    """Seed of the first trial; the others count up."""
    workers: int = 1
    """Processes that play side by side."""
    robot: str = "default"
    """Robot file: a shipped name or a path."""
    json: Path | None = None
    """Write the results here."""
    record: Path | None = None
    """Folder for one recording per trial."""
    override: tuple[str, ...] = ()
    """Change values of the robot's configuration: key=value, key=value ..."""
    require: float = 0.0
    """Exit with 1 when the success rate is below this."""


def run(args: Args) -> int:
    """Play, print a table, write the JSON."""
    if args.trials < 1 or args.workers < 1:
        raise ConfigError("--trials and --workers should be at least 1", hint="blackout challenge --help")
    check_outputs(files=[args.json], folders=[args.record])
    robot = open_robot(args.robot, parse_overrides(args.override))
    jobs = [
        TrialJob(robot=robot, stage=args.stage, seed=seed, record_in=args.record)
        for seed in range(args.seed, args.seed + args.trials)
    ]
    started_s = time.perf_counter()
    outcomes: list[TrialOutcome] = []

    def finish() -> dict[str, Any]:
        result = summary(args.stage, outcomes, time.perf_counter() - started_s)
        if args.json is not None:
            write_whole(args.json, json.dumps(result, indent=1) + "\n")
        print(table(result))
        return result

    try:
        for outcome in run_trials(play_job, jobs, args.workers):
            outcomes.append(outcome)
            _tell(outcomes, len(jobs))
    except BaseException:  # Ctrl-C, a full disk: what an hour has played must not be lost
        if outcomes:
            print(f"ended after {len(outcomes)} of {len(jobs)} trials", file=sys.stderr)
            finish()
        raise
    return 0 if finish()["success_rate"] >= args.require else 1


def _tell(outcomes: list[TrialOutcome], count: int) -> None:
    score, good = outcomes[-1].score, sum(o.score.success for o in outcomes)
    print(
        f"[{len(outcomes)}/{count}] seed {score.seed}: {points_text(score.points, score.max_points)} in "
        f"{score.time_s:.1f} s ({outcomes[-1].wall_s:.0f} s here); so far {good}/{len(outcomes)}",
        file=sys.stderr,
        flush=True,
    )


def table(result: dict[str, Any]) -> str:
    """Return the summary as text: the trials that lost points one by one, then the totals."""
    trials = result["trials"]
    lines = [f"stage {result['stage']}: {len(trials)} trials"]
    for trial in trials:
        if not trial["success"]:
            events = "; ".join(f"{t:.1f} s {name}" for t, name in trial["events"])
            lines.append(f"  seed {trial['seed']}: {points_text(trial['points'], trial['max_points'])}: {events}")
    times = [t["time_s"] for t in trials if t["success"]]
    lines.append(f"  success rate {result['success_rate']:.3f}")
    off_m = [-t["points"] for t in trials if t["max_points"] == 0.0]
    if off_m:
        lines.append(f"  distance from the target: median {median(off_m):.3f} m, worst {max(off_m):.3f} m")
    if times:
        lines.append(f"  time of a success: median {median(times):.1f} s, worst {max(times):.1f} s")
    speed = result["sim_s"] / result["wall_s"] if result["wall_s"] > 0 else 0.0
    lines.append(f"  {result['sim_s']:.0f} s simulated in {result['wall_s']:.0f} s ({speed:.1f} x real time)")
    return "\n".join(lines)
