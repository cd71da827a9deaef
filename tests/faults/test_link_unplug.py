"""The control process on a real terminal whose firmware goes away and comes back: how long each step takes."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from firmware_bridge.transport.pty import FirmwareProcess
from robot.runtime.onboard import PlayOptions, play
from robot.runtime.robot_config import open_robot
from tests.firmware_bench import need_gcc

STOP_S, AGAIN_S = 0.12, 2.0
BUSY_S = 0.3  # what a loaded machine may add to each: the limits themselves are held in virtual time


def film(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    for _ in range(30):
        writer.write(np.full((480, 640, 3), (60, 120, 50), np.uint8))
    writer.release()
    return path


def test_stops_at_once_and_plays_again_by_itself(tmp_path: Path) -> None:
    need_gcc()
    name = tmp_path / "mcu"
    board = [FirmwareProcess(1, link=name)]
    overrides = {"capture.device": f"file:{film(tmp_path / 'film.avi')}", "vision.scan_carpet": False}
    robot = open_robot("default", {**overrides, "link.port": str(name)})
    when: dict[str, float] = {}
    heard: list[tuple[float, str]] = []

    def unplug() -> None:
        modes = [line for _, line in heard if line.startswith("mode")]
        if "unplugged" in when or modes[-1] != "mode active":
            return  # a busy machine stopped it first: the next time, then
        when["unplugged"] = time.monotonic()
        board[0].stop()

    def replug() -> None:
        board[0] = FirmwareProcess(2, link=name)
        when["back"] = time.monotonic()

    def follow(line: str) -> None:
        heard.append((round(time.monotonic(), 3), line))
        if line == "mode active" and "back" in when:
            when["again"] = time.monotonic()
            signal.raise_signal(signal.SIGTERM)
        elif line == "mode active" and "unplugged" not in when:
            threading.Timer(0.3, unplug).start()
        elif line == "mode safe_stop" and "unplugged" in when and "stopped" not in when:
            when["stopped"] = time.monotonic()
            threading.Timer(0.3, replug).start()

    try:
        report = play(robot, PlayOptions(vision="inline", start=True, seconds=15.0), said=follow)
    finally:
        board[0].stop()
    assert report.ended_by == "SIGTERM", (when, heard)
    assert report.port_reopened >= 1
    assert when["stopped"] - when["unplugged"] < STOP_S + BUSY_S
    assert when["again"] - when["back"] < AGAIN_S + BUSY_S
    print(f"stop {when['stopped'] - when['unplugged']:.3f} s, again {when['again'] - when['back']:.3f} s")  # noqa: T201
