"""Trials recorded by another detector or configuration are refused; a change of the estimator is what they are for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from robot.cli import evaluate_localisation, evaluate_tracks
from robot.core.config import find_config
from robot.core.errors import RecordingError
from robot.recording.header import make_header
from robot.recording.writer import Recorder
from robot.runtime.challenge import shared_detector
from robot.runtime.recorded_trials import check_recorded, model_text
from robot.runtime.robot_config import open_robot


def recorded(path: Path, **overrides: Any) -> Path:
    """A recording without a tick, as the robot with these changes would begin it."""
    robot = open_robot("default", {key.replace("__", "."): value for key, value in overrides.items()})
    detector = shared_detector(robot.config.detection)
    header = make_header(
        kind="simulation",
        robot=robot.config,
        camera=robot.camera,
        field_geometry=robot.field,
        model={"name": detector.model_name, "sha256": detector.sha256, "runs": detector.description},
        run={"kind": "kicked", "seed": 1},
    )
    Recorder(path, header, robot.config.recording).close()
    return path


def test_the_same_robot_and_a_changed_estimator_are_welcome(tmp_path: Path) -> None:
    path = recorded(tmp_path / "kicked-1.mcap")
    check_recorded([path, tmp_path / "not-there.mcap"], open_robot("default"))
    check_recorded([path], open_robot("default", {"estimation.vision.delay_s": 0.001, "bump.enabled": False}))


def test_another_detector_camera_or_configuration_is_refused(tmp_path: Path) -> None:
    path, fast = recorded(tmp_path / "a.mcap"), {"detection.model": "fast"}
    with pytest.raises(RecordingError, match=r"played with full.*, not with fast") as caught:
        check_recorded([path], open_robot("default", fast))
    assert f"delete {tmp_path} or choose another folder" in str(caught.value)
    other_camera = tmp_path / "camera.toml"
    shipped = find_config("c922_640x480", "cameras").read_text(encoding="utf-8")
    other_camera.write_text(re.sub(r"height_m *=.*", "height_m = 0.2", shipped), encoding="utf-8")
    changed = open_robot("default", {"carpet.refine_px": 5, "camera": str(other_camera)})
    with pytest.raises(RecordingError, match="another carpet, camera"):
        check_recorded([path], changed)
    assert model_text(open_robot("default")).startswith("full")


def test_both_verbs_refuse_before_they_play(tmp_path: Path) -> None:
    override = ("detection.model=fast",)
    recorded(tmp_path / "kicked-1.mcap")
    with pytest.raises(RecordingError, match="not with fast"):
        evaluate_tracks.run(
            evaluate_tracks.Args(trials=2, cluttered=0, kinds=("kicked",), recordings=tmp_path, override=override)
        )
    recorded(tmp_path / "trials" / "seed-1.mcap")
    with pytest.raises(RecordingError, match="not with fast"):
        evaluate_localisation.run(evaluate_localisation.Args(trials=2, seed=1, out=tmp_path, override=override))
