"""The ball slides, rolls and bounces with the figures of docs/simulator.md."""

from __future__ import annotations

import math

import pytest

from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from sim.setup import TrialSetup
from sim.world.world import Actuation, World

SETUP = TrialSetup(stage=1, seed=1, field=FieldGeometry(), robot_start=Pose2(-4.0, -2.5, 0.0), ball_start_m=(-3.5, 0.0))
IDLE = Actuation()


def roll(world: World, speed_m_s: float, *, rolling: bool = False) -> None:
    world.data.qvel[3:9] = 0.0
    world.data.qvel[3] = speed_m_s
    if rolling:
        world.data.qvel[7] = speed_m_s / SETUP.ball.radius_m
    world._read()


@pytest.mark.parametrize("speed_m_s", [2.0, 6.0])
def test_ball_slides_then_rolls_like_er_force_measured(speed_m_s: float) -> None:
    world = World(SETUP, RobotBody())
    roll(world, speed_m_s)
    speeds, switch = [], None
    for k in range(1000):
        world.step(IDLE)
        vx = world.ball_velocity_m_s[0]
        speeds.append(vx)
        slip = vx - SETUP.ball.radius_m * world._spin_in_field()[1]
        if switch is None and abs(slip) < 1e-4:
            switch = k
        assert abs(world.ball_m[2] - SETUP.ball.radius_m) < 3e-4  # it must not hop
    assert switch is not None
    assert speeds[switch] / speed_m_s == pytest.approx(0.69, abs=0.01)
    assert (speeds[switch - 20] - speeds[0]) / ((switch - 20) * 1e-3) == pytest.approx(-3.8, abs=0.1)
    assert (speeds[switch + 220] - speeds[switch + 20]) / 0.2 == pytest.approx(-0.343, abs=0.01)


@pytest.mark.parametrize("speed_m_s", [0.8, 3.0])
def test_ball_bounces_off_the_wall_with_its_restitution(speed_m_s: float) -> None:
    world = World(SETUP, RobotBody())
    wall = SETUP.field.wall_bounds_m()[1]
    world.data.qpos[3:5] = (wall - 0.1, 2.0)
    roll(world, speed_m_s, rolling=True)
    before, after, deepest = speed_m_s, 0.0, 0.0
    for _ in range(300):
        world.step(IDLE)
        x, vx = world.ball_m[0], world.ball_velocity_m_s[0]
        if vx > 0.0 and x < wall - SETUP.ball.radius_m - 0.005:
            before = vx
        after, deepest = min(after, vx), max(deepest, x)
    assert -after / before == pytest.approx(SETUP.ball.restitution, abs=0.05)
    assert deepest + SETUP.ball.radius_m - wall < 0.01


def test_ball_comes_to_rest_and_stays() -> None:
    world = World(SETUP, RobotBody())
    roll(world, 0.3, rolling=True)
    for _ in range(1500):
        world.step(IDLE)
    place = world.ball_m
    assert math.hypot(*world.ball_velocity_m_s) < 1e-6
    for _ in range(200):
        world.step(IDLE)
    assert world.ball_m[:2] == place[:2]


def test_a_spinning_top_slows_down_and_does_not_roll_away() -> None:
    world = World(SETUP, RobotBody())
    roll(world, 0.0)
    world.data.qvel[8] = 10.0
    world._read()
    spins = []
    for _ in range(1000):
        world.step(IDLE)
        spins.append(world._spin_in_field()[2])
    assert spins[-1] == pytest.approx(5.0, abs=0.1)
    assert math.hypot(world.ball_m[0] + 3.5, world.ball_m[1]) < 1e-6
