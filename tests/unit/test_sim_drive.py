"""Wheels follow their motors, slip when they must, and the sensors tell it with their errors and no more."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from sim.sensors.board import SensorBoard
from sim.setup import DriveConfig, ImuConfig, TrialSetup
from sim.world.drive import GRAVITY_M_S2, Drive
from sim.world.world import Actuation, World

BODY = RobotBody()
SETUP = TrialSetup(stage=1, seed=3, field=FieldGeometry(), robot_start=Pose2(), ball_start_m=(3.0, 2.0))


def duty_for(vx: float, vy: float, omega: float) -> tuple[float, float, float, float]:
    """Duty of each wheel at which the free motor turns as this twist needs."""
    free = SETUP.drive.no_load_speed_rad_s * SETUP.battery.open_circuit_v / SETUP.drive.nominal_v
    rim = [-math.sin(a) * vx + math.cos(a) * vy + BODY.wheel_mount_radius_m * omega for a in BODY.wheel_angles_rad]
    d = [v / BODY.wheel_radius_m / free for v in rim]
    return d[0], d[1], d[2], d[3]


def settled(setup: TrialSetup, twist: tuple[float, float, float]) -> np.ndarray:
    """Start at the twist (the slowest time constant is half a second) and see where one second of its duty leads."""
    world = World(setup, BODY)
    world.data.qvel[:3] = twist
    world._read()
    for _ in range(1000):
        world.step(Actuation(wheel_duty=duty_for(*twist)))
    got = world.twist_in_robot
    return np.array([got.vx_m_s, got.vy_m_s, got.omega_rad_s])


@pytest.mark.parametrize("twist", [(1.0, 0.0, 0.0), (0.0, 0.8, 0.0), (0.0, 0.0, 4.0), (-0.5, 0.4, 0.0)])
def test_robot_settles_at_the_speed_of_its_duty_less_friction(twist: tuple[float, float, float]) -> None:
    ideal = replace(SETUP, drive=DriveConfig(drag_torque_nm=0.0, roller_drag=0.0))
    assert settled(ideal, twist) == pytest.approx(np.array(twist), abs=0.02)
    real = settled(SETUP, twist)
    share = float(real @ np.array(twist)) / float(np.dot(twist, twist))
    assert 0.5 < share < 0.97  # drag and rollers cost speed: closing the loop is the firmware's task


def test_full_duty_slips_and_accelerates_no_faster_than_the_grip() -> None:
    world = World(SETUP, BODY)
    slipped = False
    for _ in range(200):
        world.step(Actuation(wheel_duty=duty_for(4.0, 0.0, 0.0)))
        slipped = slipped or world.drive.slipping
    # Forward force of four wheels at their grip: their rims' share along x.
    share = sum(abs(math.sin(a)) for a in BODY.wheel_angles_rad) / 4.0
    limit = SETUP.drive.grip * 9.81 * share
    assert slipped
    assert 0.7 * limit < world.twist_in_robot.vx_m_s / 0.2 < 1.02 * limit
    gentle = World(replace(SETUP, drive=replace(SETUP.drive, grip=2.0)), BODY)
    for _ in range(200):
        gentle.step(Actuation(wheel_duty=duty_for(1.0, 0.0, 0.0)))
        assert not gentle.drive.slipping


def test_rollers_drag_along_the_axles() -> None:
    """Wheels that turn as the ground passes below them push nothing; what is left is their rollers' drag."""
    config = DriveConfig(stall_torque_nm=1e-9, drag_torque_nm=0.0, roller_drag=0.04)
    for vx, vy in ((1.0, 0.0), (0.0, -1.0)):
        drive = Drive(config, SETUP.battery, BODY, BODY.mass_kg)
        drive.speed_rad_s = [
            (-math.sin(a) * vx + math.cos(a) * vy) / BODY.wheel_radius_m for a in BODY.wheel_angles_rad
        ]
        fx, fy, torque = drive.step((0.0, 0.0, 0.0, 0.0), vx, vy, 0.0, 1e-3)
        each = 0.04 * BODY.mass_kg * GRAVITY_M_S2 / 4.0
        along = [abs(math.cos(a) if vx else math.sin(a)) for a in BODY.wheel_angles_rad]
        assert (fx, fy) == pytest.approx((-each * sum(along) * vx, -each * sum(along) * vy), abs=1e-6)
        assert torque == pytest.approx(0.0, abs=1e-6)


def test_zero_duty_brakes() -> None:
    world = World(SETUP, BODY)
    world.data.qvel[0] = 1.0
    world._read()
    for _ in range(1000):
        world.step(Actuation())
    assert world.twist_in_robot.speed_m_s() < 0.01


def test_encoders_and_gyro_agree_with_the_motion() -> None:
    perfect = ImuConfig(
        gyro_bias_rad_s=0.0, gyro_bias_walk_rad_s_rt_s=0.0, gyro_noise_rad_s=0.0, gyro_scale_error=0.0,
        accel_bias_m_s2=(0.0, 0.0), accel_noise_m_s2=0.0, accel_scale_error=0.0, vibration_m_s2_per_rad_s=0.0,
        accel_bias_walk_m_s2_rt_s=0.0,
    )  # fmt: skip
    setup = replace(SETUP, imu=perfect, drive=DriveConfig(grip=3.0, roller_drag=0.0))
    world, board = World(setup, BODY), SensorBoard(setup, BODY.encoder_ticks_per_rev)
    turned = along = 0.0
    for k in range(600):
        world.step(Actuation(wheel_duty=duty_for(0.6 * min(1.0, k / 200), 0.0, 2.0 * min(1.0, k / 200))))
        sensed = board.read(world)
        turned += sensed.gyro_z_rad_s * 1e-3
        along += sensed.accel_x_m_s2 * 1e-3
    assert turned == pytest.approx(world.robot_pose.theta_rad, abs=2e-3)
    rim = [t / BODY.encoder_ticks_per_rev * math.tau * BODY.wheel_radius_m for t in sensed.wheel_ticks]
    rows = [(-math.sin(a), math.cos(a), BODY.wheel_mount_radius_m) for a in BODY.wheel_angles_rad]
    assert (np.linalg.pinv(rows) @ rim)[2] == pytest.approx(world.robot_pose.theta_rad, rel=0.02)
    twist = world.twist_in_robot
    # Specific force in a turning frame: its integral is not the speed, but without turning it would be; bound it.
    assert abs(along - twist.vx_m_s) < 0.2
    assert all(isinstance(t, int) for t in sensed.wheel_ticks)


def test_imu_errors_are_what_the_setup_says() -> None:
    setup = replace(SETUP, imu=ImuConfig(gyro_bias_rad_s=0.02, accel_bias_m_s2=(0.1, -0.2)))
    world, board = World(setup, BODY), SensorBoard(setup, BODY.encoder_ticks_per_rev)
    samples = []
    for _ in range(2000):
        sensed = board.read(world)
        samples.append((sensed.gyro_z_rad_s, sensed.accel_x_m_s2, sensed.accel_y_m_s2))
    mean, sigma = np.mean(samples, axis=0), np.std(samples, axis=0)
    assert mean == pytest.approx([0.02, 0.1, -0.2], abs=0.01)
    assert sigma[0] == pytest.approx(setup.imu.gyro_noise_rad_s, rel=0.2)
    assert sigma[1] == pytest.approx(setup.imu.accel_noise_m_s2, rel=0.2)
    steps = np.array([s[0] for s in samples]) / setup.imu.gyro_step_rad_s
    assert np.allclose(steps, np.round(steps), atol=1e-6)


def test_accelerating_lifts_the_nose() -> None:
    world = World(SETUP, BODY)
    lowest = 0.0
    for _ in range(120):
        world.step(Actuation(wheel_duty=duty_for(1.5, 0.0, 0.0)))
        lowest = min(lowest, world.tilt_rad[0])
    assert -0.05 < lowest < -0.003
