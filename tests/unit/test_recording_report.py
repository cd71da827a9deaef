"""The report draws what the robot believed on the field, whatever frame the estimate was in at the time."""

from __future__ import annotations

import dataclasses
import math

import pytest

from robot.core.geometry import Pose2
from robot.core.messages import FaultEvent, Localisation, TickResult
from robot.recording.report import _timeline_section, fields_from_world
from robot.recording.run_data import RunData
from tests.unit.test_recording_roundtrip import result

START, LATER = Pose2(3.0, -2.0, 0.5), Pose2(3.5, -1.0, 1.0)
TWIN = Pose2(0.0, 0.0, math.pi) @ LATER


def believing(tick: int, pose: Pose2, localisation: Localisation, *, ambiguous: bool = False) -> TickResult:
    told = result(tick)
    robot = dataclasses.replace(
        told.world.robot, world_from_robot=pose, localisation=localisation, mirror_ambiguous=ambiguous
    )
    return dataclasses.replace(told, world=dataclasses.replace(told.world, robot=robot))


@pytest.mark.parametrize(
    ("found", "ambiguous", "wanted"),
    [(LATER, False, LATER), (LATER, True, LATER), (TWIN, True, LATER), (TWIN, False, TWIN)],
    ids=["right", "right, ambiguous", "declared twin", "wrong"],
)
def test_the_pose_is_drawn_from_the_true_start_until_it_is_found(found: Pose2, ambiguous: bool, wanted: Pose2) -> None:
    data = RunData(
        t0_ns=0,
        results=[
            believing(0, Pose2(), Localisation.ODOMETRY),
            believing(1, found, Localisation.TRACKING, ambiguous=ambiguous),
            believing(2, found, Localisation.LOST),
        ],
        truth=[(0.0, START, None), (0.01, LATER, None), (0.02, LATER, None)],
    )
    drawn = [f @ r.world.robot.world_from_robot for f, r in zip(fields_from_world(data), data.results, strict=True)]
    for pose, expected in zip(drawn, (START, wanted, wanted), strict=True):
        assert pose.distance_to(expected) < 1e-9
        assert math.cos(pose.theta_rad - expected.theta_rad) == pytest.approx(1.0)


def test_without_truth_the_drawing_is_in_the_estimators_frame() -> None:
    data = RunData(t0_ns=0, results=[believing(0, START, Localisation.TRACKING, ambiguous=True)])
    assert fields_from_world(data) == [Pose2()]


def test_faults_that_find_no_room_are_counted() -> None:
    """The table ended after forty as if there were no more."""
    fault = FaultEvent(seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, code="link_lost", source="link")
    few, many = (RunData(t0_ns=0, results=[dataclasses.replace(result(0), faults=(fault,) * n)]) for n in (40, 43))
    assert "and 3 more" in _timeline_section(many)
    assert " more" not in _timeline_section(few)
