"""A bench for the firmware: a small drive train, and a link with a virtual clock around it.

The drive train is independent of the C code on purpose: kinematics and dynamics are written again, from `RobotBody`.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.emulation.qemu import QEMU, QEMU_APT_LINE
from firmware_bridge.firmware.build import ARM_APT_LINE
from firmware_bridge.firmware.library import ActuatorOutputs, FirmwareLibrary, SensorInputs
from firmware_bridge.firmware.target import Firmware
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.link.goal import MotionGoal
from firmware_bridge.link.link import Link
from firmware_bridge.protocol.generated import (
    SCHEMA_HASH,
    AnyMessage,
    Command,
    CommandFlag,
    Health,
    HealthRequest,
    Hello,
    Parameter,
    ParamSet,
    Telemetry,
)
from robot.core.body import RobotBody
from robot.core.geometry import Twist2
from robot.core.messages import MotionCommand, TelemetryFrame

STALL_NM, NO_LOAD_RAD_S, NOMINAL_V = 0.28, 120.0, 22.2
STAND_STILL = (0.0, 0.0, 0.0, 0.0)
MS = 1_000_000


def need_gcc() -> None:
    """Skip, saying why, where the firmware cannot be built."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: sudo apt-get install gcc libc6-dev")


TARGETS = ("library", "pty", "unicorn", "qemu")
"""Lanes that need no hardware; test_firmware_board.py plays the same on a board."""


def need_target(name: str) -> None:
    """Skip, saying why, where that target cannot run."""
    need_gcc()
    if name in ("unicorn", "qemu") and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip(f"arm-none-eabi-gcc is not installed: {ARM_APT_LINE}")
    if name == "unicorn" and importlib.util.find_spec("unicorn") is None:
        pytest.skip("unicorn is not installed: pip install unicorn")
    if name == "qemu" and shutil.which(QEMU) is None:
        pytest.skip(f"{QEMU} is not installed: {QEMU_APT_LINE}")


def motion(vx: float = 0.0, vy: float = 0.0, omega: float = 0.0, **more: object) -> MotionCommand:
    """A command that moves (or, without speeds, stands armed)."""
    values: dict[str, object] = {"stop": False, "twist_in_robot": Twist2(vx, vy, omega), **more}
    return MotionCommand(seq=0, t_capture_ns=0, t_receive_ns=0, valid=True, **values)  # type: ignore[arg-type]


@dataclass
class MotorBench:
    """A robot on perfect grip; `step` moves it under duties and returns what its sensors say."""

    body: RobotBody = field(default_factory=RobotBody)
    battery_v: float = 24.0
    wheel_inertia_kg_m2: float = 5e-5
    friction_nm: float = 0.008
    mass_factor: float = 1.0
    gyro_bias_rad_s: float = 0.0
    current_a: float = 0.0
    kicker_v: float = 0.0
    break_beam: bool = False
    twist: np.ndarray = field(default_factory=lambda: np.zeros(3))
    pose: np.ndarray = field(default_factory=lambda: np.zeros(3))
    wheel_rad: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def __post_init__(self) -> None:
        angles = np.array(self.body.wheel_angles_rad)
        mount = np.full(4, self.body.wheel_mount_radius_m)
        self.wheels_from_twist = np.stack([-np.sin(angles), np.cos(angles), mount], axis=1) / self.body.wheel_radius_m
        self.mass_kg = self.body.mass_kg * self.mass_factor
        rigid = np.diag([self.mass_kg, self.mass_kg, self.body.yaw_inertia_kg_m2 * self.mass_factor])
        wheels = self.wheel_inertia_kg_m2 * self.wheels_from_twist.T @ self.wheels_from_twist
        self.mobility = np.linalg.inv(rigid + wheels)

    def step(self, duty: tuple[float, ...], dt_s: float = 1e-3) -> SensorInputs:
        g, h = self.wheels_from_twist, dt_s / 2
        drive = np.array(duty) * (STALL_NM * self.battery_v / NOMINAL_V)
        for _ in range(2):
            speed = g @ self.twist
            torque = drive - speed * (STALL_NM / NO_LOAD_RAD_S) - self.friction_nm * np.tanh(speed / 0.5)
            vx, vy, omega = self.twist.tolist()
            turning = np.array((self.mass_kg * omega * vy, -self.mass_kg * omega * vx, 0.0))
            self.twist = self.twist + self.mobility @ (g.T @ torque + turning) * h
            self.wheel_rad = self.wheel_rad + g @ self.twist * h
            c, s = math.cos(self.pose[2]), math.sin(self.pose[2])
            self.pose = self.pose + np.array((c * vx - s * vy, s * vx + c * vy, omega)) * h
        return self.sensors()

    def sensors(self) -> SensorInputs:
        ticks = np.rint(self.wheel_rad * self.body.encoder_ticks_per_rev / math.tau).astype(int)
        return SensorInputs(
            wheel_ticks=tuple(int(t) for t in ticks),  # type: ignore[arg-type]
            gyro_z_rad_s=float(self.twist[2]) + self.gyro_bias_rad_s,
            battery_v=self.battery_v,
            current_a=self.current_a,
            kicker_v=self.kicker_v,
            break_beam=self.break_beam,
        )


class RawHost:
    """Speaks to a firmware frame by frame, without the link's state machine: for tests of the device alone."""

    def __init__(self, firmware: Firmware | None = None, bench: MotorBench | None = None) -> None:
        self.firmware = firmware or FirmwareLibrary()
        self.bench = bench or MotorBench()
        self.encoder, self.decoder = FrameEncoder(), FrameDecoder()
        self.duty: tuple[float, ...] = STAND_STILL
        self.outputs: list[ActuatorOutputs] = []
        self.messages: list[AnyMessage] = []
        self.ms = 0
        self.command_seq = 0

    def send(self, message: AnyMessage) -> None:
        self.firmware.receive(self.encoder.encode(message))

    def shake_hands(self) -> None:
        self.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))

    def command(self, vx: float = 0.0, vy: float = 0.0, omega: float = 0.0, **more: float) -> Command:
        """Send an arming command (unless `flags` says otherwise) stamped with the virtual time."""
        self.command_seq += 1
        values: dict[str, float] = {
            "seq": self.command_seq,
            "flags": int(CommandFlag.ARM),
            "dribbler_rad_s": 0.0,
            "kick_speed_m_s": 0.0,
            "valid_for_ms": 100,
            "host_stamp_ns": 10**12 + self.ms * MS,
            **more,
        }
        message = Command(vx_m_s=vx, vy_m_s=vy, omega_rad_s=omega, **values)  # type: ignore[arg-type]
        self.send(message)
        return message

    def set(self, parameter: Parameter, value: float) -> None:
        self.send(ParamSet(parameter, value))

    def run(self, ms: int) -> ActuatorOutputs:
        """Let `ms` control cycles pass; returns the last one's outputs."""
        for _ in range(ms):
            out = self.firmware.step(self.bench.step(self.duty))
            self.duty = out.wheel_duty
            self.outputs.append(out)
            self.ms += 1
            self.messages += self.decoder.feed(self.firmware.transmit())
        return self.outputs[-1]

    def drive(self, ms: int, *speeds: float, **more: float) -> ActuatorOutputs:
        """Command each 10 ms for `ms`."""
        for _ in range(ms // 10):
            self.command(*speeds, **more)
            self.run(10)
        return self.outputs[-1]

    def telemetry(self) -> Telemetry:
        """The newest telemetry."""
        return next(m for m in reversed(self.messages) if isinstance(m, Telemetry))

    def health(self) -> Health:
        """Ask for the device's counters and return them."""
        self.send(HealthRequest())
        self.run(1)
        return next(m for m in reversed(self.messages) if isinstance(m, Health))


@dataclass
class LinkedFirmware:
    """A Link and a firmware with 10 ms control ticks and 1 ms cycles between them, on one virtual clock."""

    firmware: Firmware = field(default_factory=FirmwareLibrary)
    bench: MotorBench = field(default_factory=MotorBench)
    link: Link = field(default_factory=lambda: Link(LinkConfig()))
    now_ns: int = 10**12
    up: object = staticmethod(lambda data: data)
    down: object = staticmethod(lambda data: data)
    duty: tuple[float, ...] = STAND_STILL
    telemetry: list[TelemetryFrame] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def run(self, ms: int, command: MotionCommand | MotionGoal | None = None) -> None:
        for i in range(ms):
            if i % 10 == 0:
                data = self.link.on_tick(self.now_ns, command)
                self.sent.append(data)
                self.firmware.receive(self.up(data))  # type: ignore[operator]
            self.now_ns += MS
            self.duty = self.firmware.step(self.bench.step(self.duty)).wheel_duty
            data = self.down(self.firmware.transmit())  # type: ignore[operator]
            if data:
                self.telemetry += self.link.on_bytes(data, self.now_ns)
