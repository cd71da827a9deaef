"""A world without pixels or physics engine: the real firmware core on an ideal chassis, and a detector that knows.

Boxes come from projecting a true ball through the true camera, bytes from the compiled C core, so the whole runtime
runs for real in about a tenth of real time. For tests of runners, recordings and replay; trials that count use `sim`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from control.motion.kinematics import OmniKinematics
from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from perception.camera.model import CameraModel
from robot.core.body import RobotBody
from robot.core.field import BALL_RADIUS_M
from robot.core.geometry import Pose2, Twist2, exponential_map
from robot.core.messages import CameraFrame, Detection, ObjectClass, RefereeCode, RefereeCommand, SerialChunk

MS = 1_000_000
PICTURE = np.zeros((480, 640, 3), np.uint8)
NO_LOAD_RAD_S = 120.0


def referee(code: RefereeCode, seq: int, t_ns: int) -> RefereeCommand:
    """Return a stage-1 command."""
    return RefereeCommand(seq=seq, t_capture_ns=t_ns, t_receive_ns=t_ns, valid=True, code=code, stage=1)


@dataclass
class BenchWorld:
    """One robot and one ball. With `serial_on`, `camera_on` and `battery_v`, of time in ms, tests pull plugs."""

    camera: CameraModel
    ball_m: tuple[float, float] = (1.5, 0.4)
    duration_s: float = 8.0
    body: RobotBody = field(default_factory=RobotBody)
    serial_on: Callable[[int], bool] = lambda _: True
    camera_on: Callable[[int], bool] = lambda _: True
    battery_v: Callable[[int], float] = lambda _: 24.0
    commands: tuple[tuple[int, RefereeCode], ...] = ((300, RefereeCode.FORCE_START),)
    boxes: tuple[Detection, ...] = ()

    def __post_init__(self) -> None:
        self.mcu = FirmwareLibrary()
        self.kinematics = OmniKinematics(self.body)
        self.pose = Pose2()
        self.twist = Twist2()
        self.wheels = [0.0] * 4
        self.ticks = [0.0] * 4
        self.t_ms = 0
        self.frame_seq = 0
        self.chunk_seq = 0
        self._frames: list[CameraFrame] = []
        self._chunks: list[SerialChunk] = []
        self._referee: list[RefereeCommand] = []
        self.touched = False

    @property
    def finished(self) -> bool:
        return self.t_ms >= self.duration_s * 1000

    def ball_in_robot_m(self) -> tuple[float, float]:
        return self.pose.inverse().transform(self.ball_m)

    def advance_to_ns(self, t_ns: int) -> None:
        while self.t_ms * MS < t_ns:
            self._step()

    def _step(self) -> None:
        x_m, y_m = self.ball_in_robot_m()
        in_mouth = x_m < self.body.mouth_x_m + BALL_RADIUS_M + 0.004 and abs(y_m) < 0.035
        out = self.mcu.step(
            SensorInputs(
                wheel_ticks=tuple(int(t) for t in self.ticks),  # type: ignore[arg-type]
                gyro_z_rad_s=self.twist.omega_rad_s,
                break_beam=in_mouth,
                battery_v=self.battery_v(self.t_ms),
            )
        )
        for i, duty in enumerate(out.wheel_duty):
            self.wheels[i] += (duty * NO_LOAD_RAD_S - self.wheels[i]) * 0.02
            self.ticks[i] += self.wheels[i] * 1e-3 / math.tau * self.body.encoder_ticks_per_rev
        self.twist = self.kinematics.twist((self.wheels[0], self.wheels[1], self.wheels[2], self.wheels[3]))
        self.pose = self.pose @ exponential_map(self.twist, 1e-3)
        if in_mouth:  # the dribbler holds it
            self.touched = True
            self.ball_m = self.pose.transform((self.body.ball_hold_x_m(), max(-0.02, min(0.02, y_m))))
        self.t_ms += 1
        t_ns = self.t_ms * MS
        data = self.mcu.transmit()
        if data and self.serial_on(self.t_ms):
            self._chunks.append(
                SerialChunk(seq=self.chunk_seq, t_capture_ns=t_ns, t_receive_ns=t_ns, valid=True, data=data)
            )
            self.chunk_seq += 1
        if self.t_ms % 33 == 0 and self.camera_on(self.t_ms):
            self._frames.append(
                CameraFrame(
                    seq=self.frame_seq, t_capture_ns=t_ns - 20 * MS, t_receive_ns=t_ns, valid=True, image_bgr=PICTURE
                )
            )
            self.boxes = self._boxes()
            self.frame_seq += 1
        for seq, (at_ms, code) in enumerate(self.commands):
            if at_ms == self.t_ms:
                self._referee.append(referee(code, seq, t_ns))

    def _boxes(self) -> tuple[Detection, ...]:
        x_m, y_m = self.ball_in_robot_m()
        if x_m < 0.12:
            return ()
        centre = (x_m, y_m, BALL_RADIUS_M)
        (u, v), (_, foot) = self.camera.project([centre, (x_m, y_m, 0.0)])
        if not (math.isfinite(u) and 4 < u < 636 and 4 < v < 476):
            return ()
        r = max(foot - v, 1.5)
        box = (float(u - r + 0.5), float(v - r + 0.5), float(u + r + 0.5), float(v + r + 0.5))
        return (Detection(object_class=ObjectClass.BALL, score=0.9, box_px=box),)

    def frames(self) -> list[CameraFrame]:
        taken, self._frames = self._frames, []
        return taken

    def serial(self) -> list[SerialChunk]:
        taken, self._chunks = self._chunks, []
        return taken

    def referee(self) -> list[RefereeCommand]:
        taken, self._referee = self._referee, []
        return taken

    def write_serial(self, data: bytes) -> None:
        if self.serial_on(self.t_ms):
            self.mcu.receive(data)

    def score(self) -> dict[str, Any]:
        return {"success": self.touched, "points": int(self.touched), "max_points": 1, "time_s": self.t_ms / 1e3}

    def truth(self) -> dict[str, Any]:
        return {
            "robot": self.pose,
            "ball_in_field_m": list(self.ball_m),
        }


class BenchDetector:
    """Sees what the bench says; stands in for the network."""

    model_name = "bench"
    input_size_px = (640, 480)

    def __init__(self, world: BenchWorld) -> None:
        self.world = world

    def detect(self, image_bgr: Any) -> tuple[Detection, ...]:
        return self.world.boxes

    def warm_up(self) -> None:
        return None
