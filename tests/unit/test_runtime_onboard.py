"""On board: real processes end on a signal and leave nothing behind; a crash says STOP; a lost port comes back."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from firmware_bridge.link.framing import FrameDecoder
from firmware_bridge.protocol.generated import StateFlag, Telemetry
from perception.capture.source import CaptureStats
from robot.cli._flags import parse_overrides
from robot.cli.main import main
from robot.cli.play import _text
from robot.core.clock import MonotonicClock
from robot.core.errors import ConfigError, LinkError
from robot.core.messages import Mode, TickBatch, TickResult
from robot.recording.reader import Recording
from robot.runtime import onboard
from robot.runtime.onboard import PlayOptions, PlayReport, play
from robot.runtime.pipeline import Pipeline
from robot.runtime.port import SerialPort
from robot.runtime.replay import replay
from robot.runtime.robot_config import Robot, open_robot
from robot.runtime.vision_loop import VisionReport
from tests.helpers import eventually

MARK = "BLACKOUT_TEST_RUN"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    carpet = np.full((480, 640, 3), (60, 120, 50), np.uint8)
    for index in range(30):
        image = carpet.copy()
        cv2.circle(image, (200 + 5 * index, 330), 14, (20, 110, 240), -1)
        writer.write(image)
    writer.release()
    return path


def processes_of(mark: str) -> list[int]:
    """Every living process that carries the mark in its environment: the run's children and grandchildren."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if mark.encode() in (folder / "environ").read_bytes() and state != "Z":
                found.append(int(folder.name))
        except OSError:
            continue  # it ended while we looked
    return found


def start_play(
    video: Path, mark: str, *flags: str, stdin: int = subprocess.DEVNULL, start: bool = True
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "robot", "play", "--camera", f"file:{video}", "--port", "pty", *flags]
    command += ["--start"] if start else []
    return subprocess.Popen(
        command,
        env={**os.environ, MARK: mark, "OMP_NUM_THREADS": "1"},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell gives
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"'{text}' never came: {''.join(lines)}")


@pytest.mark.parametrize(("signum", "vision"), [(signal.SIGTERM, "inline"), (signal.SIGINT, "process")])
def test_a_signal_ends_a_real_run_cleanly(video: Path, tmp_path: Path, signum: signal.Signals, vision: str) -> None:
    mark = uuid.uuid4().hex
    process = start_play(video, mark, "--vision", vision, "--record", str(tmp_path))
    try:
        wait_for_line(process, "mode active")
        time.sleep(0.7)
        assert len(processes_of(mark)) >= (3 if vision == "process" else 2)  # control, firmware, vision
        if signum is signal.SIGINT:
            os.killpg(process.pid, signum)  # as a terminal's Ctrl-C does
        else:
            process.send_signal(signum)
        out, err = process.communicate(timeout=10.0)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert f"ended by {signum.name}" in out
    assert "CRASH" not in out
    assert "Traceback" not in err
    assert "serial port lost" not in err  # the board heard the STOP
    assert eventually(lambda: not processes_of(mark), 3.0), "a process was left behind"
    recording = next(tmp_path.glob("*/run.mcap"))
    assert replay(recording).equal
    assert list(Recording(recording).frames())


def test_a_terminal_starts_and_halts_it_and_may_hang_up(video: Path) -> None:
    mark = uuid.uuid4().hex
    keyboard, terminal = pty.openpty()
    process = start_play(video, mark, "--no-record", "--vision", "inline", stdin=terminal, start=False)
    os.close(terminal)
    try:
        wait_for_line(process, "mode ready")
        os.write(keyboard, b"start\n")
        wait_for_line(process, "mode active")
        os.write(keyboard, b"halt\n")
        wait_for_line(process, "mode ready")
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=10.0)
    finally:
        process.kill()
        os.close(keyboard)
    assert process.returncode == 0, err
    assert "ended by SIGHUP" in out
    assert "Fatal" not in err
    assert eventually(lambda: not processes_of(mark), 3.0)


def test_nothing_survives_a_killed_control_process(video: Path) -> None:
    mark = uuid.uuid4().hex
    process = start_play(video, mark, "--no-record")
    wait_for_line(process, "mode active")
    process.kill()
    process.communicate()
    assert eventually(lambda: not processes_of(mark), 8.0), "vision or firmware outlived control"


def test_seconds_ends_a_run(video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    flags = ["--camera", f"file:{video}", "--port", "pty", "--no-record", "--seconds", "0.5", "--vision", "inline"]
    assert main(["play", *flags]) == 0
    assert "ended by --seconds 0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--camera", "file:/nowhere.avi", "--port", "pty"], 1, "no such video"),
        (["--port", "/dev/ttyNOWHERE", "--vision", "inline"], 1, "ttyNOWHERE"),
        (["--robot", "nobody"], 2, "default"),
        (["--override", "link.prt=1"], 2, "did you mean 'port'"),
        (["--stage", "7"], 2, "give --stage one of: 1, 3"),
        (["--stage", "3"], 2, "add --target X Y"),
        (["--stage", "3", "--target", "1", "20"], 2, "--target 1 20 lies outside the walls"),
        (["--stage", "3", "--target", "1", "1", "--seed-at", "nan", "0"], 2, "--seed-at nan 0 lies outside the walls"),
        (["--stage", "2", "--camera", "file:/nowhere.avi"], 2, "no play for stage 2"),  # before anything opens
        (["--seconds", "-1"], 2, "--seconds should be 0 or more"),
        (["--seconds", "nan"], 2, "--seconds should be 0 or more"),
    ],
)
def test_a_bad_start_is_refused_with_the_mend(
    video: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, words: str
) -> None:
    camera = [] if "--camera" in flags else ["--camera", f"file:{video}"]
    assert main(["play", "--no-record", *camera, *flags]) == code
    error = capsys.readouterr().err
    assert words in error
    assert "mend:" in error


class Board:
    """The firmware core in real time behind a transport that can be unplugged."""

    def __init__(self) -> None:
        self.core = FirmwareLibrary()
        self.plugged = True
        self.stepped_s = time.monotonic()
        self.written: list[bytes] = []
        self.sent = b""

    def open(self, config: object = None) -> Board:
        if not self.plugged:
            raise LinkError("unplugged")
        return self

    def read_available(self) -> bytes:
        if not self.plugged:
            raise LinkError("unplugged")
        now_s = time.monotonic()
        due = int((now_s - self.stepped_s) * 1000)
        self.stepped_s = now_s if due > 10 else self.stepped_s + due / 1000  # a busy machine: time stands still here
        for _ in range(min(due, 10)):
            self.core.step(SensorInputs())
        sent = self.core.transmit()
        self.sent += sent
        return sent

    def write(self, data: bytes) -> None:
        if not self.plugged:
            raise LinkError("unplugged")
        self.written.append(data)
        self.core.receive(data)

    def close(self) -> None:
        return None


@pytest.fixture
def robot(video: Path) -> Robot:
    return open_robot("default", {"capture.device": f"file:{video}", "vision.scan_carpet": False})


def test_a_crash_in_the_step_says_stop_and_keeps_the_fatal_batch(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    good = Pipeline.step

    def step(self: Pipeline, batch: TickBatch) -> TickResult:
        if batch.tick == 100:
            raise ZeroDivisionError("boom")
        return good(self, batch)

    monkeypatch.setattr(Pipeline, "step", step)
    path = tmp_path / "run.mcap"
    report = play(robot, PlayOptions(vision="inline", start=True, recording=path, seconds=20.0))
    time.sleep(0.02)  # two of the firmware's telemetry periods
    assert "boom" in report.crash
    assert report.ticks == 100
    assert len(board.written) == 100 + onboard.FAREWELLS
    assert telemetry_armed(board) == [True, False]
    recording = Recording(path)
    assert [t.batch.tick for t in recording.ticks() if t.result_json is None] == [100]
    assert "boom" in next(recording.notes("fault/crash"))[1]["traceback"]


def telemetry_armed(board: Board) -> list[bool]:
    """What the firmware itself said, by its telemetry: was it ever armed, is it armed now."""
    board.read_available()
    sent = [m for m in FrameDecoder().feed(board.sent) if isinstance(m, Telemetry)]
    return [any(m.flags & StateFlag.ARMED for m in sent), bool(sent[-1].flags & StateFlag.ARMED)]


def test_an_unplugged_board_stops_the_robot_and_comes_back(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    modes: list[str] = []
    heard: list[str] = []

    def follow(line: str) -> None:
        """Pull the plug once it plays, put it back once it has stopped, end once it plays again."""
        heard.append(line)
        if not line.startswith("mode"):
            return
        modes.append(line)
        if line == "mode active" and "mode safe_stop" in modes:
            signal.raise_signal(signal.SIGTERM)
        elif line == "mode active" and board.plugged:
            threading.Timer(0.2, lambda: setattr(board, "plugged", False)).start()
        elif line == "mode safe_stop":
            threading.Timer(0.3, lambda: setattr(board, "plugged", True)).start()

    report = play(robot, PlayOptions(vision="inline", start=True, seconds=30.0), said=follow)
    assert report.ended_by == "SIGTERM", heard
    assert modes.index("mode active") < modes.index("mode safe_stop"), heard
    assert report.port_reopened >= 1
    assert report.step.count == report.ticks
    assert 0.0 < report.step.median_ms <= report.step.p99_ms
    assert report.last is not None
    assert report.last.mode is Mode.ACTIVE


def test_a_port_that_is_missing_at_the_start_is_an_error() -> None:
    board = Board()
    board.plugged = False
    with pytest.raises(LinkError):
        SerialPort(board.open, MonotonicClock())


def test_a_mistyped_halt_stops_the_play(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    active = threading.Event()
    heard: list[str] = []

    def typed() -> Iterator[str]:
        active.wait(20.0)
        yield "hlat"

    def follow(line: str) -> None:
        heard.append(line)
        if line == "mode active":
            active.set()
        elif line == "mode ready" and active.is_set():
            signal.raise_signal(signal.SIGTERM)

    report = play(robot, PlayOptions(vision="inline", start=True, seconds=30.0), lines=typed(), said=follow)
    assert report.ended_by == "SIGTERM", heard
    assert report.last is not None
    assert report.last.plan.reason == "referee: halt"


def test_batches_are_counted_beyond_what_is_kept_of_their_ages(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    monkeypatch.setattr(onboard, "_AGES", 3)
    report = play(robot, PlayOptions(vision="inline", seconds=1.0))
    assert report.detections > 3
    assert report.detections <= report.vision.analysed


def test_the_report_shows_frames_that_were_stamped_at_the_grab() -> None:
    capture = CaptureStats(frames=9, dropped=1, bad=2, stalls=3, stamped_at_grab=4)
    text = _text(PlayReport(vision=VisionReport(capture=capture)))
    assert "camera: 9 frames, 1 dropped, 2 bad, 3 stalls, 4 stamped at grab" in text


def test_overrides_are_read_as_json_or_text() -> None:
    assert parse_overrides(["a.b=1.5", "c=true", "d=text", "e=[1,2]"]) == {
        "a.b": 1.5,
        "c": True,
        "d": "text",
        "e": [1, 2],
    }
    with pytest.raises(ConfigError, match="key=value"):
        parse_overrides(["nothing"])
