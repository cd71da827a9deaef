"""What the track trials are made of: other robots, pushed balls, lookalikes behind the boards, trials from seeds."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from perception.camera.model import load_camera
from robot.core.body import RobotBody
from robot.core.errors import SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import ObjectClass
from sim.camera.lookalikes import lookalike_geoms
from sim.camera.style import sample_venue_style
from sim.evaluation.tracks import BoxJudge, Thing, TruthAt, TruthLine, share_inside
from sim.scenarios.tracks import KINDS, make_track_trial
from sim.scenarios.trials import make_trial
from sim.setup import BallPush, CameraErrors, SceneConfig, Waypoint
from sim.world.world import Actuation, World, pose_on_path

FIELD, BODY, CAMERA = FieldGeometry(), RobotBody(), load_camera("c922_640x480")
IDLE = Actuation()


def test_robots_glide_along_their_paths() -> None:
    path = (Waypoint(1.0, Pose2(0.0, 0.0, 3.0)), Waypoint(3.0, Pose2(2.0, 1.0, -3.0)))
    assert pose_on_path(path, 0.0) == path[0].pose
    assert pose_on_path(path, 9.0) == path[1].pose
    middle = pose_on_path(path, 2.0)
    assert (middle.x_m, middle.y_m) == pytest.approx((1.0, 0.5))
    assert abs(middle.theta_rad) == pytest.approx(math.pi)  # the short way round


def test_a_pushed_ball_rolls_or_slides_and_bounces_off_another_robot() -> None:
    for rolling, after in ((True, 1.9), (False, 1.4)):
        push = BallPush(t_s=0.1, velocity_m_s=(2.0, 0.0), rolling=rolling, place_m=(-1.0, 0.0))
        scene = SceneConfig(pushes=(push,), others=((Waypoint(0.0, Pose2(0.5, 0.0, math.pi / 2)),),))
        world = World(replace(make_trial(1, 3), robot_start=Pose2(-4, -2, 0), scene=scene), BODY)
        for _ in range(320):
            world.step(IDLE)
        assert world.ball_velocity_m_s[0] == pytest.approx(after, abs=0.15)
        for _ in range(1200):
            world.step(IDLE)
        assert world.ball_velocity_m_s[0] < -0.1  # it came back from the robot
        assert world.others[0] == Pose2(0.5, 0.0, math.pi / 2)


def test_a_trial_without_other_robots_is_as_it_was() -> None:
    """The physics of the challenge's trials does not know of the additions."""
    setup = make_trial(1, 5)
    assert setup.scene == SceneConfig()
    world = World(setup, BODY)
    assert world.model.nmocap == 0
    assert world.others == ()


def test_lookalikes_stand_behind_the_boards() -> None:
    """No part of any of them reaches over the field, whatever the venue; the same venue gives the same ones."""
    x_min, x_max, y_min, y_max = FIELD.wall_bounds_m()
    count = 0
    for seed in range(30):
        style = sample_venue_style(np.random.default_rng(seed))
        geoms = lookalike_geoms(style, 40, FIELD.wall_bounds_m())
        assert geoms == lookalike_geoms(style, 40, FIELD.wall_bounds_m())
        for text in geoms:
            kind = re.search(r'type="(\w+)"', text)
            x, y, _ = map(float, re.search(r'pos="([^"]+)"', text).group(1).split())  # type: ignore[union-attr]
            size = list(map(float, re.search(r'size="([^"]+)"', text).group(1).split()))  # type: ignore[union-attr]
            assert kind is not None
            round_ones = size[:1] if kind.group(1) == "cylinder" else size[:2]
            reach = math.hypot(*size[:2]) if kind.group(1) == "box" else max(round_ones)
            assert x - reach > x_max or x + reach < x_min or y - reach > y_max or y + reach < y_min, text
            count += 1
    assert count > 600


@pytest.mark.parametrize("kind", KINDS)
def test_trials_repeat_and_stand_on_the_field(kind: str) -> None:
    x_min, x_max, y_min, y_max = FIELD.wall_bounds_m()
    for seed in range(1, 30):
        trial = make_track_trial(kind, seed)
        assert trial == make_track_trial(kind, seed)
        places = [(p.pose.x_m, p.pose.y_m) for path in trial.setup.scene.others for p in path]
        places.append((trial.setup.robot_start.x_m, trial.setup.robot_start.y_m))
        if trial.setup.scene.ball_in_play:
            places.append(trial.setup.ball_start_m)
        assert all(x_min < x < x_max and y_min < y < y_max for x, y in places), (kind, seed)
        assert trial.legs
        assert 2.5 < trial.duration_s < 7.0
    with pytest.raises(SimulationError, match="no kind"):
        make_track_trial("flying", 1)


def truth(robot: Pose2, ball_m: tuple[float, float] | None) -> TruthAt:
    return TruthAt(0, robot, ball_m, (0.0, 0.0), (0.0, 0.0), 0.0, ())


def box_at(x: float, y: float, z: float, radius_m: float = 0.0215) -> tuple[float, float, float, float]:
    """The box of a sphere in the robot's frame."""
    u, v = CAMERA.project(np.array([[x, y, z]]))[0]
    half = radius_m * CAMERA.intrinsics.fx / math.hypot(x - CAMERA.mounting.x_m, y, CAMERA.mounting.height_m - z)
    return float(u - half), float(v - half), float(u + half), float(v + half)


def test_the_judge_tells_the_ball_from_the_rest() -> None:
    judge = BoxJudge(CAMERA, CameraErrors(), FIELD)
    robot = Pose2(0.0, 1.8, math.pi / 2)  # 1.5 m from the wall, looking at it
    ball = robot.transform((1.0, 0.1))
    assert judge.judge(box_at(1.0, 0.1, 0.0215), truth(robot, ball)) is Thing.BALL
    assert judge.judge(box_at(1.0, 0.1, 0.0215), truth(robot, None)) is Thing.FIELD
    assert judge.judge(box_at(1.2, -0.3, 0.0215), truth(robot, ball)) is Thing.FIELD
    assert judge.judge(box_at(1.9, 0.1, 0.02), truth(robot, ball)) is Thing.OUTSIDE
    assert judge.judge(box_at(1.6, 0.0, 0.12), truth(robot, ball)) is Thing.OUTSIDE
    assert judge.judge(box_at(1.6, 0.0, 0.5), truth(robot, None)) is Thing.OUTSIDE  # above the horizon


def test_truth_is_interpolated() -> None:
    samples = [replace(truth(Pose2(x, 0.0, 3.1 + 0.1 * x), (x, 0.0)), t_ns=round(1e9 * x)) for x in (0.0, 1.0, 2.0)]
    line = TruthLine(samples)
    assert line.at(1_500_000_000).robot.x_m == pytest.approx(1.5)
    assert line.at(250_000_000).ball_m == pytest.approx((0.25, 0.0))
    assert line.at(-5).robot.x_m == 0.0
    assert line.at(9_000_000_000).robot.x_m == pytest.approx(2.0)
    assert share_inside([1.0, 5.9, 6.1, 50.0]) == 0.5
    assert ObjectClass.BALL == 1
