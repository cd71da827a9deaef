"""The dribbler holds within its force and loses the ball beyond it; the kicker kicks; the beam is late."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from sim.setup import MouthConfig, TrialSetup
from sim.world.world import Actuation, World

BODY = RobotBody()
HOLD_X = BODY.ball_hold_x_m()


def world_with_ball(x_m: float = HOLD_X, y_m: float = 0.0, **mouth: float) -> World:
    setup = TrialSetup(
        stage=1, seed=2, field=FieldGeometry(), robot_start=Pose2(), ball_start_m=(x_m, y_m),
        mouth=replace(MouthConfig(), **mouth),
    )  # fmt: skip
    return World(setup, BODY)


def backwards(world: World, speed_m_s: float, accel_m_s2: float, dribbler: float) -> float:
    """Drive backwards along a ramp; return how far the ball is from the mouth at the end."""
    for _ in range(200):  # the bar spins up
        world.step(Actuation(dribbler_duty=dribbler))
    for k in range(1200):
        speed = -min(speed_m_s, accel_m_s2 * k * 1e-3)
        rim = [-math.sin(a) * speed / BODY.wheel_radius_m for a in BODY.wheel_angles_rad]
        duty = [w / (120.0 * 24.0 / 22.2) for w in rim]
        world.step(Actuation(wheel_duty=(duty[0], duty[1], duty[2], duty[3]), dribbler_duty=dribbler))
    return world.ball_gap_m()


def test_dribbler_keeps_the_ball_while_backing_and_without_it_the_ball_stays_behind() -> None:
    assert backwards(world_with_ball(hold_force_n=0.6), 0.5, 1.0, 0.5) < 0.002
    assert backwards(world_with_ball(hold_force_n=0.6), 0.5, 1.0, 0.0) > 0.1


def test_a_weak_dribbler_loses_the_ball() -> None:
    assert backwards(world_with_ball(hold_force_n=0.15), 2.0, 10.0, 0.5) > 0.1


def test_dribbler_centres_a_ball_at_the_side_of_the_mouth_but_not_one_beside_it() -> None:
    inside, outside = world_with_ball(y_m=0.03), world_with_ball(y_m=0.045)
    for world in (inside, outside):
        for _ in range(800):
            world.step(Actuation(dribbler_duty=0.5))
    assert abs(inside.ball_in_robot_m[1]) < 0.01
    assert outside.ball_in_robot_m[1] == pytest.approx(0.045, abs=0.003)


def test_kick_gives_the_asked_speed_within_its_noise_and_needs_a_ball() -> None:
    world = world_with_ball()
    world.step(Actuation(kick_speed_m_s=4.0))
    vx, vy, vz = world.ball_velocity_m_s
    assert math.hypot(vx, vy) == pytest.approx(4.0, rel=0.12)
    assert abs(math.atan2(vy, vx)) < 0.1
    assert abs(vz) < 0.05
    far = world_with_ball(x_m=0.3)
    far.step(Actuation(kick_speed_m_s=4.0))
    assert far.ball_velocity_m_s[0] == 0.0


def test_the_bar_holds_the_harder_the_faster_it_turns() -> None:
    mouth = world_with_ball(hold_force_n=0.6).mouth
    held = []
    for bar_rad_s in (0.0, 150.0, 300.0, 900.0):
        mouth.bar_rad_s = bar_rad_s
        held.append(math.hypot(*mouth.pull(HOLD_X, 0.0, 0.0215, 5.0, 0.0)))
    assert held == pytest.approx([0.0, 0.3, 0.6, 0.6])


def test_kicks_scatter_as_the_setup_says() -> None:
    mouth, rng = world_with_ball().mouth, np.random.default_rng(1)
    shots = [mouth.kick(4.0, HOLD_X, 0.0, 0.0215, rng) for _ in range(2000)]
    speeds, angles = np.array([shot for shot in shots if shot is not None]).T
    assert len(speeds) == 2000
    assert (speeds.mean(), angles.mean()) == pytest.approx((4.0, 0.0), abs=0.01)
    assert speeds.std() == pytest.approx(0.03 * 4.0, rel=0.1)
    assert angles.std() == pytest.approx(0.026, rel=0.1)


def test_kick_leaves_the_sideways_speed_as_it_was() -> None:
    world = world_with_ball(kick_angle_error_rad=0.0)
    world.data.qvel[4] = 0.4
    world._read()
    world.step(Actuation(kick_speed_m_s=2.0))
    assert world.ball_velocity_m_s[1] == pytest.approx(0.4, abs=0.02)


def test_what_the_dribbler_gives_the_ball_it_takes_from_the_robot() -> None:
    """On a floor without grip both together keep their momentum and their angular momentum: none."""
    setup = world_with_ball(y_m=0.03).setup
    setup = replace(
        setup,
        drive=replace(setup.drive, grip=0.0, roller_drag=0.0),
        ball=replace(setup.ball, sliding_friction=0.0, rolling_resistance=0.0),
    )
    world = World(setup, BODY)
    mass, ball_mass, inertia = BODY.mass_kg, setup.ball.mass_kg, 0.4 * setup.ball.mass_kg * setup.ball.radius_m**2
    turned = 0.0
    for _ in range(400):
        world.step(Actuation(dribbler_duty=0.5))
        x, y, _, bx, by, _ = world._q[:6]
        vx, vy, omega, bvx, bvy, _ = world._v[:6]
        turned = max(turned, abs(omega))
        assert mass * vx + ball_mass * bvx == pytest.approx(0.0, abs=1e-5)
        assert mass * vy + ball_mass * bvy == pytest.approx(0.0, abs=1e-5)
        angular = mass * (x * vy - y * vx) + BODY.yaw_inertia_kg_m2 * omega
        angular += ball_mass * (bx * bvy - by * bvx) + inertia * world._spin_in_field()[2]
        assert angular == pytest.approx(0.0, abs=2e-5)
    assert turned > 0.02


def test_a_ball_that_turns_with_the_robot_is_not_damped() -> None:
    setup = world_with_ball(HOLD_X + 0.005, 0.03, hold_stiffness_n_m=0.0).setup
    ball = replace(setup.ball, sliding_friction=0.0, rolling_resistance=0.0)
    world = World(replace(setup, ball=ball, drive=replace(setup.drive, grip=0.0, roller_drag=0.0)), BODY)
    world.mouth.bar_rad_s = 500.0
    world.data.qvel[2:5] = (5.0, -5.0 * 0.03, 5.0 * (HOLD_X + 0.005))
    world._read()
    before = world.ball_velocity_m_s
    world.step(Actuation(dribbler_duty=0.5))
    assert world.ball_velocity_m_s[:2] == pytest.approx(before[:2], abs=1e-6)


def test_chip_leaves_the_floor() -> None:
    world = world_with_ball()
    world.step(Actuation(kick_speed_m_s=4.0, chip=True))
    highest, flying = 0.0, []
    for _ in range(400):
        world.step(Actuation())
        highest = max(highest, world.ball_m[2])
        if world.ball_m[2] > 0.05:
            flying.append(world.ball_velocity_m_s[0])
    assert highest > 0.15
    assert max(flying) - min(flying) < 1e-9, "no carpet in the air"


def test_break_beam_is_late_by_its_latency() -> None:
    world = world_with_ball(beam_latency_ms=5)
    seen = []
    for _ in range(10):
        world.step(Actuation())
        seen.append(world.break_beam)
    assert seen == [False] * 5 + [True] * 5
    assert not any(seen_far(world_with_ball(x_m=0.14)))


def seen_far(world: World) -> list[bool]:
    out = []
    for _ in range(10):
        world.step(Actuation())
        out.append(world.break_beam)
    return out


def test_capacitor_charges_in_its_time_and_a_kick_empties_it() -> None:
    world = world_with_ball(charge_time_s=0.5)
    for _ in range(510):
        world.step(Actuation(charge=True))
    full = world.mouth.kicker_v
    assert full == pytest.approx(181.0, abs=1.0)
    world.step(Actuation(kick_speed_m_s=6.5))
    assert world.mouth.kicker_v < 0.5 * full


def test_touching_is_told_apart_by_place_and_height() -> None:
    def told(x_m: float, y_m: float, z_m: float = 0.0) -> tuple[bool, bool, bool]:
        world = world_with_ball(x_m, y_m)
        world.data.qpos[5] += z_m
        world._read()
        world.step(Actuation())
        return world.ball_touched, world.bar_touched, world.ball_at_bar

    assert told(HOLD_X + 0.0005, 0.0) == (True, True, True)
    assert told(HOLD_X + 0.004, 0.0) == (False, False, True)
    assert told(HOLD_X + 0.0005, 0.5 * BODY.mouth_width_m + 0.004) == (True, False, False), "the front beside the mouth"
    assert told(-BODY.radius_m - 0.022, 0.0) == (True, False, False), "the back"
    assert told(HOLD_X, 0.0, 0.3) == (False, False, False), "above the robot"
