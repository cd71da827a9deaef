"""Vision beside control: in a process of its own (on board) or in a thread (`--vision inline`); one loop for both.

Images never cross: what comes over the pipe is a `DetectionBatch`, a few hundred bytes to a few thousand.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import cv2

from perception.capture.opening import open_source
from perception.capture.source import CaptureStats, FrameSource
from perception.detection.detector import load_detector
from robot.core.clock import NS_PER_S, Clock, MonotonicClock
from robot.core.errors import CameraError, DetectorError, RobotError
from robot.core.messages import CameraFrame, DetectionBatch
from robot.recording.codec import from_json, to_json
from robot.recording.header import make_header
from robot.recording.writer import BackgroundRecorder, Recorder
from robot.runtime.ordered_pool import OrderedPool
from robot.runtime.robot_config import Robot
from robot.runtime.vision import VisionStage, make_vision

_POLL_S = 0.1
_STOP_S = 3.0
_READY, _DETECTIONS, _ERROR, _STATS = b"R", b"D", b"E", b"S"


@dataclass(frozen=True, kw_only=True)
class VisionReport:
    """What vision did: frames analysed, their rate, the capture's counters, frames that the recorder dropped."""

    analysed: int = 0
    duration_s: float = 0.0
    capture: CaptureStats | None = None
    frames_not_recorded: int = 0

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
    """Capture, detect, send; until told to stop or the source ends. Several stages take frames in turn, at once."""
    analysed, started_ns = 0, clock.now_ns()

    def deliver(frame: CameraFrame, batch: DetectionBatch) -> None:
        nonlocal analysed
        send(batch if batch.seq == analysed else replace(batch, seq=analysed))  # each stage counts for itself
        analysed += 1
        if recorder is not None:
            recorder.frame(frame)

    if len(stages) == 1:
        while not stopping() and not source.ended:
            frame = source.next_frame(_POLL_S)
            if frame is not None:
                deliver(frame, stages[0].process(frame, clock=clock))
    else:
        workers = [functools.partial(stage.process, clock=clock) for stage in stages]
        with OrderedPool(workers, deliver) as pool:
            while not stopping() and not source.ended:
                pool.wait_idle()  # before the frame is taken: a waiting frame only grows old
                frame = source.next_frame(_POLL_S)
                if frame is not None:
                    pool.submit(frame)
    if recorder is not None:
        recorder.close()
    return VisionReport(
        analysed=analysed,
        duration_s=(clock.now_ns() - started_ns) / NS_PER_S,
        capture=source.stats,
        frames_not_recorded=recorder.dropped["frame"] if recorder is not None else 0,
    )


def _open(robot: Robot, clock: Clock) -> tuple[FrameSource, list[VisionStage], dict[str, str]]:
    cv2.setNumThreads(1)
    detectors = [load_detector(robot.config.detection) for _ in range(robot.config.vision.workers)]
    for detector in detectors:
        detector.warm_up()
    model = {"name": detectors[0].model_name, "sha256": detectors[0].sha256, "runs": detectors[0].description}
    return open_source(robot.config.capture, clock), [make_vision(robot, d) for d in detectors], model


def _frame_recorder(robot: Robot, path: Path | None, model: dict[str, str]) -> BackgroundRecorder | None:
    if path is None or robot.config.recording.frame_rate_hz == 0.0:
        return None
    header = make_header(
        kind="frames", robot=robot.config, camera=robot.camera, field_geometry=robot.field, model=model, run={}
    )
    recording = robot.config.recording
    return BackgroundRecorder(Recorder(path, header, recording), queue_messages=min(recording.queue_messages, 16))


class InlineVision:
    """Vision in a thread of this process: for tests and for looking. The GIL ties it to control; see `VisionProcess`.

    Raises:
        CameraError: the camera does not open.
        DetectorError: the model does not load.
    """

    def __init__(self, robot: Robot, frames_path: Path | None, clock: Clock) -> None:
        self._source, stages, self.model = _open(robot, clock)
        self._seen: deque[DetectionBatch] = deque()
        self._stop = threading.Event()
        self._report = VisionReport()
        recorder = _frame_recorder(robot, frames_path, self.model)

        def loop() -> None:
            self._report = run_vision(self._source, stages, clock, self._seen.append, self._stop.is_set, recorder)

        self._thread = threading.Thread(target=loop, name="vision", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """See `Vision.alive`."""
        return self._thread.is_alive()

    def take(self) -> list[DetectionBatch]:
        """See `Vision.take`."""
        taken = []
        while self._seen:
            taken.append(self._seen.popleft())
        return taken

    def close(self) -> VisionReport:
        """See `Vision.close`."""
        self._stop.set()
        self._thread.join(_STOP_S)
        self._source.close()
        return self._report


class VisionProcess:
    """Vision in a process of its own; it ends when this object is closed, and also when this process dies.

    Args:
        robot: its camera and detector.
        frames_path: where it records frames, or None.
        start_timeout_s: for imports, model and camera.
        stopping: asked while waiting for the start, so that Ctrl-C works there too.

    Raises:
        CameraError, DetectorError: it could not start; the child's own words.
    """

    def __init__(
        self,
        robot: Robot,
        frames_path: Path | None,
        *,
        start_timeout_s: float = 60.0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        context = multiprocessing.get_context("spawn")  # a forked child would share the parent's threads' locks
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=_child, args=(child_end, robot, frames_path), name="vision", daemon=True)
        self._process.start()
        child_end.close()
        self._seen: deque[DetectionBatch] = deque()
        self._report: VisionReport | None = None
        self._error: dict[str, str] | None = None
        self.model: dict[str, str] = {}
        try:
            self._wait_ready(start_timeout_s, stopping)
        except BaseException:
            self._end()
            raise

    def _wait_ready(self, timeout_s: float, stopping: Callable[[], bool]) -> None:
        for _ in range(int(timeout_s / _POLL_S)):
            if self._pipe.poll(_POLL_S):
                self._receive()
            if self.model or stopping():
                return
            if self._error is not None or not self._process.is_alive():
                error = self._error or {"code": "detector", "message": "the vision process died at its start"}
                kind = CameraError if error["code"] == "camera" else DetectorError
                raise kind(error["message"], hint=error.get("hint", ""))
        raise DetectorError(f"the vision process was not ready within {timeout_s:g} s", hint="try --vision inline")

    @property
    def alive(self) -> bool:
        """See `Vision.alive`."""
        return self._report is None and self._process.is_alive()

    def take(self) -> list[DetectionBatch]:
        """See `Vision.take`."""
        self._receive()
        taken = list(self._seen)
        self._seen.clear()
        return taken

    def close(self) -> VisionReport:
        """See `Vision.close`."""
        if self._report is None:
            with contextlib.suppress(OSError):
                self._pipe.send_bytes(b"stop")
            for _ in range(int(_STOP_S / _POLL_S)):
                if self._report is not None or not self._process.is_alive():
                    break
                if self._pipe.poll(_POLL_S):
                    self._receive()
        self._end()
        self._report = self._report or VisionReport()
        return self._report

    def _receive(self) -> None:
        """Take in all messages that wait in the pipe."""
        try:
            while self._pipe.poll(0):
                data = self._pipe.recv_bytes()
                kind, body = data[:1], data[1:]
                if kind == _DETECTIONS:
                    self._seen.append(from_json(DetectionBatch, body))
                elif kind == _READY:
                    self.model = json.loads(body)
                elif kind == _ERROR:
                    self._error = json.loads(body)
                elif kind == _STATS:
                    stats: dict[str, Any] = json.loads(body)
                    self._report = VisionReport(**{**stats, "capture": CaptureStats(**stats["capture"])})
        except (EOFError, OSError):
            return  # the child has gone: `alive` says so

    def _end(self) -> None:
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(1.0)
        self._pipe.close()


def _child(pipe: Connection, robot: Robot, frames_path: Path | None) -> None:
    """The vision process. Ends on `stop`, on SIGTERM, at the end of a film, and when the parent has gone."""
    stopped = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    signal.signal(signal.SIGTERM, stop)

    def stopping() -> bool:
        if not stopped.is_set():
            try:
                if pipe.poll(0):
                    pipe.recv_bytes()
                    stopped.set()
            except (EOFError, OSError):
                stopped.set()
        return stopped.is_set()

    def send(batch: DetectionBatch) -> None:
        try:
            pipe.send_bytes(_DETECTIONS + to_json(batch))
        except OSError:
            stopped.set()

    clock = MonotonicClock()
    try:
        source, stages, model = _open(robot, clock)
    except RobotError as error:
        answer = {"code": error.code, "message": error.message, "hint": error.hint}
        pipe.send_bytes(_ERROR + json.dumps(answer).encode())
        return
    with source:
        pipe.send_bytes(_READY + json.dumps(model).encode())
        report = run_vision(source, stages, clock, send, stopping, _frame_recorder(robot, frames_path, model))
    with contextlib.suppress(OSError):
        pipe.send_bytes(_STATS + json.dumps(asdict(report)).encode())
