"""Vision that dies while the robot plays: it says why, and is started again; a film that is over is no death."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from firmware_bridge.transport.reconnect import Backoff
from perception.capture.files import PacedFiles
from perception.capture.source import CaptureStats
from robot.cli.main import main
from robot.core.clock import MonotonicClock
from robot.core.errors import CameraError, DetectorError, RecordingError
from robot.core.messages import DetectionBatch
from robot.recording.reader import Recording, frames_path
from robot.recording.writer import Recorder, RecordingConfig
from robot.runtime import onboard, vision_process
from robot.runtime.onboard import PlayOptions, play
from robot.runtime.robot_config import Robot, open_robot
from robot.runtime.vision_keeper import KeptVision
from robot.runtime.vision_loop import VisionReport
from robot.runtime.vision_process import InlineVision, VisionProcess
from tests.unit.test_recording_roundtrip import HEAD, header
from tests.unit.test_runtime_onboard import Board, eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    for level in range(15):
        film.write(np.full((480, 640, 3), 5 * level, np.uint8))
    film.release()
    return open_robot("default", {"capture.device": f"file:{path}", "vision.scan_carpet": False})


def once(robot: Robot) -> Robot:
    """The film is played once."""
    capture = dataclasses.replace(robot.config.capture, loop=False)
    return dataclasses.replace(robot, config=dataclasses.replace(robot.config, capture=capture))


def test_a_killed_vision_process_is_reported_and_started_again(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    children: list[VisionProcess] = []

    class Watched(VisionProcess):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            children.append(self)

    monkeypatch.setattr(onboard, "VisionProcess", Watched)
    heard: list[str] = []

    def follow(line: str) -> None:
        heard.append(line)
        if line == "mode active" and len(children) == 1:
            os.kill(children[0]._process.pid or 0, signal.SIGKILL)
        if line == "mode active" and len(children) == 2:
            signal.raise_signal(signal.SIGTERM)

    report = play(robot, PlayOptions(start=True, seconds=60.0), said=follow)
    assert report.ended_by == "SIGTERM", heard
    assert "vision died (exit -9): starting it again" in heard
    modes = [line for line in heard if line.startswith(("mode", "vision"))]
    assert modes.index("mode active") < modes.index("mode degraded") < modes.index("vision is back"), heard
    assert modes[-1] == "mode active"
    assert report.vision.died == ("exit -9",)
    assert report.vision.failure == ""
    assert report.vision.analysed >= report.detections > 0


def test_a_vision_process_that_hangs_is_killed_and_started_again(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_process, "_SILENCE_S", 1.5)
    children: list[VisionProcess] = []

    def start(before: int, closing: Callable[[], bool]) -> VisionProcess:
        children.append(VisionProcess(robot, None))
        return children[-1]

    heard: list[str] = []
    vision = KeptVision(start, heard.append)
    assert eventually(lambda: bool(vision.take()), 20.0)
    os.kill(children[0]._process.pid or 0, signal.SIGSTOP)
    assert eventually(lambda: "vision is back" in heard, 30.0)
    assert heard == ["vision died (silent for 1.5 s): starting it again", "vision is back"]
    assert not children[0]._process.is_alive()
    assert eventually(lambda: bool(vision.take()), 20.0)
    assert vision.close().died == ("silent for 1.5 s",)


def test_vision_without_a_frame_to_see_does_not_hang(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_process, "_SILENCE_S", 1.5)
    monkeypatch.setattr(vision_process, "_child", without_frames)
    vision = VisionProcess(robot, None)
    until_s = time.monotonic() + 4.0
    while time.monotonic() < until_s:
        assert vision.alive
        time.sleep(0.1)
    report = vision.close()
    assert (report.failure, report.analysed) == ("", 0)


def test_vision_that_does_not_come_back_is_exit_code_one(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = InlineVision

    class Once(real):  # type: ignore[misc, valid-type]
        started = 0

        def __init__(self, *args: Any) -> None:
            Once.started += 1
            if Once.started > 1:
                raise CameraError("no camera any more")
            super().__init__(*args)

    def broken(self: PacedFiles, timeout_s: float) -> None:
        raise ValueError("cannot read the film")

    monkeypatch.setattr(onboard, "InlineVision", Once)
    monkeypatch.setattr(PacedFiles, "next_frame", broken)
    monkeypatch.setattr("robot.cli.play._typed", lambda: iter(()))
    flags = ["--camera", robot.config.capture.device, "--port", "pty", "--no-record", "--seconds", "2"]
    assert main(["play", *flags, "--vision", "inline"]) == 1
    told = capsys.readouterr()
    assert "vision died once (ValueError: cannot read the film): it did not come back" in told.out
    assert told.err.count("vision cannot start: no camera any more") == 1


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_a_film_that_is_over_is_a_normal_end(robot: Robot, kind: str) -> None:
    starts: list[int] = []

    def start(before: int, closing: Callable[[], bool]) -> VisionProcess | InlineVision:
        starts.append(before)
        return (
            VisionProcess(once(robot), None) if kind == "process" else InlineVision(once(robot), None, MonotonicClock())
        )

    heard: list[str] = []
    vision = KeptVision(start, heard.append)
    assert eventually(lambda: bool(heard), 20.0)
    report = vision.close()
    assert heard == ["vision has ended"]
    assert starts == [0]
    assert report.failure == ""
    assert report.died == ()
    assert report.analysed > 0
    assert vision.close() == report


class FakeVision:
    """Dies when told."""

    model: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, failure: str, capture: CaptureStats | None) -> None:
        self.alive, self.failure, self.capture = True, failure, capture

    def take(self) -> list[DetectionBatch]:
        return []

    def close(self) -> VisionReport:
        failure = "" if self.alive else self.failure
        return VisionReport(analysed=10, duration_s=1.0, capture=self.capture, failure=failure)


def test_the_figures_of_several_lives_are_added_and_a_failed_start_is_tried_again() -> None:
    lives = [FakeVision("exit -11", None), FakeVision("", CaptureStats(frames=7, dropped=1))]
    attempts: list[int] = []

    def start(before: int, closing: Callable[[], bool]) -> FakeVision:
        attempts.append(before)
        if len(attempts) in (2, 3):
            raise CameraError("busy")
        if len(attempts) == 4:
            raise RuntimeError("can't start new thread")  # it ended the thread that brings vision back
        return lives[min(before, 1)]

    heard: list[str] = []
    vision = KeptVision(start, heard.append, Backoff(0.01, 0.02))
    lives[0].alive = False
    assert eventually(lambda: "vision is back" in heard, 5.0)
    assert vision.alive
    report = vision.close()
    assert attempts == [0, 1, 1, 1, 1]
    assert heard == [
        "vision died (exit -11): starting it again",
        "vision cannot start: busy",
        "vision cannot start: RuntimeError: can't start new thread",
        "vision is back",
    ]
    assert (report.analysed, report.duration_s, report.capture) == (20, 2.0, CaptureStats(frames=7, dropped=1))
    assert (report.died, report.failure) == (("exit -11",), "")


def without_frames(pipe: Any, robot: Robot, frames_path: Path | None) -> None:
    """The child's own loop, with a camera that gives nothing."""
    PacedFiles.next_frame = lambda self, timeout_s: time.sleep(timeout_s)  # type: ignore[method-assign]
    vision_process._child(pipe, robot, frames_path)


def dies_at_once(pipe: Any, robot: Robot, frames_path: Path | None) -> None:
    pipe.close()  # as when a process ends: its pipe first, its exit code a little later
    time.sleep(0.5)
    os._exit(7)


def test_a_child_that_dies_at_its_start_is_named_by_its_exit_code(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision_process, "_child", dies_at_once)
    with pytest.raises(DetectorError, match=r"died at its start \(exit 7\)"):
        VisionProcess(robot, None)


def test_a_child_that_is_slow_is_not_waited_for_longer_than_it_may_be(robot: Robot) -> None:
    with pytest.raises(DetectorError, match=r"not ready within 0\.05 s"):
        VisionProcess(robot, None, start_timeout_s=0.05)


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_frames_that_cannot_be_recorded_are_an_error_of_the_start(robot: Robot, kind: str) -> None:
    nowhere = Path("/proc/x/run.frames.mcap")
    with pytest.raises(RecordingError, match="cannot write the recording /proc/x"):
        _ = VisionProcess(robot, nowhere) if kind == "process" else InlineVision(robot, nowhere, MonotonicClock())


def test_frames_of_all_lives_are_read_in_their_order(tmp_path: Path) -> None:
    from robot.core import messages as m

    path = tmp_path / "run.mcap"
    Recorder(path, header(), RecordingConfig()).close()
    for before in range(3):
        with Recorder(frames_path(path, before), header(), RecordingConfig()) as out:
            head = {**HEAD, "t_capture_ns": before}
            out.frame(m.CameraFrame(**head, image_bgr=np.zeros((4, 4, 3), np.uint8)))
    assert [f.t_capture_ns for f in Recording(path).frames()] == [0, 1, 2]


@pytest.mark.parametrize("size", [0, 4, 8, 100])
def test_frames_of_a_life_that_was_cut_at_its_start_spoil_no_run(tmp_path: Path, size: int) -> None:
    """Vision that is killed while it opens its file leaves no head there; reports of the run were refused for it."""
    from robot.core import messages as m

    path = tmp_path / "run.mcap"
    Recorder(path, header(), RecordingConfig()).close()
    for before in range(2):
        with Recorder(frames_path(path, before), header(), RecordingConfig()) as out:
            out.frame(m.CameraFrame(**{**HEAD, "t_capture_ns": before}, image_bgr=np.zeros((4, 4, 3), np.uint8)))
    first = frames_path(path)
    first.write_bytes(first.read_bytes()[:size])
    assert [f.t_capture_ns for f in Recording(path).frames()] == [1]


def test_a_film_of_another_size_than_the_cameras_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    flags = ["--camera", f"file:{tmp_path}", "--port", "pty", "--no-record", "--vision", "inline"]
    assert main(["play", *flags]) == 1
    error = capsys.readouterr().err
    assert "are 64x48, but the camera file is for 640x480" in error
    assert "mend: give a film of 640x480" in error
