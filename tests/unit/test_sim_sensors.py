"""Gyro, accelerometer and voltage: each error that the setup names is there, and signs are those of the body."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from sim.sensors.board import SensorBoard
from sim.sensors.imu import Accelerometer, Gyro
from sim.setup import BatteryConfig, ImuConfig, TrialSetup
from sim.world.drive import GRAVITY_M_S2
from sim.world.world import Actuation, World

PERFECT = ImuConfig(
    gyro_bias_rad_s=0.0,
    gyro_bias_walk_rad_s_rt_s=0.0,
    gyro_noise_rad_s=0.0,
    gyro_scale_error=0.0,
    gyro_step_rad_s=1e-9,
    accel_bias_m_s2=(0.0, 0.0),
    accel_bias_walk_m_s2_rt_s=0.0,
    accel_noise_m_s2=0.0,
    accel_scale_error=0.0,
    accel_step_m_s2=1e-9,
    vibration_m_s2_per_rad_s=0.0,
)
SETUP = TrialSetup(
    stage=1, seed=3, field=FieldGeometry(), robot_start=Pose2(), ball_start_m=(3.0, 2.0), imu=PERFECT
)  # fmt: skip


def test_gravity_leaks_in_as_the_body_tilts() -> None:
    """Nose down: the x axis points below the horizon, and the floor holds the body back along it."""
    sensor = Accelerometer(PERFECT, 1)
    g = GRAVITY_M_S2 * math.sin(0.1)
    assert sensor.read(0.0, 0.0, 0.1, 0.0, 0.0, 1e-3) == pytest.approx((-g, 0.0))
    assert sensor.read(0.0, 0.0, 0.0, 0.1, 0.0, 1e-3) == pytest.approx((0.0, g))
    assert sensor.read(2.0, -3.0, 0.0, 0.0, 0.0, 1e-3) == pytest.approx((2.0, -3.0))
    assert sensor.read(90.0, -90.0, 0.0, 0.0, 0.0, 1e-3) == pytest.approx((39.2, -39.2)), "it ends at 4 g"


@pytest.mark.parametrize(("vx", "vy"), [(1.0, 0.0), (0.0, 1.0)])
def test_speeding_up_is_felt_more_strongly_than_it_is(vx: float, vy: float) -> None:
    """The body leans back, as passengers do: gravity adds to the acceleration, along x and along y."""
    world, board = World(SETUP, RobotBody()), SensorBoard(SETUP, 2048)
    rows = [-math.sin(a) * vx + math.cos(a) * vy for a in RobotBody().wheel_angles_rad]
    duty = (0.3 * rows[0], 0.3 * rows[1], 0.3 * rows[2], 0.3 * rows[3])
    felt, true = np.zeros(2), np.zeros(2)
    for _ in range(150):
        world.step(Actuation(wheel_duty=duty))
        sensed = board.read(world)
        felt += (sensed.accel_x_m_s2, sensed.accel_y_m_s2)
        true += world.accel_in_robot_m_s2
    along = int(vy > 0.0)
    assert true[along] > 150 * 1.0
    assert 1.01 < felt[along] / true[along] < 1.1
    pitch, roll = world.tilt_rad
    assert (roll > 0.001) if along else (pitch < -0.001)


def test_scale_errors() -> None:
    assert Gyro(replace(PERFECT, gyro_scale_error=0.01), 1).read(2.0, 1e-3) == pytest.approx(2.02)
    sensor = Accelerometer(replace(PERFECT, accel_scale_error=-0.02), 1)
    assert sensor.read(1.0, -1.0, 0.0, 0.0, 0.0, 1e-3) == pytest.approx((0.98, -0.98))


def test_biases_walk_with_the_root_of_time() -> None:
    gyro_ends, accel_ends = [], []
    for seed in range(150):
        gyro = Gyro(replace(PERFECT, gyro_bias_walk_rad_s_rt_s=0.02), seed)
        accel = Accelerometer(replace(PERFECT, accel_bias_walk_m_s2_rt_s=0.1), seed)
        for _ in range(400):
            turn, force = gyro.read(0.0, 0.01), accel.read(0.0, 0.0, 0.0, 0.0, 0.0, 0.01)
        gyro_ends.append(turn)
        accel_ends.append(force)
    assert np.std(gyro_ends) == pytest.approx(0.02 * 2.0, rel=0.2)
    assert np.std(accel_ends, axis=0) == pytest.approx([0.1 * 2.0] * 2, rel=0.2)


def test_turning_rollers_shake_the_accelerometer() -> None:
    sensor = Accelerometer(replace(PERFECT, accel_noise_m_s2=0.05, vibration_m_s2_per_rad_s=0.01), 1)
    samples = [sensor.read(0.0, 0.0, 0.0, 0.0, 40.0, 1e-3) for _ in range(2000)]
    assert np.std(samples, axis=0) == pytest.approx([0.45, 0.45], rel=0.1)


def test_the_voltage_is_noisy_and_sags_under_load() -> None:
    setup = replace(SETUP, battery=BatteryConfig(open_circuit_v=24.0, resistance_ohm=0.1, noise_v=0.05))
    world, board = World(setup, RobotBody()), SensorBoard(setup, 2048)
    rest = [board.read(world).battery_v for _ in range(1000)]
    assert np.mean(rest) == pytest.approx(24.0, abs=0.01)
    assert np.std(rest) == pytest.approx(0.05, rel=0.15)
    for _ in range(100):
        world.step(Actuation(wheel_duty=(-1.0, -1.0, 1.0, 1.0)))
    current = board.read(world).current_a
    assert current > 2.0
    loaded = [board.read(world).battery_v for _ in range(1000)]
    assert np.mean(loaded) == pytest.approx(24.0 - 0.1 * current, abs=0.1)
    assert np.mean(loaded) < 23.85
