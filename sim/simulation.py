"""One trial, simulated: the real firmware core in lockstep with the physics, pixels, bytes and referee commands out.

The public surface is what a robot has: frames, serial bytes, referee commands. `truth()` and `score()` are for
reports and must not reach the pipeline.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from firmware_bridge.firmware.library import FirmwareLibrary
from firmware_bridge.firmware.target import Firmware
from perception.camera.model import CameraModel
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import CameraFrame, RefereeCommand, SerialChunk, Vec2
from sim.camera.onboard import OnboardCamera
from sim.referee.base import Referee, View
from sim.referee.score import TrialScore
from sim.referee.stages import make_referee
from sim.sensors.board import SensorBoard
from sim.setup import Source, TrialSetup, generator
from sim.world.world import Actuation, World

STEP_NS = 1_000_000
_STEP_US = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What really is, for reports only."""

    t_ns: int
    robot: Pose2
    twist_in_robot: Twist2
    ball_in_field_m: Vec2 | None
    """None where no ball is in play."""
    ball_velocity_m_s: Vec2
    tilt_rad: Vec2
    break_beam: bool
    others: tuple[Pose2, ...] = ()
    """The other robots, field frame."""


class Simulation:
    """One trial. Time starts at 0 and moves with `advance_to_ns`; the same setup and bytes give the same bits."""

    def __init__(
        self,
        setup: TrialSetup,
        body: RobotBody,
        camera: CameraModel,
        *,
        mcu: Firmware | None = None,
        render: bool = True,
        samples: int = 4,
    ) -> None:
        """Put robot and ball on the field.

        Args:
            setup: the trial (`sim.scenarios.trials.make_trial`).
            body: the robot's dimensions.
            camera: the calibration of its camera; the simulated one differs by the setup's errors.
            mcu: the microcontroller; the firmware core in this process by default.
            render: False leaves out the camera: physics and link only, about 20 times faster.
            samples: multi-sampling of the renderer (0, 2, 4).

        Raises:
            SimulationError: no headless renderer, or an unknown stage.
            LinkError: the firmware cannot be built here.
        """
        self._setup = setup
        self._world = World(setup, body)
        self._board = SensorBoard(setup, body.encoder_ticks_per_rev)
        self._mcu: Firmware = mcu if mcu is not None else FirmwareLibrary(boot_id=1)
        self._referee: Referee = make_referee(setup)
        self._serial_rng = generator(setup.seed, Source.SERIAL)
        self._to_mcu: deque[tuple[int, bytes]] = deque()
        self._from_mcu: deque[SerialChunk] = deque()
        self._chunks = 0
        self._last_in_ns = self._last_out_ns = 0
        self.now_ns = 0
        self._camera = OnboardCamera(setup, body, camera, samples=samples) if render else None

    # --- time -------------------------------------------------------------------------------------------------

    def advance_to_ns(self, t_ns: int) -> None:
        """Simulate up to `t_ns` (whole milliseconds are done; the rest of the last one waits)."""
        while self.now_ns + STEP_NS <= t_ns:
            self._advance()

    def _advance(self) -> None:
        """One millisecond: bytes in, sensors, firmware, bytes out, physics, referee, camera."""
        mcu, world, now = self._mcu, self._world, self.now_ns
        while self._to_mcu and self._to_mcu[0][0] <= now:
            mcu.receive(self._to_mcu.popleft()[1])
        out = mcu.step(self._board.read(world), _STEP_US)
        sent = mcu.transmit()
        if sent:
            arrival = max(now + self._delay_ns(), self._last_out_ns + 1)
            self._last_out_ns = arrival
            self._from_mcu.append(
                SerialChunk(seq=self._chunks, t_capture_ns=arrival, t_receive_ns=arrival, valid=True, data=sent)
            )
            self._chunks += 1
        world.step(
            Actuation(
                wheel_duty=out.wheel_duty,
                dribbler_duty=out.dribbler_duty,
                kick_speed_m_s=out.kick_speed_m_s,
                chip=out.kick_chip_us > 0,
                charge=out.charge,
            )
        )
        self.now_ns = now + STEP_NS
        twist = world.twist_in_robot
        self._referee.step(
            View(
                self.now_ns,
                world.robot_pose,
                twist.speed_m_s(),
                twist.omega_rad_s,
                world.ball_m,
                world.ball_touched,
                world.bar_touched,
                world.ball_at_bar,
            )
        )
        if self._camera is not None and self.now_ns >= self._camera.next_capture_ns:
            self._camera.capture(world, self.now_ns)

    def _delay_ns(self) -> int:
        timing = self._setup.serial
        return round((timing.delay_s + timing.jitter_s * float(self._serial_rng.random())) * NS_PER_S)

    # --- what the robot has -----------------------------------------------------------------------------------

    def frames(self) -> list[CameraFrame]:
        """Return the frames that arrived since the last call."""
        return [] if self._camera is None else self._camera.arrived(self.now_ns)

    def serial(self) -> list[SerialChunk]:
        """Return the bytes from the microcontroller that arrived since the last call."""
        chunks = []
        while self._from_mcu and self._from_mcu[0].t_receive_ns <= self.now_ns:
            chunks.append(self._from_mcu.popleft())
        return chunks

    def referee(self) -> list[RefereeCommand]:
        """Return the referee's commands since the last call."""
        return self._referee.take_commands()

    def write_serial(self, data: bytes) -> None:
        """Send bytes to the microcontroller; they arrive a UART's delay later, in order."""
        if data:
            arrival = max(self.now_ns + self._delay_ns(), self._last_in_ns)
            self._last_in_ns = arrival
            self._to_mcu.append((arrival, data))

    # --- what only reports may see ----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """True a moment after the last HALT."""
        return self._referee.finished(self.now_ns)

    def score(self) -> TrialScore:
        """Return the referee's score; final once `finished`."""
        return self._referee.score(self.now_ns)

    def truth(self) -> Truth:
        """Return what really is. Never to be passed to the pipeline."""
        world = self._world
        (bx, by, _), (vx, vy, _) = world.ball_m, world.ball_velocity_m_s
        return Truth(
            t_ns=self.now_ns,
            robot=world.robot_pose,
            twist_in_robot=world.twist_in_robot,
            ball_in_field_m=(bx, by) if self._setup.scene.ball_in_play else None,
            ball_velocity_m_s=(vx, vy),
            tilt_rad=world.tilt_rad,
            break_beam=world.break_beam,
            others=world.others,
        )

    def knock_camera(self, *, pitch_rad: float = 0.0, roll_rad: float = 0.0, yaw_rad: float = 0.0) -> None:
        """Turn the camera on its mast, as a collision does."""
        if self._camera is not None:
            self._camera.knock(pitch_rad=pitch_rad, roll_rad=roll_rad, yaw_rad=yaw_rad)

    def state_bytes(self) -> bytes:
        """Return the physical state bit for bit, for proofs of determinism."""
        return self._world.state_bytes()

    def close(self) -> None:
        """Free the renderer."""
        if self._camera is not None:
            self._camera.close()

    def __enter__(self) -> Simulation:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the renderer."""
        self.close()
