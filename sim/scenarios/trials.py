"""Seeded trials: where robot and ball stand, and how this venue, this robot and this camera differ from the drawing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from robot.core.errors import SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import Vec2
from sim.setup import (
    BallConfig,
    BatteryConfig,
    CameraErrors,
    DriveConfig,
    FrameTiming,
    ImuConfig,
    MouthConfig,
    NodConfig,
    SceneConfig,
    SerialTiming,
    Source,
    TrialSetup,
    generator,
)

ROBOT_FROM_LINE_M = 0.1
BALL_FROM_LINE_M = 0.05
APART_M = 0.3
SEED_RADIUS_M = 0.5
"""The rules of stage 3: the seed is within this of the robot's place; the heading is not given."""

STAGES = (1, 3)


def make_trial(stage: int = 1, seed: int = 1, field: FieldGeometry | None = None) -> TrialSetup:
    """Draw one trial.

    Robot and ball stand anywhere inside the field's lines (the robot's centre 0.1 m, the ball's 0.05 m from them),
    at least 0.3 m apart, the robot with any heading. In stage 3 there is no ball: the robot's target is drawn in its
    place, as far from the lines as the robot, and a seed within `SEED_RADIUS_M` of where it stands.

    Args:
        stage: of the challenge.
        seed: everything is drawn from it.
        field: dimensions; Division B by default.

    Raises:
        SimulationError: the stage does not exist, or the field is too small.
    """
    if stage not in STAGES:
        raise SimulationError(f"no stage {stage}", hint=f"one of {', '.join(map(str, STAGES))}")
    field = field or FieldGeometry()
    placement = generator(seed, Source.PLACEMENT)
    robot, ball = draw_placement(placement, field, ROBOT_FROM_LINE_M if stage == 3 else BALL_FROM_LINE_M)
    physics = generator(seed, Source.PHYSICS)
    sensors = generator(seed, Source.SENSORS)
    camera = generator(seed, Source.CAMERA)
    setup = TrialSetup(
        stage=stage,
        seed=seed,
        field=field,
        robot_start=robot,
        ball_start_m=ball,
        mass_factor=_between(physics, 0.95, 1.08),
        drive=DriveConfig(
            stall_torque_nm=_between(physics, 0.25, 0.31),
            no_load_speed_rad_s=_between(physics, 114.0, 126.0),
            grip=_between(physics, 0.6, 0.9),
            roller_drag=_between(physics, 0.02, 0.05),
        ),
        ball=BallConfig(
            sliding_friction=_between(physics, 0.28, 0.42),
            rolling_resistance=_between(physics, 0.026, 0.05),
            restitution=_between(physics, 0.45, 0.6),
        ),
        mouth=MouthConfig(hold_force_n=_between(physics, 0.25, 0.9), beam_latency_ms=int(physics.integers(1, 8))),
        nod=NodConfig(
            angle_per_accel_rad_s2_m=_between(physics, 0.001, 0.004),
            frequency_hz=_between(physics, 5.0, 9.0),
            damping=_between(physics, 0.15, 0.4),
        ),
        imu=ImuConfig(
            gyro_bias_rad_s=_normal(sensors, 0.01),
            gyro_scale_error=_normal(sensors, 0.004),
            accel_bias_m_s2=(_normal(sensors, 0.06), _normal(sensors, 0.06)),
            accel_scale_error=_normal(sensors, 0.01),
        ),
        battery=BatteryConfig(open_circuit_v=_between(physics, 22.0, 25.0)),
        camera=CameraErrors(
            pitch_rad=_normal(camera, math.radians(0.2)),
            roll_rad=_normal(camera, math.radians(0.2)),
            yaw_rad=_normal(camera, math.radians(0.2)),
            height_m=_normal(camera, 0.0015),
            k1=_normal(camera, 0.008),
        ),
        frames=FrameTiming(
            phase_s=_between(camera, 0.0, 0.033),
            latency_s=_between(camera, 0.02, 0.05),
            latency_jitter_s=_between(camera, 0.002, 0.01),
        ),
        serial=SerialTiming(delay_s=_between(sensors, 0.0007, 0.002)),
    )
    if stage == 3:
        return replace(
            setup,
            scene=SceneConfig(ball_in_play=False),
            seed_in_field_m=draw_seed(placement, robot),
            target_in_field_m=ball,
        )
    return setup


def draw_seed(rng: np.random.Generator, robot: Pose2) -> Vec2:
    """Draw what the team is told of the robot's place: anywhere within `SEED_RADIUS_M` of it, field frame."""
    angle, reach = float(rng.uniform(0.0, math.tau)), SEED_RADIUS_M * math.sqrt(float(rng.random()))
    return robot.x_m + reach * math.cos(angle), robot.y_m + reach * math.sin(angle)


def draw_placement(
    rng: np.random.Generator, field: FieldGeometry, ball_from_line_m: float = BALL_FROM_LINE_M
) -> tuple[Pose2, Vec2]:
    """Draw where robot and ball (or the robot's target) are; see `make_trial`.

    Raises:
        SimulationError: the field is too small.
    """
    half_x, half_y = 0.5 * field.length_m, 0.5 * field.width_m
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    x_min, x_max = max(x_min, -half_x), min(x_max, half_x)  # half fields: walls stand inside the lines
    y_min, y_max = max(y_min, -half_y), min(y_max, half_y)
    for _ in range(1000):
        m = ROBOT_FROM_LINE_M
        robot = Pose2(
            _between(rng, x_min + m, x_max - m), _between(rng, y_min + m, y_max - m), _between(rng, -math.pi, math.pi)
        )
        m = ball_from_line_m
        ball = (_between(rng, x_min + m, x_max - m), _between(rng, y_min + m, y_max - m))
        if math.hypot(robot.x_m - ball[0], robot.y_m - ball[1]) >= APART_M:
            return robot, ball
    raise SimulationError("this field has no room for a robot and a ball 0.3 m apart", hint="take a larger field")


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _normal(rng: np.random.Generator, sigma: float) -> float:
    return sigma * float(np.clip(rng.standard_normal(), -2.5, 2.5))
