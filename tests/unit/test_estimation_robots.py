"""Robots behind robots: what is seen wholly claims first, and a part of a robot is no robot behind it."""

from __future__ import annotations

import numpy as np
import pytest

from perception.estimation.config import EstimationConfig
from perception.estimation.estimator import Estimator
from perception.estimation.tracks.track import EgoPath, Sighting, Track
from perception.estimation.tracks.tracker import Tracker
from robot.core.messages import ObjectClass, Vec2
from tests.estimation_world import BODY, CAMERA, FIELD, frame, sighting, telemetry

EGO = EgoPath(0.0, 0.0, (0.0, 0.0), 0.0, 0.0)
FRAME_NS = 33_000_000


def seen(place_m: Vec2, sigmas_m: Vec2, *, whole: bool, score: float = 0.8) -> Sighting:
    covariance = np.diag(np.square(sigmas_m))
    return Sighting(np.array(place_m), covariance, np.zeros((2, 2)), score, birth=whole)


def known(tracker: Tracker, place_m: Vec2, sigmas_m: Vec2) -> Track:
    """A confirmed track that was seen there just now."""
    track = tracker.found(0, seen(place_m, sigmas_m, whole=True), EGO)
    track.confirmed, track.log_odds, track.sightings = True, 5.0, 10
    return track


@pytest.mark.parametrize("order", [1, -1])
def test_a_robot_seen_wholly_is_not_traded_for_one_behind_it(order: int) -> None:
    """The box behind fits the near robot's track within its gate; that pair and the other would make two of one."""
    tracker = Tracker(EstimationConfig().robots)
    near = known(tracker, (1.24, -0.12), (0.04, 0.04))
    lost = known(tracker, (1.95, -0.40), (0.45, 0.10))
    whole, behind = seen((1.23, -0.14), (0.04, 0.03), whole=True), seen((2.5, 0.14), (0.8, 0.09), whole=False)
    tracker.observe(FRAME_NS, (whole, behind)[::order], lambda _: None, EGO)
    assert tracker.fed[::order][0] is near
    assert near.filter.sigma_m() < 0.1
    assert abs(float(near.filter.x[1]) + 0.13) < 0.02
    assert lost.sightings == 10


@pytest.mark.parametrize(("score", "sightings"), [(0.35, 8), (0.6, 16)])
def test_a_faint_box_over_a_robot_feeds_no_robot_behind_it(score: float, sightings: int) -> None:
    """A mast or a handle that is taken for a robot of its own stands in line with the one that carries it."""
    estimator = Estimator(EstimationConfig(), BODY, FIELD, CAMERA)
    far_m, beside_m, before_m = (2.4, 0.0), (1.2, -0.5), (1.2, -0.02)
    t = 0
    for k in range(16):
        for _ in range(7):
            t += 5_000_000
            estimator.on_telemetry(telemetry(0, t))
        hidden = k >= 8
        near = sighting(t, before_m if hidden else beside_m, object_class=ObjectClass.ROBOT, score=0.8)
        far = sighting(t, far_m, object_class=ObjectClass.ROBOT, score=score if hidden else 0.8)
        estimator.on_observations(frame(0, t), (near, far))
    found = min(estimator.world_model(t).objects, key=lambda o: abs(o.position_in_world_m[0] - far_m[0]))
    assert found.sightings == sightings
