"""Everything that makes one trial what it is, as numbers: placement, physics, sensors, camera, timing, looks.

A setup is frozen and small: it travels to workers, into recordings and into hashes. Randomness is spent when it is
drawn (`sim.scenarios`); inside a trial every sensor has its own generator, derived from the seed and its name.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from robot.core.errors import ConfigError
from robot.core.field import BALL_MASS_KG, BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import Vec2


class Source(IntEnum):
    """What draws random numbers; each has a generator of its own, so that one more draw here moves nothing there."""

    PLACEMENT = 0
    VENUE = 1
    PHYSICS = 2
    SENSORS = 3
    CAMERA = 4
    GYRO = 10
    ACCELEROMETER = 11
    BATTERY = 12
    KICKER = 14
    SERIAL = 15
    FRAME_TIMING = 16
    PICTURE = 17
    WANDER = 18


def seed_sequence(seed: int, *key: int) -> np.random.SeedSequence:
    """Return NumPy's seed of this number, or of one of its children.

    Raises:
        ConfigError: it is negative.
    """
    if seed < 0:
        raise ConfigError(f"a seed is 0 or more, not {seed}", hint="--seed 1")
    return np.random.SeedSequence(entropy=seed, spawn_key=key)


def generator(seed: int, source: Source) -> np.random.Generator:
    """Return the generator of one source in the trial with that seed.

    Raises:
        ConfigError: the seed is negative.
    """
    return np.random.default_rng(seed_sequence(seed, int(source)))


@dataclass(frozen=True, kw_only=True, slots=True)
class DriveConfig:
    """Motors, wheels and their grip. Torque and speed are at the wheel, behind the gear."""

    stall_torque_nm: float = 0.28
    no_load_speed_rad_s: float = 120.0
    nominal_v: float = 22.2
    wheel_inertia_kg_m2: float = 2.5e-5
    drag_torque_nm: float = 0.004
    grip: float = 0.75
    roller_drag: float = 0.03
    slip_stiffness_n_s_m: float = 250.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BallConfig:
    """Golf ball on carpet. Sliding, then rolling (ER-Force's figures); bounces off boards and robots."""

    mass_kg: float = BALL_MASS_KG
    radius_m: float = BALL_RADIUS_M
    sliding_friction: float = 0.35
    rolling_resistance: float = 0.035
    restitution: float = 0.55
    body_friction: float = 0.22


@dataclass(frozen=True, kw_only=True, slots=True)
class MouthConfig:
    """Dribbler, kicker and break-beam. The dribbler pulls with a bounded spring-damper: it can lose the ball."""

    hold_force_n: float = 0.6
    hold_stiffness_n_m: float = 250.0
    hold_damping_n_s_m: float = 6.0
    bar_no_load_rad_s: float = 1000.0
    bar_time_constant_s: float = 0.06
    bar_full_grip_rad_s: float = 300.0
    kick_speed_error: float = 0.03
    kick_angle_error_rad: float = 0.026
    charge_time_s: float = 1.5
    beam_x_m: float = 0.084
    beam_latency_ms: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class NodConfig:
    """The body's pitch and roll on its wheels: a damped spring pushed by acceleration."""

    angle_per_accel_rad_s2_m: float = 0.0025
    frequency_hz: float = 7.0
    damping: float = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class ImuConfig:
    """Gyro and accelerometer errors; the resolution is the converter's step."""

    gyro_bias_rad_s: float = 0.01
    gyro_bias_walk_rad_s_rt_s: float = 0.0005
    gyro_noise_rad_s: float = 0.004
    gyro_scale_error: float = 0.005
    gyro_step_rad_s: float = 0.00106
    accel_bias_m_s2: Vec2 = (0.05, -0.05)
    accel_bias_walk_m_s2_rt_s: float = 0.001
    accel_noise_m_s2: float = 0.06
    accel_scale_error: float = 0.01
    accel_step_m_s2: float = 0.0012
    vibration_m_s2_per_rad_s: float = 0.006


@dataclass(frozen=True, kw_only=True, slots=True)
class BatteryConfig:
    """Open-circuit voltage, inner resistance, and what all motors draw at stall together."""

    open_circuit_v: float = 24.0
    resistance_ohm: float = 0.08
    motor_stall_a: float = 12.0
    noise_v: float = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraErrors:
    """How the real camera differs from its calibration: a knock, a loose screw, a lens that nobody measured (`k1`)."""

    pitch_rad: float = 0.0
    roll_rad: float = 0.0
    yaw_rad: float = 0.0
    height_m: float = 0.0
    k1: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTiming:
    """When frames are taken and when they arrive. Latency counts from the end of readout."""

    rate_hz: float = 30.0
    phase_s: float = 0.004
    latency_s: float = 0.035
    latency_jitter_s: float = 0.008
    drop_probability: float = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class SerialTiming:
    """The UART and its USB adapter, each way."""

    delay_s: float = 0.001
    jitter_s: float = 0.0005


@dataclass(frozen=True, kw_only=True, slots=True)
class RefereeTiming:
    """When the referee speaks, seconds of simulated time from the start."""

    stop_s: float = 0.2
    start_s: float = 1.0
    tail_s: float = 0.3


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Where another robot stands at a time of the trial, field frame; between waypoints it glides."""

    t_s: float
    pose: Pose2


@dataclass(frozen=True, kw_only=True, slots=True)
class BallPush:
    """At a time of the trial the ball gets a velocity (field frame): rolling from the first moment, or kicked.

    A kicked ball starts without spin and slides; `place_m` puts it somewhere first.
    """

    t_s: float
    velocity_m_s: Vec2
    rolling: bool = False
    place_m: Vec2 | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneConfig:
    """What else is there: other robots on their paths, pushes to the ball, lookalikes outside the field."""

    others: tuple[tuple[Waypoint, ...], ...] = ()
    pushes: tuple[BallPush, ...] = ()
    ball_in_play: bool = True
    """False: no ball on the field at all."""

    lookalikes: int = 0
    """So many red and orange things, shoes, lights and balls behind the boards (`sim.camera.lookalikes`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSetup:
    """One trial. `robot_start` and `ball_start_m` are in the field frame.

    Stage 3: the team may type in a place near the robot's (`seed_in_field_m`) and where to drive (`target_in_field_m`).
    """

    stage: int
    seed: int
    field: FieldGeometry
    robot_start: Pose2
    ball_start_m: Vec2
    mass_factor: float = 1.0
    drive: DriveConfig = dataclasses.field(default_factory=DriveConfig)
    ball: BallConfig = dataclasses.field(default_factory=BallConfig)
    mouth: MouthConfig = dataclasses.field(default_factory=MouthConfig)
    nod: NodConfig = dataclasses.field(default_factory=NodConfig)
    imu: ImuConfig = dataclasses.field(default_factory=ImuConfig)
    battery: BatteryConfig = dataclasses.field(default_factory=BatteryConfig)
    camera: CameraErrors = dataclasses.field(default_factory=CameraErrors)
    frames: FrameTiming = dataclasses.field(default_factory=FrameTiming)
    serial: SerialTiming = dataclasses.field(default_factory=SerialTiming)
    referee: RefereeTiming = dataclasses.field(default_factory=RefereeTiming)
    scene: SceneConfig = dataclasses.field(default_factory=SceneConfig)
    seed_in_field_m: Vec2 | None = None
    target_in_field_m: Vec2 | None = None
