"""What comes from vision is cleaned before the step uses it: stamps, boxes, points, segments, the carpet's edge."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from robot.core.messages import Detection, DetectionBatch, ObjectClass
from robot.runtime.vision_input import on_field, stamped_at_exposure, without_nonsense

NAN, INF = math.nan, math.inf
BALL = Detection(object_class=ObjectClass.BALL, score=0.9, box_px=(300.0, 300.0, 320.0, 320.0))
GOOD = DetectionBatch(
    seq=0,
    t_capture_ns=1_000_000_000,
    t_receive_ns=1_050_000_000,
    valid=True,
    frame_seq=0,
    image_size_px=(640, 480),
    detections=(BALL,),
    carpet_edge_px=((0.0, 200.0), (320.0, -480.0), (639.0, 960.0)),
    free_range_m=((0.4, 2.0), (0.0, 3.0), (-0.4, 2.0)),
    line_points_px=((-640.0, 100.0), (1280.0, 960.0)),
    line_segments_px=((0.0, 0.0, 10.0, 10.0),),
    goal_posts_px=((300.0, 120.0),),
)
NOWHERE = [(NAN, 100.0), (100.0, NAN), (INF, 100.0), (100.0, -INF), (1e9, 1e9), (1281.0, 100.0), (100.0, -481.0)]


def with_(**changes: Any) -> DetectionBatch:
    return dataclasses.replace(GOOD, **changes)


def test_a_good_batch_is_handed_on_as_it_is() -> None:
    assert without_nonsense(GOOD) is GOOD


@pytest.mark.parametrize("place", NOWHERE)
def test_points_out_of_this_world_are_dropped_alone(place: tuple[float, float]) -> None:
    assert without_nonsense(with_(line_points_px=(*GOOD.line_points_px, place))) == GOOD
    assert without_nonsense(with_(goal_posts_px=(place, *GOOD.goal_posts_px))) == GOOD


@pytest.mark.parametrize("place", NOWHERE)
def test_segments_with_such_an_end_are_dropped_alone(place: tuple[float, float]) -> None:
    bad = ((*place, 10.0, 10.0), (10.0, 10.0, *place))
    assert without_nonsense(with_(line_segments_px=(*bad, *GOOD.line_segments_px))) == GOOD


@pytest.mark.parametrize("place", NOWHERE)
def test_columns_of_the_edge_are_dropped_with_their_free_range(place: tuple[float, float]) -> None:
    edge, ranges = GOOD.carpet_edge_px, GOOD.free_range_m
    bad = with_(carpet_edge_px=(edge[0], place, *edge[1:]), free_range_m=(ranges[0], (0.2, 9.0), *ranges[1:]))
    assert without_nonsense(bad) == GOOD
    unpaired = with_(carpet_edge_px=(*edge, place), free_range_m=())
    assert without_nonsense(unpaired) == with_(free_range_m=())


@pytest.mark.parametrize("pair", [(NAN, 1.0), (0.1, NAN), (0.1, INF), (0.1, -1.0), (INF, 1.0)])
def test_a_free_range_that_is_none_spoils_them_all(pair: tuple[float, float]) -> None:
    assert without_nonsense(with_(free_range_m=(*GOOD.free_range_m[:2], pair))) == with_(free_range_m=())


@pytest.mark.parametrize(
    "box", [(NAN, 1.0, 2.0, 3.0), (0.0, 0.0, INF, 5.0), (5.0, 5.0, 5.0, 9.0), (9.0, 9.0, 5.0, 5.0), None]
)
def test_boxes_that_are_none_are_dropped_alone(box: tuple[float, float, float, float] | None) -> None:
    bad = dataclasses.replace(BALL, score=NAN) if box is None else dataclasses.replace(BALL, box_px=box)
    assert without_nonsense(with_(detections=(bad, BALL))) == GOOD


@pytest.mark.parametrize("changes", [{"valid": False}, {"image_size_px": (0, 480)}, {"image_size_px": (640, -1)}])
def test_what_is_no_frame_is_none(changes: dict[str, Any]) -> None:
    assert without_nonsense(with_(**changes)) is None


def test_the_delay_is_taken_off_the_capture_time_alone() -> None:
    assert stamped_at_exposure(GOOD, 0.0) is GOOD
    assert stamped_at_exposure(GOOD, 0.1246) == with_(t_capture_ns=1_000_000_000 - 124_600_000)


def test_balls_and_robots_behind_the_carpet_are_dropped_and_goals_are_not() -> None:
    flat = with_(carpet_edge_px=((0.0, 400.0), (639.0, 400.0)))
    goal = dataclasses.replace(BALL, object_class=ObjectClass.GOAL)
    assert on_field(dataclasses.replace(flat, detections=(BALL, goal)), 4.0).detections == (goal,)
    assert on_field(with_(carpet_edge_px=()), 4.0).detections == (BALL,)
