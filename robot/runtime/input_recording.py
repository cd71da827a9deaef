"""Records a scripted drive as inputs alone: pictures' boxes and lines, telemetry bytes, and beside them the truth.

Results are left out: they would be those of the estimator of that day, and the recording is for judging later ones.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from perception.detection.detector import SsdDetector
from robot.core.messages import TickResult
from robot.recording.header import make_header
from robot.recording.writer import Recorder
from robot.runtime.pipeline import Decides
from robot.runtime.robot_config import Robot
from robot.runtime.simulation import World, play_trial


class InputsOnly(Recorder):
    """Keeps batches and notes."""

    def result(self, result: TickResult) -> None:
        """Keep nothing."""


def record_inputs(
    path: Path,
    robot: Robot,
    detector: SsdDetector,
    world: AbstractContextManager[World],
    player: Decides,
    run: dict[str, Any],
) -> None:
    """Drive once and record; nothing is left at `path` unless the drive came to its end.

    Args:
        path: of the recording.
        robot: which robot drives.
        detector: sees the rendered pictures.
        world: a simulation at time 0, not entered yet.
        player: the script that drives.
        run: what the header says of this trial.

    Raises:
        SimulationError: no headless renderer.
        RecordingError: the recording cannot be written.
    """
    header = make_header(
        kind="simulation",
        robot=robot.config,
        camera=robot.camera,
        field_geometry=robot.field,
        model={"name": detector.model_name, "sha256": detector.sha256, "runs": detector.description},
        run=run,
    )
    unfinished = path.with_suffix(f".{os.getpid()}.part")  # two commands may record at the same time
    keep = dataclasses.replace(robot.config.recording, frame_rate_hz=0.0)
    with world as running, InputsOnly(unfinished, header, keep) as recorder:
        play_trial(robot, running, detector, recorder, player)
    os.replace(unfinished, path)
