"""The search by itself: what it believes, and what it must not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.estimation.config import MotionConfig
from perception.localisation.config import MarkingConfig, SearchConfig
from perception.localisation.field_map import FieldMap
from perception.localisation.search import Found, GlobalSearch, Prior
from perception.localisation.view import LinePoints
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, Pose2, rotation, wrap_angle

FIELD = FieldGeometry()
MAP = FieldMap(FIELD)
TRUTH = Pose2(2.9, 0.2, 0.3)
CONFIG = SearchConfig(view_points=60)

DEFENSE_FRONT = [(3.5, y) for y in np.linspace(-0.95, 0.95, 24)]
DEFENSE_SIDE = [(x, 1.0) for x in np.linspace(3.5, 4.4, 20)]
GOAL_LINE = [(4.5, y) for y in np.linspace(-1.4, 1.6, 20)]
MIDDLE = [(x, 0.0) for x in np.linspace(2.0, 4.4, 16)]
CIRCLE = [(0.5 * math.cos(a), 0.5 * math.sin(a)) for a in np.linspace(-1.5, 1.5, 20)]
CORNER = [(4.5 - d, 3.0) for d in np.linspace(0.0, 0.6, 25)] + [(4.5, 3.0 - d) for d in np.linspace(0.0, 0.6, 25)]
SCENE = DEFENSE_FRONT + DEFENSE_SIDE + GOAL_LINE + MIDDLE + CIRCLE


def points(places_in_field_m: list[tuple[float, float]], pose: Pose2, sigma_m: float = 0.02) -> LinePoints:
    """Line points as they would be seen from a pose."""
    rng = np.random.default_rng(4)
    places: FloatArray = (np.array(places_in_field_m) - (pose.x_m, pose.y_m)) @ rotation(pose.theta_rad)
    noise = np.tile(sigma_m**2 * np.eye(2), (len(places), 1, 1))
    return LinePoints(places + rng.normal(0.0, sigma_m, places.shape), noise, np.zeros((len(places), 2, 3)))


def search(
    places_in_field_m: list[tuple[float, float]],
    *,
    odom_from_robot: Pose2 | None = None,
    prior: Prior | None = None,
    field_map: FieldMap = MAP,
) -> Found | None:
    """Let the search see the places three times, and run it once."""
    finder = GlobalSearch(CONFIG, field_map, prior)
    odom = odom_from_robot or Pose2(0.4, -0.8, 1.1)
    for k in range(3):
        turned = Pose2(0.0, 0.0, 0.3 * k)
        finder.views.offer(k, odom @ turned, points(places_in_field_m, TRUTH @ turned), [], (0.0, 0.0))
    found = None
    finder.step(odom)
    while finder.busy:
        found = finder.step(odom)
    assert finder.searches == 1
    return found


def off(found: Found, odom: Pose2, truth: Pose2 = TRUTH) -> tuple[float, float]:
    pose = found.field_from_odom @ odom
    return pose.distance_to(truth), abs(wrap_angle(pose.theta_rad - truth.theta_rad))


def twin_of(pose: Pose2) -> Pose2:
    return Pose2(-pose.x_m, -pose.y_m, wrap_angle(pose.theta_rad + math.pi))


def test_a_scene_that_is_one_of_a_kind_is_found_up_to_the_mirror() -> None:
    odom = Pose2(0.4, -0.8, 1.1)
    found = search(SCENE, odom_from_robot=odom)
    assert found is not None
    assert found.mirror_ambiguous
    error = min(off(found, odom), off(found, odom, twin_of(TRUTH)))
    assert error[0] < 0.03
    assert error[1] < 0.01
    assert math.sqrt(found.covariance[0, 0]) < 0.05


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_prior_chooses_the_twin_whatever_half_was_searched(side: float) -> None:
    odom, place = Pose2(0.4, -0.8, 1.1), (side * TRUTH.x_m + 0.2, side * TRUTH.y_m - 0.3)
    prior = Prior(field_from_robot=Pose2(*place), odom_from_robot=odom, sigma_m=0.3)
    found = search(SCENE, odom_from_robot=odom, prior=prior)
    assert found is not None
    assert not found.mirror_ambiguous
    assert off(found, odom, TRUTH if side > 0 else twin_of(TRUTH))[0] < 0.03


def test_a_prior_that_fits_both_twins_tells_nothing() -> None:
    prior = Prior(field_from_robot=Pose2(0.0, 0.0), odom_from_robot=Pose2(0.4, -0.8, 1.1), sigma_m=3.0)
    found = search(SCENE, prior=prior)
    assert found is not None
    assert found.mirror_ambiguous


def test_a_corner_like_others_is_not_believed() -> None:
    """Fully explained and sharply placed, at a dozen corners: only the margin says no."""
    assert search(CORNER) is None


def test_half_of_the_points_on_nothing_is_not_believed() -> None:
    rng = np.random.default_rng(5)
    clutter = [(float(x), float(y)) for x, y in rng.uniform((1.0, -2.8), (4.4, 2.8), (len(SCENE), 2))]
    assert search(SCENE) is not None
    assert search(SCENE + clutter) is None


def test_one_straight_line_is_not_believed() -> None:
    assert search([(x, 3.0) for x in np.linspace(1.0, 3.5, 50)]) is None


def test_half_a_field_has_no_twin() -> None:
    half = FieldMap(FieldGeometry(walls_x_m=(-0.3, 4.8)))
    odom = Pose2(0.4, -0.8, 1.1)
    found = search(SCENE, odom_from_robot=odom, field_map=half)
    assert found is not None
    assert not found.mirror_ambiguous
    assert off(found, odom)[0] < 0.03


def test_the_work_is_cut_into_slices() -> None:
    finder = GlobalSearch(CONFIG, MAP)
    for k in range(3):
        turned = Pose2(0.0, 0.0, 0.3 * k)
        finder.views.offer(k, turned, points(SCENE, TRUTH @ turned), [], (0.0, 0.0))
    finder.step(Pose2())
    slices = 0
    while finder.busy:
        finder.step(Pose2())
        slices += 1
    assert slices >= CONFIG.headings // CONFIG.headings_per_step + CONFIG.rounds


@pytest.mark.parametrize("way", [Pose2(9.0, 0.0), Pose2(0.0, -9.0), Pose2(-7.0, 7.0)])
def test_views_from_far_away_do_not_end_the_search(way: Pose2) -> None:
    """The robot has driven on for metres, backwards even, and what it saw there, badly, lies beyond the map's cells."""
    finder = GlobalSearch(CONFIG, MAP, None)
    for k, odom in enumerate((way, Pose2(0.3 * way.x_m, 0.3 * way.y_m, 0.4), Pose2(0.0, 0.0, -0.4))):
        finder.views.offer(k, odom, points(SCENE, TRUTH, sigma_m=0.5), [], (0.0, 0.0))
    finder.step(Pose2())
    while finder.busy:
        finder.step(Pose2())
    assert finder.searches == 1


@pytest.mark.parametrize("name", ["coarse_points", "view_points", "max_views", "kept", "refined"])
def test_settings_that_would_end_the_search_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SearchConfig(**{name: 0})


@pytest.mark.parametrize(
    ("config", "name"), [(MarkingConfig, "camera_sigma_rad"), (MarkingConfig, "min_points"), (MotionConfig, "slip")]
)
def test_settings_that_would_divide_by_zero_are_refused(config: type, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        config(**{"slip_threshold_m_s" if name == "slip" else name: 0})
