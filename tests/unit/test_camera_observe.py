"""Boxes of objects at known places must be placed there again, cut or not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from perception.camera import load_camera
from perception.camera.observe import (
    ball_plane_m,
    ball_points_px,
    ball_row_slopes,
    observe,
    place,
    side_bearings,
)
from perception.camera.parameters import BALL_ROWS
from robot.core.field import BALL_RADIUS_M
from robot.core.messages import Detection, DetectionBatch, ObjectClass

C922 = load_camera("c922_640x480")


def sphere_box(x: float, y: float, clip: bool = True) -> tuple[float, float, float, float]:
    """The exact box, as continuous edges, of a ball on the floor: projected surface points."""
    a, b = np.meshgrid(np.linspace(0, math.tau, 181), np.linspace(-math.pi / 2, math.pi / 2, 91))
    r = BALL_RADIUS_M
    surface = np.stack(
        [x + r * np.cos(a) * np.cos(b), y + r * np.sin(a) * np.cos(b), r + r * np.sin(b)], axis=-1
    ).reshape(-1, 3)
    pixels = C922.project(surface) + 0.5
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if clip:
        low, high = np.maximum(low, 0.0), np.minimum(high, [640.0, 480.0])
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def batch(*detections: Detection, size: tuple[int, int] = (640, 480)) -> DetectionBatch:
    return DetectionBatch(
        seq=7, t_capture_ns=11, t_receive_ns=13, valid=True, frame_seq=7, image_size_px=size, detections=detections
    )


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.0), (0.8, 0.2), (1.5, -0.4), (3.0, 0.9), (4.0, -1.0)])
def test_a_whole_ball_is_placed_within_a_centimetre_and_its_sigma(x, y):
    point, cut = place(ObjectClass.BALL, sphere_box(x, y), C922)
    assert not cut
    error = np.array(point.position_in_robot_m) - [x, y]
    assert np.linalg.norm(error) < 0.01
    assert error @ np.linalg.inv(np.array(point.covariance_m2)) @ error < 4.0


@pytest.mark.parametrize(("x", "y"), [(0.315, 0.0), (0.29, 0.04), (0.27, -0.03)])
def test_a_ball_cut_at_the_bottom_keeps_its_bearing_and_a_useful_range(x, y):
    whole = sphere_box(x, y, clip=False)
    assert whole[3] > 480.0  # or the test tests nothing
    (seen,) = observe(batch(Detection(object_class=ObjectClass.BALL, score=0.9, box_px=sphere_box(x, y))), C922)
    assert seen.truncated
    px, py = seen.position_in_robot_m
    assert math.hypot(px - x, py - y) < 0.01
    off = C922.mounting.x_m
    assert math.atan2(py, px - off) == pytest.approx(math.atan2(y, x - off), abs=0.03)
    uncut = C922.ground_covariance(C922.project([[x, y, 0.0]]))[0]
    assert np.trace(np.array(seen.covariance_m2)) > 2.0 * np.trace(uncut)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_ball_cut_at_the_side_is_rebuilt_from_the_side_that_is_seen(side):
    x, y = 1.0, side * 0.475
    whole, seen = sphere_box(x, y, clip=False), sphere_box(x, y)
    assert whole != seen
    point, cut = place(ObjectClass.BALL, seen, C922)
    assert cut
    assert math.dist(point.position_in_robot_m, (x, y)) < 0.01


def test_a_robot_is_placed_at_its_centre_and_a_goal_at_its_foot():
    front = C922.project([[2.0 - 0.089, 0.0, 0.0]])[0] + 0.5
    point, cut = place(ObjectClass.ROBOT, (front[0] - 30, front[1] - 50, front[0] + 30, front[1]), C922)
    assert not cut
    assert point.position_in_robot_m == pytest.approx((2.0, 0.0), abs=1e-3)
    posts = C922.project([[3.0, 0.5, 0.0], [3.0, -0.5, 0.0]]) + 0.5
    foot = posts[:, 1].mean()
    box = (posts[0, 0], foot - 38.0, posts[1, 0], foot + 0.05 / 0.95 * 38.0)
    point, _ = place(ObjectClass.GOAL, box, C922)
    assert point.position_in_robot_m == pytest.approx((3.0, 0.0), abs=0.02)
    left, right = side_bearings(box, C922)
    assert left == pytest.approx(math.atan2(0.5, 2.91), abs=0.01)
    assert right == pytest.approx(-math.atan2(0.5, 2.91), abs=0.01)
    assert side_bearings((0.0, 90.0, 200.0, 130.0), C922)[0] is None


def test_nothing_above_the_horizon_has_a_place():
    sky = Detection(object_class=ObjectClass.BALL, score=0.9, box_px=(300.0, 5.0, 310.0, 15.0))
    floor = Detection(object_class=ObjectClass.BALL, score=0.8, box_px=(300.0, 200.0, 330.0, 230.0))
    seen = observe(batch(sky, floor), C922)
    assert [o.score for o in seen] == [0.8]
    assert (seen[0].t_capture_ns, seen[0].t_receive_ns, seen[0].valid) == (11, 13, True)


def test_other_picture_sizes_are_scaled():
    full = Detection(object_class=ObjectClass.BALL, score=0.9, box_px=(300.0, 200.0, 330.0, 230.0))
    half = Detection(object_class=ObjectClass.BALL, score=0.9, box_px=(150.0, 100.0, 165.0, 115.0))
    (a,), (b,) = observe(batch(full), C922), observe(batch(half, size=(320, 240)), C922)
    assert a.position_in_robot_m == b.position_in_robot_m
    assert b.box_px == half.box_px


def test_rows_of_small_balls_are_moved_by_their_shape_and_column():
    lens = C922.intrinsics
    right = lens.cx + 0.25 * lens.fx
    flat = ball_row_slopes(right, 0.0436 * lens.fx, 0.8 * 0.0311 * lens.fy, C922)
    assert flat == pytest.approx((0.0625, 0.25, 0.0, 0.25, 0.0625))
    narrow = ball_row_slopes(lens.cx, 0.8 * 0.0436 * lens.fx, 0.0311 * lens.fy, C922)
    assert narrow == pytest.approx((0.0, 0.0, 0.25, 0.0, 0.0))
    usual = ball_row_slopes(right, 28.0, 20.0, C922)
    assert usual == pytest.approx((0.0625, 0.0, 0.0, 0.25, 0.0), abs=2e-3)


def test_rows_of_near_balls_stay_and_slivers_do_not_fly():
    near = ball_row_slopes(600.0, 110.0, 110.0, C922)
    assert max(map(abs, near[1:])) < 0.07
    sliver = ball_row_slopes(600.0, 0.01, 0.01, C922)
    assert max(map(abs, sliver)) <= 1.0


def test_rows_are_moved_alike_in_pictures_of_any_size():
    lens = C922.intrinsics
    half = dataclasses.replace(
        C922,
        intrinsics=dataclasses.replace(
            lens, width_px=320, height_px=240, fx=lens.fx / 2, fy=lens.fy / 2, cx=lens.cx / 2, cy=lens.cy / 2
        ),
    )
    full = ball_row_slopes(100.0, 26.0, 18.0, C922)
    assert ball_row_slopes(50.0, 13.0, 9.0, half) == pytest.approx(full)


def test_the_vector_form_used_by_calibration_is_the_same():
    rows = {name: 4.0 + index for index, name in enumerate(BALL_ROWS)}
    camera = dataclasses.replace(C922, contact=dataclasses.replace(C922.contact, ball=0.4, **rows))
    boxes = np.array([[100.0, 200.0, 140.0, 235.0], [400.0, 90.0, 420.0, 112.0]])
    points = camera.ground_points(ball_points_px(boxes, camera), plane_z_m=ball_plane_m(camera))
    for box, point in zip(boxes, points, strict=True):
        single, _ = place(ObjectClass.BALL, tuple(box), camera)
        assert single.position_in_robot_m == pytest.approx(tuple(point), abs=1e-12)
