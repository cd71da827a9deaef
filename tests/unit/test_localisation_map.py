"""The map of markings: exact distances, likelihoods that agree with them, symmetry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.localisation.field_map import CELL_M, LEVELS_M, OUTLIER_SHARE, FieldMap, noise_level
from perception.localisation.search import Prior, twin
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2

FIELD = FieldGeometry()
MAP = FieldMap(FIELD)


@pytest.mark.parametrize(
    ("point", "distance_m", "normal"),
    [
        ((2.0, 2.9), -0.1, (0.0, 1.0)),  # inside of the touch line
        ((0.07, -1.7), 0.07, (1.0, 0.0)),  # beside the halfway line
        ((0.6 * math.cos(0.7), 0.6 * math.sin(0.7)), 0.1, (math.cos(0.7), math.sin(0.7))),  # outside of the circle
        ((3.45, 0.4), -0.05, (1.0, 0.0)),  # before the defense area
    ],
)
def test_the_nearest_marking_is_known_exactly(
    point: tuple[float, float], distance_m: float, normal: tuple[float, float]
) -> None:
    offset, direction, distance, _ = MAP.nearest(np.array([point]))
    sign = math.copysign(1.0, float(direction[0] @ normal))
    assert sign * offset[0] == pytest.approx(distance_m, abs=1e-9)
    assert sign * direction[0] == pytest.approx(normal, abs=1e-9)
    assert distance[0] == pytest.approx(abs(distance_m), abs=0.04)  # that of the cell's centre


def test_the_likelihood_field_agrees_with_the_distance() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform((-4.5, -3.0), (4.5, 3.0), (500, 2))
    offset, _, distance, _ = MAP.nearest(points)
    near_ends = distance > np.abs(offset) + 0.05
    for level, sigma in enumerate(LEVELS_M):
        found = MAP.score(points[None], np.full(500, level, np.int32))[0]
        good = (1.0 - OUTLIER_SHARE) * np.exp(-0.5 * (distance / sigma) ** 2) + OUTLIER_SHARE
        assert found == pytest.approx(np.log(good), abs=1e-4)
        assert float(found.max()) <= 1e-6
    assert near_ends.mean() < 0.2  # elsewhere the line itself is what is nearest


def test_far_outside_is_an_outlier_and_not_an_error() -> None:
    far = np.array([[[1e4, -1e4], [30.0, 2.0]]])
    assert MAP.score(far, np.zeros(2, np.int32)) == pytest.approx(math.log(OUTLIER_SHARE), abs=1e-3)


def test_cells_moved_stay_on_the_map() -> None:
    places = np.array([(-4.0, -2.5), (0.0, 0.0), (4.4, 2.9)])
    steps = np.array([(3, -7), (0, 0), (10_000, 2), (-5, -10_000), (-10_000, 10_000)], np.int32)
    moved = MAP.moved(MAP.cell(places), steps)
    middle = places[:, None] + steps[None] * CELL_M
    np.testing.assert_array_equal(moved, MAP.cell(middle))


def test_noise_levels_are_the_nearest_ones() -> None:
    assert noise_level(np.array([0.001, 0.06, 0.11, 0.25, 3.0])).tolist() == [0, 0, 1, 3, 4]


def test_a_whole_field_is_its_own_mirror_and_half_a_field_is_not() -> None:
    assert MAP.symmetric
    assert len(MAP.goals_m) == 2
    half = FieldMap(FieldGeometry(walls_x_m=(-0.3, 4.2)))
    assert not half.symmetric
    rng = np.random.default_rng(3)
    points = rng.uniform((-4.5, -3.0), (4.5, 3.0), (400, 2))
    level = np.full(400, 1, np.int32)
    both = MAP.score(np.stack((points, -points)), level)
    assert np.abs(both[0] - both[1]).mean() < 0.05  # cells are not mirrored to the last millimetre


def test_the_twin_of_the_twin_is_the_pose() -> None:
    poses = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, -3.0], [-4.0, 1.0, math.pi]])
    back = twin(twin(poses))
    assert back[:, :2] == pytest.approx(poses[:, :2])
    assert np.cos(back[:, 2] - poses[:, 2]) == pytest.approx(np.ones(3))


def test_a_prior_is_about_the_robot_not_about_the_odometry_frame() -> None:
    odom, field = Pose2(1.0, 2.0, 0.7), Pose2(-3.0, 0.5, -1.1)
    prior = Prior(field_from_robot=field, odom_from_robot=odom, sigma_m=0.3, sigma_theta_rad=0.2)
    right = field @ odom.inverse()
    shifted = Pose2(field.x_m + 0.6, field.y_m, field.theta_rad) @ odom.inverse()
    turned = Pose2(field.x_m, field.y_m, field.theta_rad + 0.4) @ odom.inverse()
    found = prior.log_density(np.array([[p.x_m, p.y_m, p.theta_rad] for p in (right, shifted, turned)]))
    assert found == pytest.approx([0.0, -2.0, -2.0], abs=1e-9)
