"""Goal posts from drawn pictures whose goal is known, from real ones where it can be pointed at, and in the pose."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from perception.camera import load_camera
from perception.field.boundary import CarpetScanner
from perception.field.lines import LineConfig, LineFinder
from perception.field.posts import PostConfig
from robot.core.geometry import Pose2
from sim.evaluation.post_labels import TruePost
from sim.evaluation.posts import PostScores
from tests.goal_pictures import BLACK, WHITE, YELLOW, feet, goal_picture
from tests.helpers import shared_data
from tests.unit.test_field_lines import C922, GREEN, GREY, picture

AHEAD = Pose2(2.3, 0.1, 0.0)
FROM_THE_SIDE = Pose2(3.0, -1.4, 0.65)


def find(image, boxes=(), config=None):
    edge, mask = CarpetScanner(camera=C922).scan_with_mask(image)
    return LineFinder(config or LineConfig(), C922).find(image, mask, edge, boxes)


@pytest.mark.parametrize("goal", [WHITE, BLACK, YELLOW])
@pytest.mark.parametrize("pose", [AHEAD, FROM_THE_SIDE, Pose2(3.2, 0.0, -0.1), Pose2(2.6, 0.9, -0.3)])
def test_both_posts_of_a_goal_are_found_whatever_its_colour(pose, goal):
    found = find(goal_picture(pose, goal=goal, board=(120, 90, 40)))
    true = [foot for foot in feet(pose) if 8.0 < foot[0] < 631.0]
    assert len(found.posts) == len(true)
    for u, v in true:
        near = min(found.posts, key=lambda post: math.dist(post.foot_px, (u, v)))
        assert math.dist(near.foot_px, (u, v)) < 5.0 + 0.01 * 642.0 / math.hypot(*near.position_in_robot_m)
        assert near.strength > 1.0


def test_half_the_light_gives_the_same_posts():
    bright, dim = find(goal_picture(AHEAD)), find(goal_picture(AHEAD, light=0.5))
    assert len(bright.posts) == len(dim.posts) == 2
    for a, b in zip(bright.posts, dim.posts, strict=True):
        assert math.dist(a.foot_px, b.foot_px) < 1.5


def test_a_posts_place_on_the_floor_and_its_top_fit_the_goal():
    posts = find(goal_picture(AHEAD)).posts
    for post in posts:
        place = AHEAD.transform(post.position_in_robot_m)
        assert abs(abs(place[1]) - 0.51) < 0.02
        assert abs(place[0] - 4.5) < 0.08
        assert post.covariance_m2[0][0] > 0.0
        top = C922.project([[*post.position_in_robot_m, 0.16]])[0]
        assert post.top_px is not None
        assert math.dist(post.top_px, top) < 4.0


def test_posts_come_from_left_to_right_and_once_each():
    columns = [post.foot_px[0] for post in find(goal_picture(AHEAD)).posts]
    assert columns == sorted(columns)
    assert min(np.diff(columns)) > 50.0


@pytest.mark.parametrize("carpet", [GREEN, GREY])
@pytest.mark.parametrize("pose", [Pose2(-1.4, 0.3, -0.15), Pose2(3.3, 2.0, 0.8), Pose2(1.0, 1.0, 1.7)])
def test_lines_and_walls_are_no_posts(pose, carpet):
    assert find(picture(pose, carpet=carpet)).posts == ()


def test_a_bright_line_that_leads_to_a_wall_is_no_post():
    image = goal_picture(Pose2(2.0, 2.0, 0.0))
    cv2.line(image, (300, 480), (318, 100), (235, 238, 240), 5, cv2.LINE_AA)
    assert find(image).posts == ()


def test_only_what_is_as_high_as_a_goal_is_a_post():
    def bar(height_m):
        image = goal_picture(Pose2(2.3, 1.9, 0.0))  # open floor before the wall
        foot = C922.project([[2.2, -0.45, 0.0], [2.2, -0.55, 0.0], [2.2, -0.55, height_m], [2.2, -0.45, height_m]])
        cv2.fillPoly(image, [np.rint(np.nan_to_num(foot)).astype(np.int32)], (200, 60, 60))
        return image

    assert len(find(bar(0.16)).posts) == 1
    assert find(bar(0.07)).posts == ()
    assert find(bar(0.6)).posts == ()


def test_a_robots_box_over_a_post_hides_it():
    image = goal_picture(AHEAD)
    left, right = find(image).posts
    u, v = left.foot_px
    only = find(image, boxes=((u - 30.0, v - 60.0, u + 30.0, v + 30.0),)).posts
    assert [round(post.foot_px[0]) for post in only] == [round(right.foot_px[0])]


def test_posts_can_be_switched_off():
    assert find(goal_picture(AHEAD), config=LineConfig(posts=PostConfig(enabled=False))).posts == ()


def test_no_carpet_no_posts_and_noise_is_survived():
    rng = np.random.default_rng(3)
    for image in (np.zeros((480, 640, 3), np.uint8), rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)):
        find(image)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="positive"):
        PostConfig(goal_height_m=0.0)


def test_scores_count_a_post_once_and_only_near_its_front():
    true = TruePost(
        foot_px=(100.0, 80.0), top_px=(98.0, 45.0), half_width_px=3.0, range_m=2.0, off_axis_rad=0.1, visible=True
    )
    hidden = replace(true, foot_px=(300.0, 80.0), visible=False)
    post = find(goal_picture(AHEAD)).posts[0]
    places = ((104.0, 81.0), (97.0, 80.0), (301.0, 80.0), (100.0, 90.0))
    scores = PostScores()
    scores.add((true, hidden), tuple(replace(post, foot_px=place) for place in places), C922)
    assert (scores.found, scores.right, scores.true, scores.seen) == (4, 2, 1, 1)
    assert "2 of 4 found are right" in scores.lines()[0]


def test_a_real_goals_post_is_found_at_its_front_corner():
    image = cv2.imread(str(shared_data("calibration") / "rnd_03_203.png"))
    (post,) = find(image).posts
    assert math.dist(post.foot_px, (151.0, 116.0)) < 5.0
    assert post.top_px is not None
    assert abs(post.top_px[1] - 45.0) < 6.0


def test_a_real_corner_of_boards_is_no_post():
    image = cv2.imread(str(shared_data("calibration") / "rnd_03_74.png"))
    assert find(image).posts == ()


def test_the_shipped_camera_is_the_one_drawn_with():
    assert load_camera("c922_640x480") == C922
