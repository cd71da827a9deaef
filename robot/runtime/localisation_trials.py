"""Localisation trials recorded once: rendered pixels through the real vision chain, telemetry bytes, truth for reports.

The recordings hold what reached the pipeline (batches) and, apart from it, the truth. Evaluation feeds the batches to
fresh pipelines, as often as wanted and in seconds: the motion does not depend on the pose, see `sim.evaluation.wander`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path

import cv2

from perception.detection.config import DetectionConfig
from perception.detection.detector import SsdDetector, load_detector
from robot.core.messages import TickResult
from robot.recording.header import make_header
from robot.recording.writer import Recorder
from robot.runtime.robot_config import Robot
from robot.runtime.simulation import play_trial


@dataclass(frozen=True, kw_only=True)
class RecordJob:
    """One trial to record; picklable.

    Attributes:
        robot: which robot drives.
        seed: of the trial.
        folder: where `seed-N.mcap` goes; a finished one that is there is kept.
    """

    robot: Robot
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """The recording."""
        return self.folder / f"seed-{self.seed}.mcap"


class InputsOnly(Recorder):
    """Keeps batches and notes: results would be those of the estimator of that day."""

    def result(self, result: TickResult) -> None:
        """Keep nothing."""


def record_job(job: RecordJob) -> Path:
    """Drive and record one trial, unless its recording is there already.

    Raises:
        SimulationError: no headless renderer.
        DetectorError: the model is missing.
        RecordingError: the recording cannot be written.
    """
    from sim.evaluation.wander import Wanderer
    from sim.scenarios.localisation import KidnapSimulation, make_localisation_trial

    if job.path.is_file():
        return job.path
    cv2.setNumThreads(1)
    robot = job.robot
    detector = _detector(robot.config.detection)
    trial = make_localisation_trial(job.seed, robot.field)
    header = make_header(
        kind="simulation",
        robot=robot.config,
        camera=robot.camera,
        field_geometry=robot.field,
        model={"name": detector.model_name, "sha256": detector.sha256, "runs": detector.description},
        run={"seed": job.seed, "kidnap_s": trial.kidnap_s},
    )
    unfinished = job.path.with_suffix(".part")
    keep = dataclasses.replace(robot.config.recording, frame_rate_hz=0.0)
    with (
        KidnapSimulation(trial, robot.config.body, robot.camera) as world,
        InputsOnly(unfinished, header, keep) as recorder,
    ):
        play_trial(robot, world, detector, recorder, Wanderer(trial.legs))
    os.replace(unfinished, job.path)
    return job.path


@functools.lru_cache(maxsize=1)
def _detector(config: DetectionConfig) -> SsdDetector:
    detector = load_detector(config)
    detector.warm_up()
    return detector
