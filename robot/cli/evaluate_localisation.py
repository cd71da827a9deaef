"""Score localisation on simulated trials: found from nowhere, from a seed, tracking to 2 m/s, and carried away.

Example:
    blackout evaluate-localisation --trials 100 --seed 1 --out runs/localisation --workers 2
    blackout evaluate-localisation --trials 100 --seed 1 --out runs/localisation        # again, from the recordings

Each trial is rendered once (pixels through the detector, the carpet scan and the line finder) and recorded in
OUT/trials; the estimate is then computed from the recorded inputs, in seconds. Recordings of another detector or
configuration are refused; delete the folder after a change of code before the estimator.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot.cli._flags import parse_overrides
from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError
from robot.runtime.localisation_trials import RecordJob, record_job, replay_trial
from robot.runtime.recorded_trials import check_recorded, model_text
from robot.runtime.robot_config import open_robot
from sim.evaluation.localisation import TrialTrack, TrialVerdict, as_rows, judge, tracked_errors
from sim.evaluation.trials import run_trials


@dataclass(frozen=True)
class Args:
    """Flags of `blackout evaluate-localisation`."""

    trials: int = 20
    """How many trials."""
    seed: int = 1
    """Seed of the first trial; the others count up."""
    out: Path = Path("runs/localisation")
    """Folder for recordings (trials/), scores.json and pictures."""
    workers: int = 1
    """Processes that render side by side."""
    robot: str = "default"
    """Robot file: a shipped name or a path."""
    override: tuple[str, ...] = ()
    """Change values of the robot's configuration: key=value, key=value ..."""
    pictures: int = 4
    """Draw path and errors over time of so many trials, those that went worst."""
    record_only: bool = False
    """Only render and record."""


def run(args: Args) -> int:
    """Record what is not there yet, replay, print, write scores.json and pictures; returns 0."""
    if args.trials < 1 or args.workers < 1:
        raise ConfigError("--trials and --workers should be at least 1", hint="blackout evaluate-localisation --help")
    check_outputs(folders=[args.out])
    robot = open_robot(args.robot, parse_overrides(args.override))
    seeds = range(args.seed, args.seed + args.trials)
    jobs = [RecordJob(robot=robot, seed=seed, folder=args.out / "trials") for seed in seeds]
    check_recorded([job.path for job in jobs], robot)
    paths = []
    for path in run_trials(record_job, jobs, args.workers):
        paths.append(path)
        print(f"[{len(paths)}/{len(jobs)}] {path}", file=sys.stderr, flush=True)
    if args.record_only:
        return 0
    free = [replay_trial(robot, path, seeded=False) for path in paths]
    seeded = [replay_trial(robot, path, seeded=True) for path in paths]
    verdicts, seeded_verdicts = [judge(t) for t in free], [judge(t) for t in seeded]
    errors = tracked_errors(free)
    step_ms = sorted(float(v) for track in free for v in track.step_ms)
    print(f"played with {model_text(robot)}")
    print(text(verdicts, seeded_verdicts, errors, step_ms))
    scores = {
        "global": as_rows(verdicts),
        "seeded": as_rows(seeded_verdicts),
        "tracking": errors,
        "step_ms": {"median": step_ms[len(step_ms) // 2], "p99": step_ms[int(0.99 * len(step_ms))]},
    }
    (args.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    _draw(args, free, verdicts, robot.field)
    return 0


def text(
    verdicts: Sequence[TrialVerdict],
    seeded: Sequence[TrialVerdict],
    errors: dict[str, float],
    step_ms: Sequence[float],
) -> str:
    """Return the report."""
    n = len(verdicts)
    lines = [f"{n} trials"]
    for name, rows in (("global", verdicts), ("seeded", seeded)):
        good = sum(v.converged() for v in rows)
        times = [v.converged_s for v in rows if v.converged()]
        paths = [v.converged_path_m for v in rows if v.converged()]
        declared = sum(v.mirror_declared for v in rows if v.converged())
        lines.append(
            f"{name:9s} right within 5 s and 2 m: {good} of {n}; {_spread(times, 's')}; {_spread(paths, 'm')}; "
            f"up to the declared mirror twin: {declared}; wrong pose claimed: {sum(v.wrong_s for v in rows):.2f} s"
        )
        bad = [v.seed for v in rows if not v.converged()]
        if bad:
            lines.append(f"          not: seeds {', '.join(map(str, bad))}")
    if errors:
        e = errors
        lines.append(
            f"tracking  {e['seconds']:.0f} s: position median {1e3 * e['position_median_m']:.1f} mm, p90 "
            f"{1e3 * e['position_p90_m']:.1f}, p99 {1e3 * e['position_p99_m']:.1f}; heading median "
            f"{e['heading_median_deg']:.2f} degrees, p90 {e['heading_p90_deg']:.2f}; NEES inside its 95 % "
            f"bounds {100 * e['nees_inside']:.0f} % (too large {100 * e['nees_too_large']:.0f} %, "
            f"median {e['nees_median']:.2f})"
        )
        lines.append(
            f"          above 1.2 m/s (to {e['top_speed_m_s']:.1f}), {e['fast_seconds']:.0f} s: median "
            f"{1e3 * e['fast_position_median_m']:.1f} mm, {e['fast_heading_median_deg']:.2f} degrees"
        )
        rows = [v for v in verdicts if v.ate_rmse_m == v.ate_rmse_m]
        lost = statistics.mean(v.lost_share for v in rows if v.lost_share == v.lost_share)
        lines.append(
            f"          per trial, medians: ATE RMSE {1e3 * statistics.median(v.ate_rmse_m for v in rows):.1f} mm, "
            f"RPE over 1 s {1e3 * statistics.median(v.rpe_m for v in rows if v.rpe_m == v.rpe_m):.1f} mm, "
            f"lost {100 * lost:.2f} % of the time"
        )
    noticed = [v.noticed_s for v in verdicts if v.noticed_s <= 2.0]
    back = [v.recovered_s for v in verdicts if v.recovered_s == v.recovered_s]
    lines.append(
        f"kidnapped noticed within 2 s: {len(noticed)} of {n}; {_spread(noticed, 's')}; found again by the end (5 s): "
        f"{len(back)} of {n}; {_spread(back, 's')}; wrong pose claimed after the notice: "
        f"{sum(v.wrong_after_s for v in verdicts):.2f} s"
    )
    bad = [v.seed for v in verdicts if not v.noticed_s <= 2.0 or v.recovered_s != v.recovered_s]
    if bad:
        lines.append(f"          not: seeds {', '.join(map(str, bad))}")
    lines.append(
        f"step      median {step_ms[len(step_ms) // 2]:.2f} ms, p99 {step_ms[int(0.99 * len(step_ms))]:.2f} ms"
    )
    return "\n".join(lines)


def _spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    p90 = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return f"median {statistics.median(ordered):.2f}, p90 {p90:.2f}, worst {ordered[-1]:.2f} {unit}"


def _draw(args: Args, tracks: Sequence[TrialTrack], verdicts: Sequence[TrialVerdict], field: Any) -> None:
    """Draw the trials that went worst: not found, noticed late, not found again, or with the largest errors."""
    from sim.evaluation.localisation_pictures import draw_trial

    def badness(k: int) -> tuple[bool, bool, float]:
        v = verdicts[k]
        return (not v.converged(), not (v.noticed_s <= 2.0 and v.recovered_s == v.recovered_s), v.ate_rmse_m)

    order = sorted(range(len(tracks)), key=badness, reverse=True)
    for k in order[: args.pictures]:
        path = args.out / f"seed-{tracks[k].seed}.png"
        draw_trial(path, tracks[k], verdicts[k], field)
        print(path)
