"""What a recording shows of lines, picture by picture, stands at the moment of the exposure."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from robot.core.errors import DataError
from robot.core.messages import DetectionBatch, TickBatch
from robot.runtime.line_views import line_views
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot, open_robot
from tests.runtime_bench import MS, BenchWorld
from tests.unit.test_runtime_pipeline import batches, shifted


class Recorded:
    """What `line_views` needs of a recording."""

    def __init__(self, played: list[TickBatch]) -> None:
        self.played = played

    def ticks(self) -> Any:
        return (SimpleNamespace(batch=batch) for batch in self.played)


def recorded(robot: Robot, shift_ms: int) -> Recorded:
    def change(seen: DetectionBatch) -> DetectionBatch:
        lines = ((50.0, 400.0, 400.0, 410.0),)
        return dataclasses.replace(shifted(seen, shift_ms), line_segments_px=lines, line_points_px=((60.0, 400.0),))

    pipeline = Pipeline(robot.config, robot.camera, robot.field)
    return Recorded([batch for batch, _ in batches(BenchWorld(robot.camera, duration_s=1.5), pipeline, change)])


def test_a_driver_that_stamps_late_gives_the_same_views() -> None:
    right, late = open_robot("default"), open_robot("default", {"estimation.vision.delay_s": 0.015})
    for localise in (False, True):
        want = list(line_views(recorded(right, 0), right, right.camera, localise=localise))  # type: ignore[arg-type]
        got = list(line_views(recorded(late, 15), late, late.camera, localise=localise))  # type: ignore[arg-type]
        assert len(want) > 20
        assert [v.t_ns for v in got] == [v.t_ns for v in want]
        assert [v.odom_from_robot for v in got] == [v.odom_from_robot for v in want]
        assert all(view.t_ns % MS == 0 for view in got)


def test_a_camera_of_another_picture_size_is_refused() -> None:
    """A lens filmed at 1280x720 does not tell where the lines of 640x480 pictures lie."""
    robot = open_robot("default")
    wide = dataclasses.replace(robot.camera.intrinsics, width_px=1280, height_px=720)
    camera = dataclasses.replace(robot.camera, intrinsics=wide)
    with pytest.raises(DataError, match=r"640x480.*1280x720"):
        list(line_views(recorded(robot, 0), robot, camera))  # type: ignore[arg-type]
