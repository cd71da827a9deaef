"""Many seeded trials, in parallel processes; each is independent of the others and of how many run beside it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from perception.detection.config import DetectionConfig
from perception.detection.detector import SsdDetector, load_detector
from robot.recording.header import make_header
from robot.recording.writer import Recorder
from robot.runtime.robot_config import Robot
from robot.runtime.simulation import TrialOutcome, play_trial


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """One trial to play; picklable.

    Attributes:
        robot: which robot plays.
        stage: of the challenge.
        seed: of the trial.
        record_in: folder for its recording, or None.
    """

    robot: Robot
    stage: int
    seed: int
    record_in: Path | None = None

    @property
    def recording(self) -> Path | None:
        """Where it is recorded."""
        return None if self.record_in is None else self.record_in / f"stage{self.stage}-seed{self.seed}.mcap"


def play_job(job: TrialJob, detector: SsdDetector | None = None) -> TrialOutcome:
    """Play one trial from its seed; the same job gives the same bytes, in whatever process.

    Raises:
        SimulationError: unknown stage, or no headless renderer.
        DetectorError: the model is missing.
        RecordingError: the recording cannot be written.
    """
    from sim.scenarios.trials import make_trial
    from sim.simulation import Simulation

    cv2.setNumThreads(1)  # trials run side by side: more threads only fight
    robot = job.robot
    detector = detector or shared_detector(robot.config.detection)
    setup = make_trial(job.stage, job.seed, robot.field)
    with Simulation(setup, robot.config.body, robot.camera) as world:
        if job.recording is None:
            return play_trial(robot, world, detector)
        header = make_header(
            kind="simulation",
            robot=robot.config,
            camera=robot.camera,
            field_geometry=robot.field,
            model={"name": detector.model_name, "sha256": detector.sha256, "runs": detector.description},
            run={"stage": job.stage, "seed": job.seed},
        )
        with Recorder(job.recording, header, robot.config.recording) as recorder:
            return play_trial(robot, world, detector, recorder)


@functools.lru_cache(maxsize=2)
def shared_detector(config: DetectionConfig) -> SsdDetector:
    """Load a detector once per process."""
    detector = load_detector(config)
    detector.warm_up()
    return detector


def summary(stage: int, outcomes: Sequence[TrialOutcome], wall_s: float) -> dict[str, Any]:
    """Return the challenge's JSON: the stable contract of `blackout challenge --json`."""
    trials = [_trial(o) for o in sorted(outcomes, key=lambda o: o.score.seed)]
    return {
        "stage": stage,
        "trials": trials,
        "success_rate": sum(t["success"] for t in trials) / len(trials) if trials else 0.0,
        "wall_s": wall_s,
        "sim_s": sum(t["sim_s"] for t in trials),
    }


def _trial(outcome: TrialOutcome) -> Mapping[str, Any]:
    score = outcome.score
    return {
        "seed": score.seed,
        "points": score.points,
        "max_points": score.max_points,
        "success": score.success,
        "time_s": score.time_s,
        "events": [list(event) for event in score.events],
        "sim_s": outcome.sim_s,
        "wall_s": outcome.wall_s,
        "command_sha256": outcome.command_sha256,
        "recording": str(outcome.recording) if outcome.recording is not None else None,
    }
