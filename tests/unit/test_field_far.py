"""What is far away: faint lines among streaks, the floor's hull, lines that go on, circles."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from perception.field.circle import CircleConfig
from perception.field.edge import carpet_hull, floor_hull
from perception.field.extend import extended
from perception.field.lines import LineConfig
from perception.field.model import JunctionKind
from perception.field.segments import Points, Run, find_runs
from robot.core.geometry import Pose2
from tests.unit.test_field_lines import C922, CORNER, GREEN, find, off_marking_px, picture


def test_a_line_3_m_away_is_found_to_a_pixel():
    across = Pose2(1.4, -0.9, 0.04)  # the goal line 3 m ahead: 0.1 px of paint
    image = picture(across, noise=3.0)
    found = find(image)
    far = [s for s in found.segments if min(end[0] for end in s.ends_in_robot_m) > 2.5]
    assert sum(math.dist(*s.ends_px) for s in far) > 150.0
    ends = [end for s in far for end in s.ends_px]
    assert np.median(off_marking_px(ends, across, C922)) < 1.0


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


def test_the_rim_between_two_floors_is_no_line_but_paint_is():
    for other, lines in ((105.0, 1), (45.0, 0)):
        image = np.full((480, 640), 110.0)
        image[:200] = other
        image[198:203] = 150.0
        image = np.clip(cv2.GaussianBlur(image, (0, 0), 0.7), 0, 255).astype(np.uint8)
        u = np.linspace(100.0, 500.0, 40)
        pixels = np.column_stack((u, np.full(40, 200.0)))
        flat = pixels - (C922.intrinsics.cx, C922.intrinsics.cy)
        points = Points(pixels, flat, C922.ground_points(pixels), *(np.full(40, x) for x in (9.0, False, 5.0, 5.0)))
        run = Run(np.arange(40), flat[0], flat[-1])
        assert len(extended([run], points, C922, image, np.ones((120, 80), bool))) == lines


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


def test_a_faint_line_shows_among_streaks_that_are_stronger():
    across = Pose2(1.9, -0.9, 0.04)  # the goal line 2.5 m ahead
    rows = np.random.default_rng(5).normal(0.0, 14.0, (60, 1))
    streaks = cv2.resize(rows, (640, 480), interpolation=cv2.INTER_CUBIC)  # as wide as a carpet's patches are there
    image = np.clip(picture(across, noise=2.0) + streaks[..., None], 0, 255).astype(np.uint8)
    far = [s for s in find(image).segments if min(end[0] for end in s.ends_in_robot_m) > 2.0]
    assert sum(math.dist(*s.ends_px) for s in far) > 150.0
    ends = [end for s in far for end in s.ends_px]
    assert np.median(off_marking_px(ends, across, C922)) < 1.0


def test_noise_beyond_its_end_makes_no_line_longer():
    u = np.array([175.0, *np.arange(200.0, 301.0, 5.0), 325.0])  # two points of noise, 25 px off the ends
    flat = np.column_stack((u, np.full(len(u), 60.0)))
    strength = np.where((u < 200.0) | (u > 300.0), 2.5, 9.0)
    same = [np.full(len(u), x) for x in (False, 5.0, 3.0)]
    runs = find_runs(LineConfig(), Points(flat, flat, flat, strength, *same))
    assert [(run.start[0], run.end[0]) for run in runs] == [pytest.approx((200.0, 300.0))]
    # A faint line that every other scan line misses is a line.
    sparse = Points(flat[1:-1:2], flat[1:-1:2], flat[1:-1:2], np.full(11, 4.5), *(x[:11] for x in same))
    assert [(run.start[0], run.end[0]) for run in find_runs(LineConfig(), sparse)] == [pytest.approx((200.0, 300.0))]
