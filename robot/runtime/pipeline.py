"""The one step. Every face of the runtime calls `Pipeline.step`; it reads no clock, opens no port, draws no number.

    serial bytes -> link -> telemetry -> estimator (predict)
    detections -> camera model -> observations -> estimator (rewind, correct, replay)
    health -> supervisor -> mode;  world, referee, mode -> player -> target -> limits -> command -> link -> bytes

Bad data gives a verdict, a counter or a `FaultEvent` when something changes; it never raises.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Protocol

from control.motion.limits import MotionLimiter
from control.player import Decision, Player
from firmware_bridge.link.link import Link
from firmware_bridge.link.parameters import body_parameters
from perception.camera.model import CameraModel
from perception.camera.observe import observe
from perception.estimation.estimator import Estimator
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.health import HealthMonitor
from robot.core.messages import (
    DetectionBatch,
    FaultEvent,
    Mode,
    MotionCommand,
    RefereeCode,
    RefereeCommand,
    SerialChunk,
    TeamMessage,
    TickBatch,
    TickResult,
    Verdict,
    WorldModel,
)
from robot.runtime.camera_watch import CODE as CAMERA_BUMPED
from robot.runtime.camera_watch import CameraWatch
from robot.runtime.device_watch import DeviceWatch
from robot.runtime.pacing import StageTimes
from robot.runtime.robot_config import RobotConfig
from robot.runtime.supervisor import MOVING, VISION_LOST, Inputs, Supervisor
from robot.runtime.vision_input import on_field, stamped_at_exposure, without_nonsense

SEED_SIGMA_M, NO_HEADING_RAD = 0.3, math.pi
"""The rules' seed: the robot stands within 0.5 m of it, its heading is not given."""
_PATIENCE_TICKS = 10
"""So many ticks with a picture what can wait waits for one without."""

VISION_STALE = "vision_stale"
"""Beside `vision_lost`: frames do come, but not one of them can be used, for its time."""

_SOURCES = {"link": "link", "camera": "camera", "device": "device"}
"""Who raises a fault, by the first word of its code."""


class Decides(Protocol):
    """What the step needs of a player; `control.player.Player` is the real one."""

    def decide(
        self,
        world: WorldModel,
        referee: RefereeCommand | None,
        team: tuple[TeamMessage, ...],
        mode: Mode,
        t_now_ns: int,
    ) -> Decision:
        """Return the plan and motion target of this tick."""
        ...


class Pipeline:
    """All the state of one robot between ticks.

    Attributes:
        times: durations of the step and its stages, when a timer was given; never part of a result.
    """

    def __init__(
        self,
        config: RobotConfig,
        camera: CameraModel,
        field: FieldGeometry,
        timer_ns: Callable[[], int] | None = None,
        player: Decides | None = None,
    ) -> None:
        """Put the rooms together; a `player` of your own replaces the one that plays the challenge."""
        self.times = StageTimes(timer_ns)
        self._config = config
        self._camera = camera
        self._link = Link(config.link, body_parameters(config.body))
        self._estimator = Estimator(config.estimation, config.body, field, camera)
        self._player: Decides = player or Player(config.control, config.body, field)
        self._limiter = MotionLimiter(config.control, config.body)
        ages = config.estimation
        self._health = HealthMonitor({"telemetry": ages.telemetry_max_age_s, "detections": ages.vision_max_age_s})
        self._refused: tuple[int, str] | None = None
        """When the last frame was refused for its time, and why; None while frames are used."""

        self._supervisor = Supervisor(config.supervisor)
        self._camera_watch = CameraWatch(config.bump, camera)
        self._device_watch = DeviceWatch()
        self._referee: RefereeCommand | None = None
        self._estop = False
        self._standing_faults: tuple[str, ...] = ()
        self._fault_seq = 0
        self._full_ticks = 0

    @property
    def estimator(self) -> Estimator:
        """The estimator, for evaluation."""
        return self._estimator

    def step(self, batch: TickBatch) -> TickResult:
        """Take everything that arrived since the last tick; return everything decided, and the bytes to send.

        Args:
            batch: times must not go back from one batch to the next.
        """
        now_ns = batch.t_now_ns
        self.times.start()
        self._on_serial(batch.serial)
        self.times.lap("link_in")
        self._on_detections(batch)
        self.times.lap("observe")
        # A tick with a picture has enough to do; but with a picture in every tick what can wait must not wait for ever.
        self._full_ticks = self._full_ticks + 1 if batch.detections else 0
        if self._full_ticks % _PATIENCE_TICKS == 0:
            self._estimator.locate()
            self.times.lap("locate")
            self._camera_watch.work()
            self.times.lap("camera_watch")
        world = self._estimator.world_model(now_ns)
        self.times.lap("world")
        self._on_referee(batch.referee)
        link = self._link.health(now_ns)
        mode, faults = self._supervise(now_ns, world, link.valid)
        self.times.lap("supervise")
        decision = self._player.decide(world, self._referee, batch.team, mode, now_ns)
        self.times.lap("decide")
        command = self._limiter.apply(decision.target, world, now_ns)
        if mode not in MOVING:
            command = _stopped(command)
        self.times.lap("limit")
        # Disarmed the firmware brakes by itself, and only then measures its gyro's bias: so no sooner than needed.
        self._link.request_arm(mode in MOVING)
        bytes_out = self._link.on_tick(now_ns, command)
        self.times.lap("link_out")
        result = TickResult(
            tick=batch.tick,
            t_now_ns=now_ns,
            mode=mode,
            world=world,
            plan=decision.plan,
            target=decision.target,
            command=command,
            bytes_out=bytes_out,
            team_out=decision.team_out,
            link=link,
            faults=faults,
        )
        self.times.finish()
        return result

    def farewell(self, t_now_ns: int) -> bytes:
        """Return the bytes that stop the robot and disarm it: sent by a runner whenever it ends, for any reason."""
        self._link.request_arm(False)
        return self._link.on_tick(t_now_ns, None)

    def _on_serial(self, chunks: Iterable[SerialChunk]) -> None:
        for chunk in chunks:
            for frame in self._link.on_bytes(chunk.data, chunk.t_receive_ns):
                self._health.heard("telemetry", frame.t_receive_ns)
                # Switching the microcontroller off and on ends its latch, and is nobody's "prepare".
                self._estop = frame.estop or (self._estop and not self._prepared())
                self._device_watch.on_telemetry(frame)
                self._estimator.on_telemetry(frame)

    def _on_detections(self, batch: TickBatch) -> None:
        for raw in batch.detections:
            clean = without_nonsense(stamped_at_exposure(raw, self._config.estimation.vision.delay_s))
            if clean is None:
                continue
            seen = on_field(clean, self._config.vision.carpet_margin_px)
            usable = self._note_timing(seen, batch.t_now_ns)
            observations = observe(seen, self._camera, self._estimator.tilt_at(seen.t_capture_ns))
            self._estimator.on_observations(seen, observations)
            if usable:
                self._camera_watch.on_detections(seen, self._estimator.dead_reckoning_at(seen.t_capture_ns))

    def _note_timing(self, seen: DetectionBatch, now_ns: int) -> bool:
        """Count a frame as heard if its time lets the estimator use it: one that cannot be used is not sight.

        A frame is judged by telemetry: while there is none nothing can be said against it, and the robot stands.
        """
        timing = self._estimator.vision_timing(seen)
        if timing is Verdict.OK or not self._health.check("telemetry", now_ns).alive:
            self._health.heard("detections", seen.t_receive_ns)
            self._refused = None
        else:
            self._refused = (now_ns, _refusal(timing, (now_ns - seen.t_capture_ns) / NS_PER_S))
        return timing is Verdict.OK

    def _on_referee(self, commands: Iterable[RefereeCommand]) -> None:
        for command in commands:
            if not command.valid and command.code is RefereeCode.FORCE_START:
                continue  # what is not proven may stop the robot, never start it
            self._referee = command
            seed = command.seed_in_field_m if command.valid else None
            if seed is not None and self._prepared() and all(map(math.isfinite, seed)):
                self._estimator.seed(Pose2(*seed, 0.0), SEED_SIGMA_M, NO_HEADING_RAD, command.t_receive_ns)
            # A stop that the microcontroller has latched is released by nothing but a person's "prepare", and only as
            # long as that is in force: refused while its cause lasts, it must not take effect under a later start.
            self._link.request_rearm(self._estop and self._prepared())

    def _prepared(self) -> bool:
        """True while STOP is in force: somebody is there, and expects the robot to stand."""
        return self._referee is not None and self._referee.code is RefereeCode.STOP

    def _supervise(self, now_ns: int, world: WorldModel, link_up: bool) -> tuple[Mode, tuple[FaultEvent, ...]]:
        fault = self._link.fault
        latched = fault is not None and fault.code == "estop"
        verdict = self._supervisor.update(
            Inputs(
                t_now_ns=now_ns,
                referee=self._referee.code if self._referee is not None else None,
                link_up=link_up or latched,
                telemetry_alive=self._health.check("telemetry", now_ns).alive,
                vision_alive=self._health.check("detections", now_ns).alive,
                estimate_ok=_is_sane(world, self._config.supervisor.max_sigma_m),
                estop=self._estop or latched,
            )
        )
        reasons = dict.fromkeys(verdict.reasons, "began")
        if VISION_LOST in reasons and self._refused is not None:
            since_ns, why = self._refused
            if now_ns - since_ns <= self._config.estimation.vision_max_age_s * NS_PER_S:
                reasons[VISION_STALE] = why
        if fault is not None:
            reasons[f"link_{fault.code}"] = f"{fault.message}; mend: {fault.hint}"
        reasons |= self._device_watch.reasons()
        before, self._standing_faults = self._standing_faults, tuple(reasons)
        changes = [(code, detail) for code, detail in reasons.items() if code not in before]
        changes += [(code, "ended") for code in before if code not in reasons]
        changes += [(CAMERA_BUMPED, detail) for detail in self._camera_watch.take_news()]
        return verdict.mode, tuple(self._fault(code, detail, now_ns) for code, detail in changes)

    def _fault(self, code: str, detail: str, now_ns: int) -> FaultEvent:
        self._fault_seq += 1
        return FaultEvent(
            seq=self._fault_seq - 1,
            t_capture_ns=now_ns,
            t_receive_ns=now_ns,
            valid=True,
            code=code,
            source=_SOURCES.get(code.partition("_")[0], "supervisor"),
            detail=detail,
        )


def _refusal(timing: Verdict, age_s: float) -> str:
    """Say why frames that come are of no use."""
    stamped = f"{age_s:.2f} s ago" if age_s >= 0.0 else f"{-age_s:.2f} s ahead"
    return (
        f"frames come but their times are refused ({timing.value}): stamped {stamped}; mend: docs/bring-up.md, Camera"
    )


def _is_sane(world: WorldModel, max_sigma_m: float) -> bool:
    """True while the pose is finite, its inputs flow, and it has not diverged."""
    robot = world.robot
    finite = robot.world_from_robot.is_finite() and robot.twist_in_robot.is_finite()
    variances = (robot.covariance[0][0], robot.covariance[1][1])
    # Each by itself: max() of a number and NaN is the number. And a rounding error below zero is no divergence.
    return finite and robot.inputs_ok and all(-1e-9 <= v <= max_sigma_m**2 for v in variances)


def _stopped(command: MotionCommand) -> MotionCommand:
    """The same command with everything that moves or turns taken out."""
    return dataclasses.replace(
        command, twist_in_robot=Twist2(), dribbler_rad_s=0.0, kick_speed_m_s=0.0, chip=False, stop=True
    )
