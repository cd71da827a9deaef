"""Goal posts as point landmarks of the pose: derivatives, gates, and what they are worth beside lines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.camera import load_camera
from perception.estimation.ego.ekf import CAMERA, POSE, SIZE
from perception.estimation.ego.landmarks import near_landmarks
from perception.estimation.ego.markings import MarkingModel
from perception.localisation.config import MarkingConfig
from perception.localisation.field_map import FieldMap
from perception.localisation.view import floor_points
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import DetectionBatch

CAMERA_MODEL = load_camera("c922_640x480")
FIELD = FieldGeometry()
MAP = FieldMap(FIELD)
POSE_THERE = Pose2(2.4, 0.3, -0.05)
PRIOR = np.diag(np.square([0.05, 0.05, 0.02, 0.004, 0.004, 0.004]))


def pixels(places, pose=POSE_THERE):
    local = [(*pose.inverse().transform(place), 0.0) for place in places]
    return tuple((float(u), float(v)) for u, v in CAMERA_MODEL.project(np.array(local)))


def state(pose=POSE_THERE):
    x = np.zeros(SIZE)
    x[POSE] = pose.x_m, pose.y_m, pose.theta_rad
    return x


def seen(places, pose=POSE_THERE):
    config = MarkingConfig(readout_s=0.0, sigma_px=1.5)
    return floor_points(pixels(places, pose), (640, 480), CAMERA_MODEL, config, (0.0, 0.0), np.zeros(3), Twist2())


def test_the_map_has_the_four_middles_of_the_fronts():
    assert sorted(map(tuple, MAP.posts_m.round(3))) == [(-4.5, -0.51), (-4.5, 0.51), (4.5, -0.51), (4.5, 0.51)]


def test_each_seen_post_is_taken_for_the_nearest_one():
    found = near_landmarks(seen([(4.5, 0.51), (4.5, -0.51)]), MAP.posts_m, state(), PRIOR, 3.0, 0.015)
    assert found is not None
    assert found.places_m.tolist() == [[4.5, 0.51], [4.5, -0.51]]
    offset, by_state = found.residuals(state(), np.zeros(6))
    assert np.abs(offset).max() < 1e-6
    assert by_state.shape == (4, 6)


def test_what_stands_elsewhere_is_left_out():
    assert near_landmarks(seen([(4.5, 1.4)]), MAP.posts_m, state(), PRIOR, 3.0, 0.015) is None
    mixed = near_landmarks(seen([(4.5, 1.4), (4.5, 0.51)]), MAP.posts_m, state(), PRIOR, 3.0, 0.015)
    assert mixed is not None
    assert mixed.places_m.tolist() == [[4.5, 0.51]]
    assert near_landmarks(seen([(4.5, 0.51)]), np.zeros((0, 2)), state(), PRIOR, 3.0, 0.015) is None


def test_derivatives_are_those_of_the_offsets():
    points = seen([(4.5, 0.51), (4.5, -0.51)])
    found = near_landmarks(points, MAP.posts_m, state(), PRIOR, 3.0, 0.015)
    assert found is not None
    at = np.array([0.01, -0.02, 0.01, 0.001, -0.002, 0.001])
    _, by_state = found.residuals(state(), at)
    for k in range(6):
        h = 1e-6 * np.eye(6)[k]
        slope = (found.residuals(state(), at + h)[0] - found.residuals(state(), at - h)[0]) / 2e-6
        assert by_state[:, k] == pytest.approx(slope, abs=2e-3 * max(1.0, float(np.abs(slope).max())))


def _fit(config, posts_px, error):
    """What a touch-parallel line and posts correct of a pose that is wrong by `error` (x, y, theta)."""
    model = MarkingModel(config, MAP, CAMERA_MODEL)
    line = pixels([(3.5, y) for y in np.linspace(-0.6, 0.8, 30)])  # the defense area's front: says nothing of y
    batch = DetectionBatch(
        seq=0,
        t_capture_ns=0,
        t_receive_ns=0,
        valid=True,
        frame_seq=0,
        image_size_px=(640, 480),
        line_points_px=line,
        goal_posts_px=posts_px,
    )
    x, p = state(), np.zeros((SIZE, SIZE))
    x[POSE] += error
    p[np.ix_(np.r_[POSE, CAMERA], np.r_[POSE, CAMERA])] = PRIOR
    points = model.points(batch, (0.0, 0.0), x, Twist2())
    posts = model.posts(batch, (0.0, 0.0), x, Twist2())
    assert points is not None
    correction = model.fit(points, x, p, 0.033, 0.0, posts).correction
    assert correction is not None
    h = correction.jacobian(x)
    away = correction.z - correction.predict(x)
    gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + correction.covariance)
    return (x + gain @ away)[POSE]


def test_posts_tell_what_one_line_cannot():
    posts = pixels([(4.5, 0.51), (4.5, -0.51)])
    error = np.array([0.03, -0.06, 0.0])
    with_posts = _fit(MarkingConfig(readout_s=0.0), posts, error)
    without = _fit(MarkingConfig(readout_s=0.0, posts=False), posts, error)
    # One picture is weighed as if its errors repeated in the next ones: it takes away half of the error.
    assert abs(with_posts[1] - POSE_THERE.y_m) < 0.035
    assert abs(without[1] - POSE_THERE.y_m) > 0.05
    assert abs(with_posts[0] - POSE_THERE.x_m) < 0.02


def test_a_false_post_does_no_harm():
    false = pixels([(4.5, 1.3)])
    right = _fit(MarkingConfig(readout_s=0.0), (), np.zeros(3))
    assert _fit(MarkingConfig(readout_s=0.0), false, np.zeros(3)) == pytest.approx(right)
    assert math.dist(right[:2], (POSE_THERE.x_m, POSE_THERE.y_m)) < 0.005
