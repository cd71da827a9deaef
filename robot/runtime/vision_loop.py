"""What vision does, wherever it runs: capture, detect, send; and what it tells of itself at its end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2

from perception.capture.opening import open_source
from perception.capture.source import CaptureStats, FrameSource
from perception.detection.detector import load_detector
from robot.core.clock import NS_PER_S, Clock
from robot.core.messages import CameraFrame, DetectionBatch
from robot.recording.header import make_header
from robot.recording.writer import BackgroundRecorder, Recorder
from robot.runtime.ordered_pool import OrderedPool
from robot.runtime.robot_config import Robot
from robot.runtime.vision import Look, VisionStage, make_stages

_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class VisionReport:
    """What vision did.

    Attributes:
        analysed: frames that were analysed.
        duration_s: how long it ran.
        capture: the capture's counters; None where it died and took them along.
        frames_not_recorded: frames that the recorder dropped.
        recorder_failure: why the frames' recording is cut; empty when it is whole.
        failure: why it ended by itself; empty when it was told to end, or when the film was over.
        died: every such end, oldest first, where vision is started again after one (`KeptVision`).
    """

    analysed: int = 0
    duration_s: float = 0.0
    capture: CaptureStats | None = None
    frames_not_recorded: int = 0
    recorder_failure: str = ""
    failure: str = ""
    died: tuple[str, ...] = ()

    @property
    def rate_hz(self) -> float:
        """Analysed frames per second."""
        return self.analysed / self.duration_s if self.duration_s > 0 else 0.0


class Vision(Protocol):
    """What the control loop needs of vision."""

    model: dict[str, str]

    @property
    def alive(self) -> bool:
        """False once it has ended, for whatever reason."""
        ...

    def take(self) -> list[DetectionBatch]:
        """Return what has been seen since the last call; never waits."""
        ...

    def close(self) -> VisionReport:
        """End it and return what it did; calling it again returns the same."""
        ...


def run_vision(
    source: FrameSource,
    stages: Sequence[VisionStage],
    clock: Clock,
    send: Callable[[DetectionBatch], None],
    stopping: Callable[[], bool],
    recorder: BackgroundRecorder | None,
) -> VisionReport:
    """Capture, detect, send; until told to stop or the source ends. Several stages take frames in turn, at once.

    Closes the recorder, whatever happens; the source stays open.
    """
    analysed, started_ns = 0, clock.now_ns()

    def deliver(frame: CameraFrame, seen: Look) -> None:
        nonlocal analysed
        batch = stages[0].in_order(frame, seen)
        send(batch if batch.seq == analysed else replace(batch, seq=analysed))  # each stage counts for itself
        analysed += 1
        if recorder is not None:
            recorder.frame(frame)

    try:
        if len(stages) == 1:
            while not stopping() and not source.ended:
                frame = source.next_frame(_POLL_S)
                if frame is not None:
                    deliver(frame, stages[0].look(frame, clock=clock))
        else:
            workers = [functools.partial(stage.look, clock=clock) for stage in stages]
            with OrderedPool(workers, deliver) as pool:
                while not stopping() and not source.ended:
                    pool.wait_idle()  # before the frame is taken: a waiting frame only grows old
                    frame = source.next_frame(_POLL_S)
                    if frame is not None:
                        pool.submit(frame)
    finally:
        if recorder is not None:
            recorder.close()
    return VisionReport(
        analysed=analysed,
        duration_s=(clock.now_ns() - started_ns) / NS_PER_S,
        capture=source.stats,
        frames_not_recorded=recorder.dropped["frame"] if recorder is not None else 0,
        recorder_failure=str((recorder.failure if recorder is not None else None) or ""),
    )


def open_vision(robot: Robot, clock: Clock) -> tuple[FrameSource, list[VisionStage], dict[str, str]]:
    """Return the source, the stages and what the recording's header says of the detector.

    Raises:
        CameraError: the camera does not open, or a film is not of its size.
        DetectorError: the model does not load.
    """
    cv2.setNumThreads(1)
    detectors = [load_detector(robot.config.detection) for _ in range(robot.config.vision.workers)]
    for detector in detectors:
        detector.warm_up()
    model = {"name": detectors[0].model_name, "sha256": detectors[0].sha256, "runs": detectors[0].description}
    lens = robot.camera.intrinsics
    source = open_source(robot.config.capture, clock, size_px=(lens.width_px, lens.height_px))
    return source, make_stages(robot, detectors), model


def frame_recorder(robot: Robot, path: Path | None, model: dict[str, str]) -> BackgroundRecorder | None:
    """Return what records the frames, or None where none are wanted.

    Raises:
        RecordingError: the file cannot be written.
    """
    if path is None or robot.config.recording.frame_rate_hz == 0.0:
        return None
    header = make_header(
        kind="frames", robot=robot.config, camera=robot.camera, field_geometry=robot.field, model=model, run={}
    )
    recording = robot.config.recording
    return BackgroundRecorder(Recorder(path, header, recording), queue_messages=min(recording.queue_messages, 16))
