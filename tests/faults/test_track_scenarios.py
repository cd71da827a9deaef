"""Scenarios of `scenarios/tracks.toml`: sightings, a mutation, an expected track. What and why is said there."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from perception.estimation.config import BALL_TRACK, EstimationConfig
from perception.estimation.ego.odometry import wheel_matrix
from perception.estimation.estimator import Estimator
from robot.core.geometry import Pose2, Twist2, exponential_map
from robot.core.messages import ObjectClass, Vec2, Verdict
from tests.estimation_world import BODY, CAMERA, FIELD, frame, sighting, telemetry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = Path(__file__).parent / "scenarios" / "tracks.toml"
SCENARIOS: list[dict[str, Any]] = tomllib.loads(DATA.read_text(encoding="utf-8"))["scenario"]
TELEMETRY_MS = 5
WHEELS = wheel_matrix(BODY)


def ball_at(scenario: dict[str, Any], index: int, period_s: float) -> Vec2:
    """Where the ball truly is at a frame, in the robot's first frame: at rest, then sliding to a roll."""
    x, y = scenario["ball"]
    t = (index - scenario.get("moves_at", 0)) * period_s
    vx, vy = scenario.get("velocity", (0.0, 0.0))
    speed = math.hypot(vx, vy)
    if t <= 0.0 or speed == 0.0:
        return x, y
    way = 0.0
    if scenario.get("kick"):
        slide = BALL_TRACK.slide_deceleration_m_s2
        slides_s = min(t, 2.0 / 7.0 * speed / slide)
        way, speed, t = slides_s * speed - 0.5 * slide * slides_s**2, speed - slide * slides_s, t - slides_s
    roll = BALL_TRACK.deceleration_m_s2
    rolls_s = min(t, speed / roll)
    way += rolls_s * speed - 0.5 * roll * rolls_s**2
    return x + way * vx / math.hypot(vx, vy), y + way * vy / math.hypot(vx, vy)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[s["name"] for s in SCENARIOS])
def test_scenario(scenario: dict[str, Any]) -> None:
    estimator = Estimator(EstimationConfig(), BODY, FIELD, CAMERA)
    expect, changes = scenario["expect"], scenario.get("change", [])
    period_ns = int(scenario.get("period_ms", 33)) * 1_000_000
    twist = Twist2(*scenario.get("twist", (0.0, 0.0, 0.0)))
    pose, t_ns, ids, quiet_from = Pose2(), 0, set(), 3
    estimator.on_telemetry(telemetry(0, 0))
    verdicts: tuple[Verdict, ...] = ()
    for index in range(scenario["frames"]):
        end_ns = t_ns + period_ns
        while t_ns < end_ns:
            t_ns = min(t_ns + TELEMETRY_MS * 1_000_000, end_ns)
            rims = tuple((WHEELS @ [twist.vx_m_s, twist.vy_m_s, twist.omega_rad_s] / 0.027).tolist())
            estimator.on_telemetry(
                telemetry(0, t_ns, wheel_speed_rad_s=rims, gyro_z_rad_s=twist.omega_rad_s, odometry_twist=twist)
            )
        pose = pose @ exponential_map(twist, period_ns * 1e-9)
        true = pose.inverse().transform(ball_at(scenario, index, period_ns * 1e-9))
        active = [c for c in changes if c["frames"][0] <= index <= c["frames"][1] and index % c.get("every", 1) == 0]
        seen = [] if any(c.get("lose") for c in active) else [sighting(t_ns, true)]
        extra = [box for c in active for box in c.get("boxes", [])]
        seen += [sighting(t_ns, (x, y), object_class=ObjectClass.BALL, score=score) for x, y, score in extra]
        verdicts = estimator.on_observations(frame(index, t_ns), tuple(seen))
        disturbed = any("every" not in c for c in active) or index == scenario.get("moves_at")
        if expect.get("but_for_frames") and disturbed:
            quiet_from = index + expect["but_for_frames"]
        ball = estimator.world_model(t_ns).ball
        if index < 3:
            continue
        assert ball.valid, index
        ids.add(ball.track_id)
        if index >= quiet_from:
            assert math.dist(ball.ball_in_robot_m, true) <= expect["error_m"], (index, ball.ball_in_robot_m, true)
    assert not expect.get("same_track") or len(ids) == 1
    if expect.get("seen_at_end"):
        assert verdicts[0] is Verdict.OK
        assert estimator.world_model(t_ns).ball.visible
