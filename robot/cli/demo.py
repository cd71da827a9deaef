"""Play one whole stage 1 trial in the simulator: pixels in, firmware out; leaves a report, a picture, a recording.

Example: blackout demo --seed 2 --out runs/demo
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from robot.cli._outputs import check_outputs


@dataclass(frozen=True)
class Args:
    """Flags of `blackout demo`."""

    seed: int = 2
    """Which trial; everything random in it is drawn from this."""
    robot: str = "default"
    """Robot file: a shipped name or a path."""
    out: Path = Path("runs/demo")
    """Folder for report.html, picture.png and the recording."""


def run(args: Args) -> int:
    """Play, then write report and picture; 0 when the trial succeeded."""
    from robot.recording.picture import write_picture
    from robot.recording.reader import Recording
    from robot.recording.report import write_report
    from robot.runtime.challenge import TrialJob, play_job
    from robot.runtime.robot_config import open_robot

    check_outputs(folders=[args.out])
    print("playing one trial of stage 1 (grab the ball); about a minute ...", file=sys.stderr)
    job = TrialJob(robot=open_robot(args.robot), stage=1, seed=args.seed, record_in=args.out)
    outcome = play_job(job)
    assert outcome.recording is not None  # record_in was given
    recording = Recording(outcome.recording)
    report = write_report(recording, args.out)
    picture = write_picture(recording, args.out / "picture.png")
    score = outcome.score
    for t_s, event in score.events:
        print(f"  {t_s:6.2f} s  {event}")
    print(f"{'success' if score.success else 'FAILED'}: {score.points:g} of {score.max_points:g} points")
    print(f"{outcome.sim_s:.1f} s simulated in {outcome.wall_s:.1f} s; step {outcome.step_median_ms:.2f} ms median")
    print(f"report    {report}\npicture   {picture}\nrecording {outcome.recording}")
    print(f"replay it bit for bit: .venv/bin/blackout replay {outcome.recording}")
    return 0 if score.success else 1
