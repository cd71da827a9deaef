"""When the pipeline takes its own estimate, or the link, for lost: each reason alone stops the robot."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Mode, WorldModel
from robot.runtime.pipeline import _is_sane
from robot.runtime.robot_config import Robot, open_robot
from tests.unit.test_runtime_pipeline import play, when

MAX_SIGMA_M = 20.0


@pytest.fixture(scope="module")
def robot() -> Robot:
    return open_robot("default")


@pytest.fixture(scope="module")
def world(robot: Robot) -> WorldModel:
    """What it believes while it drives."""
    _, results = play(robot, duration_s=1.0)
    return results[-1].world


def variances(x_m2: float, y_m2: float) -> dict[str, Any]:
    return {"covariance": ((x_m2, 0.0, 0.0), (0.0, y_m2, 0.0), (0.0, 0.0, 0.01))}


@pytest.mark.parametrize(
    ("change", "sane"),
    [
        ({}, True),
        ({"inputs_ok": False}, False),
        ({"world_from_robot": Pose2(math.nan, 0.0, 0.0)}, False),
        ({"twist_in_robot": Twist2(0.0, math.inf, 0.0)}, False),
        (variances(0.0, (0.99 * MAX_SIGMA_M) ** 2), True),
        (variances(0.0, (1.01 * MAX_SIGMA_M) ** 2), False),
        (variances((1.01 * MAX_SIGMA_M) ** 2, 0.0), False),
        (variances(math.nan, 0.0), False),
        (variances(0.0, math.nan), False),  # this one passed
        (variances(0.0, -1.0), False),
        (variances(0.0, -1e-18), True),
    ],
)
def test_an_estimate_is_sane_or_not(world: WorldModel, change: dict[str, Any], sane: bool) -> None:
    changed = dataclasses.replace(world, robot=dataclasses.replace(world.robot, **change))
    assert _is_sane(changed, MAX_SIGMA_M) is sane


def test_an_estimate_that_has_diverged_stops_the_robot() -> None:
    """With a bound that any estimate is beyond; nothing else is wrong."""
    _, results = play(open_robot("default", {"supervisor.max_sigma_m": 1e-9}), duration_s=1.0)
    assert when(results, Mode.SAFE_STOP)
    assert not when(results, Mode.ACTIVE)
    assert {f.code for r in results for f in r.faults} >= {"estimate_bad"}


def test_a_link_that_is_down_is_named_beside_lost_telemetry(robot: Robot) -> None:
    _, results = play(robot, duration_s=2.5, serial_on=lambda ms: not 900 < ms < 1500)
    assert [f.detail for r in results for f in r.faults if f.code == "link_lost"] == ["began", "ended"]
