"""What stands outside the field founds no ball: the carpet's edge in the picture, box sizes, walls."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from perception.estimation.config import BALL_TRACK, EstimationConfig
from perception.estimation.estimator import Estimator
from perception.estimation.tracks.boundary_memory import BoundaryMemory
from perception.estimation.tracks.sighting import SightingMaker
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import BoxPx, Detection, DetectionBatch, FieldObservation, ObjectClass, Vec2, Verdict
from tests.estimation_world import CAMERA, FIELD, frame, sighting, telemetry
from tests.unit.test_estimation_tracks import standing, watch

EDGE_ROW = 150.0
EDGE = tuple((8.0 * k + 3.5, EDGE_ROW) for k in range(80))


def ball_box(place_m: Vec2, foot_row: float, scale: float = 1.0) -> BoxPx:
    """A box of a ball's size there, but with its foot in a given row."""
    size = scale * 0.043 * CAMERA.intrinsics.fx / math.hypot(place_m[0] - 0.09, place_m[1], 0.15)
    return 320.0 - 0.5 * size, foot_row - size, 320.0 + 0.5 * size, foot_row


def detection(box: BoxPx) -> Detection:
    """A ball in the picture."""
    return Detection(object_class=ObjectClass.BALL, score=0.9, box_px=box)


def look(estimator: Estimator, t_ns: int, batch: DetectionBatch, *seen: FieldObservation) -> tuple[Verdict, ...]:
    """One more frame, 35 ms later."""
    for k in range(7):
        estimator.on_telemetry(telemetry(0, t_ns - 5_000_000 * (6 - k)))
    return estimator.on_observations(batch, seen)


@pytest.mark.parametrize(("above_px", "born"), [(-20.0, True), (1.0, True), (5.0, False), (30.0, False)])
def test_a_ball_whose_foot_is_above_the_carpets_edge_is_not_born(above_px: float, born: bool) -> None:
    estimator, t = standing()
    for k in range(6):
        t += 35_000_000
        box = ball_box((1.5, 0.0), EDGE_ROW + 0.5 - above_px)
        batch = frame(k, t, carpet_edge_px=EDGE, detections=(detection(box),))
        verdicts = look(estimator, t, batch, sighting(t, (1.5, 0.0), box_px=box))
        assert verdicts == (Verdict.OK if born else Verdict.OUTLIER,)
    assert estimator.world_model(t).ball.valid is born


def test_a_frame_without_an_edge_founds_nothing_once_edges_are_known() -> None:
    """A robot without a carpet scan founds balls as ever; one that has seen edges does not where it sees none."""
    estimator, t = standing()
    for _ in range(3):
        t = watch(estimator, t, (1.5, 0.0))
    assert estimator.world_model(t).ball.valid
    estimator, t = standing()
    t += 35_000_000
    look(estimator, t, frame(0, t, carpet_edge_px=EDGE))
    for _ in range(4):
        t = watch(estimator, t, (1.5, 0.0))
    assert not estimator.world_model(t).ball.valid
    for k in range(3):
        t += 35_000_000
        box = ball_box((1.5, 0.0), 250.0)
        batch = frame(k, t, carpet_edge_px=EDGE, detections=(detection(box),))
        look(estimator, t, batch, sighting(t, (1.5, 0.0), box_px=box))
    assert estimator.world_model(t).ball.valid
    t = watch(estimator, t, (1.5, 0.0))  # and what is known already is still fed
    assert estimator.world_model(t).ball.visible


def test_boxes_of_the_wrong_size_are_outliers() -> None:
    """Behind a board things are farther than their foot seems, so larger than what they claim to be."""
    estimator, t = standing()
    for scale, verdict in ((0.5, Verdict.OUTLIER), (1.0, Verdict.OK), (1.3, Verdict.OK), (2.2, Verdict.OUTLIER)):
        t += 35_000_000
        box = ball_box((0.9, 0.0), 300.0, scale)
        assert look(estimator, t, frame(0, t), sighting(t, (0.9, 0.0), box_px=box)) == (verdict,)
    for width_px, verdict in ((30.0, Verdict.OUTLIER), (80.0, Verdict.OK), (200.0, Verdict.OUTLIER)):
        t += 35_000_000
        box = (100.0, 50.0, 100.0 + width_px, 50.0 + width_px)
        seen = sighting(t, (1.5, 0.0), object_class=ObjectClass.ROBOT, box_px=box)
        assert look(estimator, t, frame(0, t), seen) == (verdict,)


def test_blur_to_one_side_is_no_other_size() -> None:
    estimator, t = standing()
    left, top, right, bottom = ball_box((0.9, 0.0), 300.0)
    box = (left - 8.0, top, right + 8.0, bottom)
    assert look(estimator, t + 1, frame(0, t + 1), sighting(t + 1, (0.9, 0.0), box_px=box)) == (Verdict.OK,)


@pytest.mark.parametrize(("ahead_m", "feeds"), [(0.7, True), (1.0, True), (1.6, False)])
def test_places_outside_the_walls_neither_found_nor_feed(ahead_m: float, feeds: bool) -> None:
    """The pose is trusted, the wall 0.8 m ahead: a little behind it is an error of the camera, far behind it is not."""
    maker = SightingMaker(EstimationConfig(), FIELD, CAMERA)
    t = 1_000_000_000
    for pose, known in ((Pose2(4.0, 0.0, 0.0), True), (None, False)):
        view = maker.frame(frame(0, t), Pose2(), Twist2(), 0.0, pose)
        seen = view.sighting(sighting(t, (ahead_m, 0.0)), BALL_TRACK)
        assert (seen.feed, seen.birth) == ((feeds, feeds) if known else (True, True))


def test_a_box_outside_the_walls_does_not_move_a_ball_at_the_wall() -> None:
    """The pose is trusted: a thing 0.6 m behind the board neither founds nor feeds, though it may lie in a gate."""
    estimator, t = standing()
    estimator.seed(Pose2(3.6, 0.0, 0.0), 0.03, 0.02, t)
    for _ in range(6):
        t = watch(estimator, t, (1.1, 0.0))
    before = estimator.world_model(t).ball
    assert before.valid
    for k in range(5):
        t += 35_000_000
        assert look(estimator, t, frame(k, t), sighting(t, (1.8, 0.0), sigma_m=0.05)) == (Verdict.OUTLIER,)
    after = estimator.world_model(t).ball
    assert math.dist(after.ball_in_robot_m, before.ball_in_robot_m) < 0.01
    assert after.track_id == before.track_id


def wall_ahead(t_ns: int, range_m: float) -> DetectionBatch:
    """A frame that shows the carpet to end at a wall across the view."""
    bearings = [0.45 - 0.9 * k / 79 for k in range(80)]
    ranges = tuple((b, range_m / math.cos(b)) for b in bearings)
    return frame(0, t_ns, carpet_edge_px=EDGE, free_range_m=ranges)


def test_a_boundary_that_was_seen_close_by_is_remembered() -> None:
    """Driven up to a low board, the camera looks over it on floor of the carpet's colour: nothing there is a ball."""
    memory, config = BoundaryMemory(EstimationConfig().boundary), EstimationConfig().boundary
    for k in range(6):
        x = 0.1 * k
        memory.note(k * 100_000_000, Pose2(x, 0.0, 0.0), wall_ahead(k * 100_000_000, 0.85 - x))
    for k in range(6, 20):
        memory.note(k * 100_000_000, Pose2(0.5, 0.0, 0.0), wall_ahead(k * 100_000_000, 15.0))
        assert memory.outside((1.2, 0.0))
        assert memory.outside((1.3, 0.2))
        assert not memory.outside((0.9, 0.0))  # at the board, within the margin
        assert not memory.outside((0.5, 0.0))
        assert not memory.outside((0.0, 1.5))  # never looked there
    later = int((config.span_s + 1.0) * 1e9)
    memory.note(later, Pose2(0.5, 0.0, 0.0), wall_ahead(later, 15.0))
    assert not memory.outside((1.2, 0.0))


def test_a_robot_in_the_way_is_no_boundary() -> None:
    """Its dip does not lie on the edge's hull: what is behind it may be on the field."""
    memory = BoundaryMemory(EstimationConfig().boundary)
    for k in range(10):
        far = wall_ahead(k * 100_000_000, 4.0)
        dip = range(30, 50)
        edge = tuple((u, 300.0 if i in dip else v) for i, (u, v) in enumerate(far.carpet_edge_px))
        ranges = tuple((b, 0.5 if i in dip else r) for i, (b, r) in enumerate(far.free_range_m))
        memory.note(far.t_capture_ns, Pose2(), frame(k, far.t_capture_ns, carpet_edge_px=edge, free_range_m=ranges))
    assert not memory.outside((1.5, 0.0))
    assert not memory.outside((3.0, 0.3))


def test_a_ball_behind_a_boundary_just_seen_is_not_born() -> None:
    """The same through the estimator: the board 0.6 m ahead, then over it a ball at 1.0 m, with a clear edge beyond."""
    for wall_m, born in ((0.6, False), (5.0, True)):
        estimator, t = standing()
        for _ in range(8):
            t += 70_000_000
            look(estimator, t, wall_ahead(t, wall_m))
        for _ in range(5):
            t += 35_000_000
            box = ball_box((1.0, 0.0), 300.0)
            batch = replace(wall_ahead(t, 12.0), detections=(detection(box),))
            look(estimator, t, batch, sighting(t, (1.0, 0.0), box_px=box))
        assert estimator.world_model(t).ball.valid is born
