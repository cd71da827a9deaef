"""Far lines by sums along straight pieces; the floor's hull; lines that go on; circles far away."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from perception.camera.lens import distort
from perception.field.circle import CircleConfig
from perception.field.edge import carpet_hull, floor_hull
from perception.field.extend import extended
from perception.field.far import FarConfig, FarScanner
from perception.field.lines import LineConfig
from perception.field.model import JunctionKind
from perception.field.segments import Points, Run
from robot.core.geometry import Pose2
from tests.unit.test_field_lines import C922, CORNER, GREEN, LENS, find, off_marking_px, picture


def strip(camera, first_row, last_row, *, contrast, noise=4.0, wall=None, seed=0):
    """A grey carpet with one line, `contrast` grey levels bright and a pixel wide, straight for an ideal lens."""
    k = camera.intrinsics
    rng = np.random.default_rng(seed)
    image = np.full((k.height_px, k.width_px), 110.0)
    ideal = np.linspace(-40.0, 680.0, 3000)
    x, y = (ideal - k.cx) / k.fx, (np.interp(ideal, (0.0, 639.0), (first_row, last_row)) - k.cy) / k.fy
    u, v = distort(x, y, k.distortion)
    row = np.interp(np.arange(k.width_px), u * k.fx + k.cx, v * k.fy + k.cy)
    image += contrast * np.exp(-0.5 * (np.arange(k.height_px)[:, None] - row) ** 2)
    if wall is not None:
        image[: round(wall)] = 200.0
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + rng.normal(0.0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), row


def pieces(camera, image, hidden=None, floor_from=0.0):
    scanner = FarScanner(FarConfig(), camera)
    u, v = scanner.cells_px
    below = v > floor_from
    carpet = below if hidden is None else below & ~((u > hidden[0]) & (u < hidden[1]))
    found = scanner.scan(image, below, carpet)
    k = camera.intrinsics
    x, y = distort(found.points_px[:, 0] / k.fx, found.points_px[:, 1] / k.fy, k.distortion)
    return np.stack((x * k.fx + k.cx, y * k.fy + k.cy), axis=1)


@pytest.mark.parametrize(("camera", "rows"), [(C922, (84.0, 97.0)), (C922, (100.0, 80.0)), (LENS, (95.0, 89.0))])
def test_a_line_fainter_than_the_noise_of_a_pixel_is_found_along_its_length(camera, rows):
    image, row = strip(camera, *rows, contrast=3.0)
    points = pieces(camera, image)
    assert len(points) >= 20
    assert np.ptp(points[:, 0]) > 400.0
    off = points[:, 1] - np.interp(points[:, 0], np.arange(640.0), row)
    assert np.median(np.abs(off)) < 0.5
    assert abs(np.mean(off)) < 0.3  # to neither side
    assert np.quantile(np.abs(off), 0.95) < 1.5


def test_noise_and_the_foot_of_a_wall_have_no_lines():
    for seed in range(4):
        bare, _ = strip(C922, 90.0, 90.0, contrast=0.0, seed=seed)
        assert len(pieces(C922, bare)) <= 4
        wall, _ = strip(C922, 90.0, 90.0, contrast=0.0, wall=85.0, seed=seed)
        assert len(pieces(C922, wall, floor_from=86.0)) <= 4


def test_what_is_hidden_gives_no_points_though_the_line_goes_on_beyond_it():
    image, _ = strip(C922, 88.0, 92.0, contrast=5.0)
    image[70:110, 250:330] = 30  # a robot
    points = pieces(C922, image, hidden=(245.0, 335.0))
    assert (points[:, 0] < 240.0).sum() >= 5
    assert (points[:, 0] > 340.0).sum() >= 5
    assert not ((points[:, 0] > 250.0) & (points[:, 0] < 330.0)).any()


def test_a_camera_that_sees_no_far_floor_has_no_strip():
    low = type(C922)(
        intrinsics=C922.intrinsics, mounting=type(C922.mounting)(x_m=0.09, y_m=0.0, height_m=0.17, pitch_rad=1.2)
    )
    scanner = FarScanner(FarConfig(), low)
    u, v = scanner.cells_px
    assert scanner.rows == 0
    assert len(scanner.scan(np.zeros((480, 640), np.uint8), v > 0.0, u > 0.0).strength) == 0


def test_a_line_3_m_away_is_found_by_its_sum_and_to_a_pixel():
    across = Pose2(1.4, -0.9, 0.04)  # the goal line 3 m ahead: 0.1 px of paint
    image = picture(across, noise=3.0)
    found = find(image)
    far = [s for s in found.segments if min(end[0] for end in s.ends_in_robot_m) > 2.5]
    assert sum(math.dist(*s.ends_px) for s in far) > 220.0
    ends = [end for s in far for end in s.ends_px]
    assert np.median(off_marking_px(ends, across, C922)) < 1.0
    deaf = find(image, config=LineConfig(far=FarConfig(gate=90.0)))
    heard = sum(math.dist(*s.ends_px) for s in deaf.segments if min(e[0] for e in s.ends_in_robot_m) > 2.5)
    assert sum(math.dist(*s.ends_px) for s in far) > 1.2 * heard


def test_the_floor_goes_on_beside_robots_and_behind_worn_patches():
    mask = np.zeros((120, 80), bool)
    mask[25:] = True  # the wall's foot at row 100
    mask[40:95, :14] = False  # a robot at the left side, down to row 380
    mask[30:44, 30:70] = False  # a worn patch: carpet all around it
    size, edge = (640, 480), []
    for column in range(80):
        top = 120 - np.logical_and.accumulate(mask[::-1, column]).sum()
        edge.append((8.0 * column + 3.5, 4.0 * top - 0.5))
    plain = np.array(carpet_hull(tuple(edge)))
    assert np.interp(60.0, plain[:, 0], plain[:, 1]) > 150.0  # the robot cuts the plain hull off
    hull = floor_hull(tuple(edge), mask, size, ((0.0, 60.0, 112.0, 380.0),))
    for u in (10.0, 60.0, 320.0, 500.0, 630.0):
        assert np.interp(u, hull[:, 0], hull[:, 1]) == pytest.approx(101.0, abs=5.0)
    # A far robot's foot is hardly lower than the wall's: only its box tells.
    mask[25:, :14] = True
    mask[25:38, :14] = False
    edge[:14] = [(u, 151.5) for u, _ in edge[:14]]
    assert floor_hull(tuple(edge), mask, size)[0, 1] > 140.0
    assert floor_hull(tuple(edge), mask, size, ((0.0, 60.0, 112.0, 152.0),))[0, 1] == pytest.approx(101.0, abs=5.0)
    # A wall that falls away to the side is a wall.
    wall = tuple((8.0 * k + 3.5, 60.0 + 5.0 * k) for k in range(80))
    open_mask = np.arange(120)[:, None] * 4.0 > 60.0 + 5.0 * np.arange(80)[None, :]
    hull = floor_hull(wall, open_mask, size)
    assert np.interp(600.0, hull[:, 0], hull[:, 1]) == pytest.approx(60.0 + 5.0 * 74.5, abs=6.0)


def test_a_run_goes_on_as_far_as_its_line_shows_and_floor_is_seen():
    image = np.full((480, 640), 100, np.uint8)
    cv2.line(image, (100, 300), (500, 300), 200, 5)
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    k = C922.intrinsics

    def ends(first, last, floor):
        u = np.linspace(first, last, 20)
        pixels = np.column_stack((u, np.full(20, 300.0)))
        flat = pixels - (k.cx, k.cy)
        points = Points(pixels, flat, C922.ground_points(pixels), *(np.full(20, x) for x in (9.0, False, 5.0, 5.0)))
        run = extended([Run(np.arange(20), flat[0], flat[-1])], points, C922, image, floor)[0]
        assert (run.start[1], run.end[1]) == pytest.approx((300.0 - k.cy, 300.0 - k.cy))
        return run.start[0] + k.cx, run.end[0] + k.cx

    floor = np.ones((120, 80), bool)
    assert ends(200.0, 400.0, floor) == pytest.approx((140.0, 460.0), abs=0.1)  # 60 px at once, no more
    assert ends(130.0, 480.0, floor) == pytest.approx((100.0, 500.0), abs=11.0)  # to where it ends
    floor[:, :20] = False  # something covers it, left of column 160
    assert ends(200.0, 400.0, floor)[0] >= 160.0


def test_lines_go_on_to_the_corner_where_they_meet():
    found = find(picture(CORNER, width_m=0.015, carpet=GREEN))
    assert [j.kind for j in found.junctions] == [JunctionKind.L]
    corner = np.array(found.junctions[0].pixel_px)
    nearest = sorted(min(math.dist(end, corner) for end in s.ends_px) for s in found.segments)
    assert nearest[1] < 14.0  # both lines end at it


@pytest.mark.parametrize("pose", [Pose2(-2.3, 0.15, 0.1), Pose2(-0.35, -1.3, 1.3), Pose2(-0.9, 0.75, -0.2)])
def test_the_circle_is_found_far_away_and_in_part(pose):
    image = picture(pose, width_m=0.02, noise=3.0)
    circle = find(image).circle
    assert circle is not None
    far = math.hypot(pose.x_m, pose.y_m)
    assert math.dist(pose.transform(circle.centre_in_robot_m), (0.0, 0.0)) < 0.02 + 0.03 * far


@pytest.mark.parametrize("pose", [Pose2(2.82, 1.98, -0.71), Pose2(2.48, 0.19, -0.61)])
def test_lines_that_cross_are_no_circle(pose):
    image = picture(pose, width_m=0.02)
    assert find(image).circle is None
    # Their points alone would do for one: it is the look along the whole circle that tells.
    assert find(image, config=LineConfig(circle=CircleConfig(min_share=0.1))).circle is not None
