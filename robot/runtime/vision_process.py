"""Vision beside control: in a process of its own (on board) or in a thread (`--vision inline`); one loop for both.

Images never cross: what comes over the pipe is a `DetectionBatch`, a few hundred bytes to a few thousand.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from perception.capture.source import CaptureStats
from robot.core.clock import NS_PER_S, Clock, MonotonicClock
from robot.core.errors import CameraError, DetectorError, RecordingError, RobotError
from robot.core.messages import DetectionBatch
from robot.recording.codec import from_json, to_json
from robot.runtime.robot_config import Robot
from robot.runtime.vision_loop import VisionReport, frame_recorder, open_vision, run_vision

LOG = logging.getLogger(__name__)

_POLL_S = 0.1
_STOP_S = 3.0
_BEAT_S, _SILENCE_S = 0.5, 5.0
"""The child says something at least so often; silent for the second, it hangs: in a driver, a camera, an engine."""
_READY, _DETECTIONS, _ERROR, _STATS, _BEAT = b"R", b"D", b"E", b"S", b"B"
_ERRORS: dict[str, type[RobotError]] = {"camera": CameraError, "recording": RecordingError}


class InlineVision:
    """Vision in a thread of this process: for tests and for looking. The GIL ties it to control; see `VisionProcess`.

    Raises:
        CameraError: the camera does not open.
        DetectorError: the model does not load.
        RecordingError: the frames' file cannot be written.
    """

    def __init__(self, robot: Robot, frames_path: Path | None, clock: Clock) -> None:
        self._source, stages, self.model = open_vision(robot, clock)
        self._seen: deque[DetectionBatch] = deque()
        self._stop = threading.Event()
        self._report = VisionReport()
        try:
            recorder = frame_recorder(robot, frames_path, self.model)
        except RecordingError:
            self._source.close()
            raise
        sent, begun_ns = 0, clock.now_ns()

        def send(batch: DetectionBatch) -> None:
            nonlocal sent
            sent += 1
            self._seen.append(batch)

        def loop() -> None:
            try:
                self._report = run_vision(self._source, stages, clock, send, self._stop.is_set, recorder)
            except Exception as error:
                LOG.exception("vision died")
                self._report = VisionReport(
                    analysed=sent,
                    duration_s=(clock.now_ns() - begun_ns) / NS_PER_S,
                    capture=self._source.stats,
                    failure=_name(error),
                )

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

    A child that says nothing for some seconds, not even that it has no frame, is not alive and is killed by `close`.
    `take` and `close` may be called from different threads.

    Args:
        robot: its camera and detector.
        frames_path: where it records frames, or None.
        start_timeout_s: for imports, model and camera.
        stopping: asked while waiting for the start, so that Ctrl-C works there too.

    Raises:
        CameraError, DetectorError, RecordingError: it could not start; the child's own words, or its exit code.
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
        self._reading = threading.Lock()
        self._gone = self._ended = False
        self._analysed = 0
        self.model: dict[str, str] = {}
        try:
            self._wait_ready(start_timeout_s, stopping)
        except BaseException:
            self._end()
            raise
        self._begun_s = self._last_s = self._heard_s = time.monotonic()

    def _wait_ready(self, timeout_s: float, stopping: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            self._wait_for_words()
            if self.model or stopping():
                return
            if self._error is not None:
                kind = _ERRORS.get(self._error["code"], DetectorError)
                raise kind(self._error["message"], hint=self._error["hint"])
            if self._gone:
                raise DetectorError(
                    f"the vision process died at its start ({self._exit()})", hint="try --vision inline"
                )
        raise DetectorError(f"the vision process was not ready within {timeout_s:g} s", hint="try --vision inline")

    @property
    def alive(self) -> bool:
        """See `Vision.alive`."""
        return self._report is None and not self._gone and self._process.is_alive() and not self._hangs()

    def _hangs(self) -> bool:
        if time.monotonic() - self._heard_s > _SILENCE_S:
            self._receive()  # what it said may wait in the pipe
        return time.monotonic() - self._heard_s > _SILENCE_S

    def take(self) -> list[DetectionBatch]:
        """See `Vision.take`."""
        self._receive()
        taken = []
        while self._seen:
            taken.append(self._seen.popleft())
        return taken

    def close(self) -> VisionReport:
        """See `Vision.close`."""
        if self._ended:
            return self._report or VisionReport()
        was_alive = self.alive
        hung = not was_alive and not self._gone and self._report is None and self._process.is_alive()
        if hung:
            self._process.kill()
        elif was_alive:
            with contextlib.suppress(OSError):
                self._pipe.send_bytes(b"stop")
        deadline_s = time.monotonic() + _STOP_S
        while self._report is None and not self._gone and time.monotonic() < deadline_s:
            self._wait_for_words()
        self._end()
        if self._report is None:  # killed, or it died: what came from it is all that is known
            why = self._error["message"] if self._error is not None else self._exit()
            if hung:
                why = f"silent for {_SILENCE_S:g} s"
            self._report = VisionReport(
                analysed=self._analysed,
                duration_s=self._last_s - self._begun_s,
                failure=why if self._error is not None or not was_alive else f"did not end in time ({why})",
            )
        return self._report

    def _wait_for_words(self) -> None:
        """Wait a moment for the child, and take in what it says; a child that has gone is not waited for."""
        with contextlib.suppress(OSError):  # a broken pipe: told by `_receive`
            self._pipe.poll(_POLL_S)
        dead = not self._process.is_alive()  # asked first: whatever it said, it said before
        self._receive()
        self._gone = self._gone or dead

    def _receive(self) -> None:
        """Take in all messages that wait in the pipe."""
        try:
            with self._reading:
                while not self._gone and self._pipe.poll(0):
                    self._take_in(self._pipe.recv_bytes())
        except (EOFError, OSError):
            self._gone = True  # `alive` says so, `close` says why

    def _take_in(self, data: bytes) -> None:
        kind, body = data[:1], data[1:]
        self._heard_s = time.monotonic()
        if kind == _DETECTIONS:
            self._seen.append(from_json(DetectionBatch, body))
            self._analysed += 1
            self._last_s = time.monotonic()
        elif kind == _READY:
            self.model = json.loads(body)
        elif kind == _ERROR:
            self._error = json.loads(body)
        elif kind == _STATS:
            stats: dict[str, Any] = json.loads(body)
            stats["died"] = tuple(stats["died"])
            self._report = VisionReport(**{**stats, "capture": CaptureStats(**stats["capture"])})

    def _exit(self) -> str:
        self._process.join(_STOP_S)  # a closed pipe comes a little before the exit code
        return f"exit {self._process.exitcode}"

    def _end(self) -> None:
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(1.0)
        with self._reading:
            self._gone = self._ended = True
            self._pipe.close()


def _child(pipe: Connection, robot: Robot, frames_path: Path | None) -> None:
    """The vision process. Ends on `stop`, on SIGTERM, at the end of a film, and when the parent has gone."""
    stopped = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    signal.signal(signal.SIGTERM, stop)

    beat_s = time.monotonic()

    def stopping() -> bool:
        nonlocal beat_s
        if time.monotonic() - beat_s > _BEAT_S:
            beat_s = time.monotonic()
            say(_BEAT, b"")
        if not stopped.is_set():
            try:
                if pipe.poll(0):
                    pipe.recv_bytes()
                    stopped.set()
            except (EOFError, OSError):
                stopped.set()
        return stopped.is_set()

    def say(kind: bytes, body: bytes) -> None:
        try:
            pipe.send_bytes(kind + body)
        except OSError:
            stopped.set()

    clock = MonotonicClock()
    try:
        source, stages, model = open_vision(robot, clock)
        with source:
            recorder = frame_recorder(robot, frames_path, model)
            say(_READY, json.dumps(model).encode())
            report = run_vision(
                source, stages, clock, lambda batch: say(_DETECTIONS, to_json(batch)), stopping, recorder
            )
        say(_STATS, json.dumps(asdict(report)).encode())
    except RobotError as error:
        say(_ERROR, json.dumps({"code": error.code, "message": error.message, "hint": error.hint}).encode())
    except Exception as error:
        LOG.exception("vision died")
        say(_ERROR, json.dumps({"code": "vision", "message": _name(error), "hint": ""}).encode())


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
