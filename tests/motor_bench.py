"""A small drive train for firmware tests: DC motors, a rigid body that does not slip, encoders, a gyro.

Independent of the C code on purpose: kinematics and dynamics are written again, from `RobotBody`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.firmware.library import ActuatorOutputs, FirmwareLibrary, SensorInputs
from firmware_bridge.protocol.generated import Command, CommandFlag, Hello, SCHEMA_HASH
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from robot.core.body import RobotBody

STALL_NM, NO_LOAD_RAD_S, NOMINAL_V = 0.28, 120.0, 22.2


@dataclass
class MotorBench:
    """State of the robot; `step` moves it by a millisecond under duties and returns what its sensors say."""

    body: RobotBody = field(default_factory=RobotBody)
    battery_v: float = 24.0
    wheel_inertia_kg_m2: float = 5e-5
    friction_nm: float = 0.008
    mass_factor: float = 1.0
    slides: bool = False
    twist: np.ndarray = field(default_factory=lambda: np.zeros(3))
    wheel_rad: np.ndarray = field(default_factory=lambda: np.zeros(4))
    pose: np.ndarray = field(default_factory=lambda: np.zeros(3))
    kicker_v: float = 0.0
    break_beam: bool = False

    def __post_init__(self) -> None:
        angles = np.array(self.body.wheel_angles_rad)
        mount = np.full(4, self.body.wheel_mount_radius_m)
        self.wheels_from_twist = np.stack([-np.sin(angles), np.cos(angles), mount], axis=1) / self.body.wheel_radius_m
        mass = self.body.mass_kg * self.mass_factor
        rigid = np.diag([mass, mass, self.body.yaw_inertia_kg_m2 * self.mass_factor])
        g = self.wheels_from_twist
        self.inertia = rigid + self.wheel_inertia_kg_m2 * g.T @ g
        self.mass_kg = mass

    def step(self, duty: tuple[float, ...], dt_s: float = 1e-3) -> SensorInputs:
        g = self.wheels_from_twist
        for _ in range(4):
            h = dt_s / 4
            speed = g @ self.twist
            torque = STALL_NM * (np.array(duty) * self.battery_v / NOMINAL_V - speed / NO_LOAD_RAD_S)
            torque -= self.friction_nm * np.tanh(speed / 0.5)
            vx, vy, omega = self.twist
            coriolis = self.mass_kg * np.array([omega * vy, -omega * vx, 0.0])
            self.twist = self.twist + np.linalg.solve(self.inertia, g.T @ torque + coriolis) * h
            self.wheel_rad = self.wheel_rad + g @ self.twist * h
            c, s = math.cos(self.pose[2]), math.sin(self.pose[2])
            self.pose = self.pose + np.array([c * vx - s * vy, s * vx + c * vy, omega]) * h
        return self.sensors()

    def sensors(self) -> SensorInputs:
        ticks = np.rint(self.wheel_rad * self.body.encoder_ticks_per_rev / math.tau).astype(int)
        return SensorInputs(
            wheel_ticks=tuple(int(t) for t in ticks),
            gyro_z_rad_s=float(self.twist[2]),
            battery_v=self.battery_v,
            kicker_v=self.kicker_v,
            break_beam=self.break_beam,
        )
