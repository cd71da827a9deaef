"""`calibrate check` judges a recording by that robot's own tables, not by the defaults of the day."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot.cli import _calibrate_check as check
from robot.runtime import line_views as lines
from robot.runtime.robot_config import Robot, open_robot

OWN = {"bump.min_shift_rad": 0.03, "lines.tolerance_px": 1.5, "carpet.refine_px": 5}


def own_robot(tmp_path: Path) -> Robot:
    return open_robot("default", OWN)


def test_the_recordings_own_bump_table_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot, seen = own_robot(tmp_path), []

    class Monitor:
        report = None

        def __init__(self, config: Any, camera: Any) -> None:
            seen.append(config)

    monkeypatch.setattr(check, "Recording", lambda path, salvage: None)
    monkeypatch.setattr(check, "robot_of", lambda recording: robot)
    monkeypatch.setattr(check, "line_views", lambda *_, **__: iter(()))
    monkeypatch.setattr(check, "BumpMonitor", Monitor)
    assert check.run_check(check.Check(tmp_path / "run.mcap")) == 1
    assert seen == [robot.config.bump]


def test_the_recordings_own_carpet_and_lines_find_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot, seen = own_robot(tmp_path), []
    scanner, finder = lines.CarpetScanner, lines.LineFinder
    monkeypatch.setattr(lines, "CarpetScanner", lambda config, camera: seen.append(config) or scanner(config, camera))
    monkeypatch.setattr(lines, "LineFinder", lambda config, camera: seen.append(config) or finder(config, camera))
    recording: Any = SimpleNamespace(ticks=lambda: iter(()), frames=lambda: iter(()))
    assert list(lines.line_views(recording, robot, robot.camera)) == []
    assert seen == [robot.config.carpet, robot.config.lines]


def test_pictures_without_a_recording_are_read_with_the_defaults(tmp_path: Path) -> None:
    camera = own_robot(tmp_path).camera
    assert lines.PictureLines(camera).find(np.zeros((480, 640, 3), np.uint8)) == ((), ())
