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
from perception.field.edge import on_carpet
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.health import HealthMonitor
from robot.core.messages import (
    BoxPx,
    DetectionBatch,
    FaultEvent,
    Mode,
    MotionCommand,
    ObjectClass,
    RefereeCode,
    RefereeCommand,
    SerialChunk,
    TeamMessage,
    TickBatch,
    TickResult,
    WorldModel,
)
from robot.core.streams import STREAMS
from robot.runtime.camera_watch import CODE as CAMERA_BUMPED
from robot.runtime.camera_watch import CameraWatch
from robot.runtime.pacing import StageTimes
from robot.runtime.robot_config import RobotConfig
from robot.runtime.supervisor import MOVING, Inputs, Supervisor

SEED_SIGMA_M, NO_HEADING_RAD = 0.3, math.pi
"""The rules' seed: the robot stands within 0.5 m of it, its heading is not given."""
_PATIENCE_TICKS = 10
"""So many ticks with a picture what can wait waits for one without."""

_SOURCES = {"link": "link", "camera": "camera"}
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
        times: durations of the stages, when a timer was given; never part of a result.
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
        self._health = HealthMonitor(STREAMS)
        self._supervisor = Supervisor(config.supervisor)
        self._camera_watch = CameraWatch(config.bump, camera)
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
        return TickResult(
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

    def farewell(self, t_now_ns: int) -> bytes:
        """Return the bytes that stop the robot and disarm it: sent by a runner whenever it ends, for any reason."""
        self._link.request_arm(False)
        return self._link.on_tick(t_now_ns, None)

    def _on_serial(self, chunks: Iterable[SerialChunk]) -> None:
        for chunk in chunks:
            for frame in self._link.on_bytes(chunk.data, chunk.t_receive_ns):
                self._health.heard("telemetry", frame.t_receive_ns)
                self._estop = frame.estop
                self._estimator.on_telemetry(frame)

    def _on_detections(self, batch: TickBatch) -> None:
        for raw in batch.detections:
            seen = _on_field(_without_nonsense(raw), self._config.vision.carpet_margin_px)
            if seen is None:
                continue
            self._health.heard("detections", seen.t_receive_ns)
            observations = observe(seen, self._camera, self._estimator.tilt_at(seen.t_capture_ns))
            self._estimator.on_observations(seen, observations)
            self._camera_watch.on_detections(seen, self._estimator.dead_reckoning_at(seen.t_capture_ns))

    def _on_referee(self, commands: Iterable[RefereeCommand]) -> None:
        for command in commands:
            self._referee = command
            if command.seed_in_field_m is not None and command.code is RefereeCode.STOP:
                x_m, y_m = command.seed_in_field_m
                self._estimator.seed(Pose2(x_m, y_m, 0.0), SEED_SIGMA_M, NO_HEADING_RAD, command.t_receive_ns)
            if self._estop and command.code is RefereeCode.STOP:
                # A stop that the microcontroller has latched is released by nothing but a person's "prepare".
                self._link.request_rearm()

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
        if fault is not None:
            reasons[f"link_{fault.code}"] = f"{fault.message}; mend: {fault.hint}"
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


def _without_nonsense(batch: DetectionBatch) -> DetectionBatch | None:
    """Return the batch without what is not a number or not a box; None when it is no frame at all."""
    if not batch.valid or min(batch.image_size_px) <= 0:
        return None
    boxes = tuple(d for d in batch.detections if math.isfinite(d.score) and _is_box(d.box_px))
    ranges_good = all(math.isfinite(bearing) and 0.0 <= reach < math.inf for bearing, reach in batch.free_range_m)
    if len(boxes) == len(batch.detections) and ranges_good:
        return batch
    return dataclasses.replace(batch, detections=boxes, free_range_m=batch.free_range_m if ranges_good else ())


def _on_field(batch: DetectionBatch | None, margin_px: float) -> DetectionBatch | None:
    """Return the batch without balls and robots beyond the carpet's edge (spectators' shoes, oranges, posters)."""
    if batch is None or not batch.carpet_edge_px:
        return batch
    kept = tuple(
        d
        for d in batch.detections
        if d.object_class is ObjectClass.GOAL or on_carpet(batch.carpet_edge_px, d.box_px, margin_px)
    )
    return batch if len(kept) == len(batch.detections) else dataclasses.replace(batch, detections=kept)


def _is_box(box_px: BoxPx) -> bool:
    x_min, y_min, x_max, y_max = box_px
    return all(map(math.isfinite, box_px)) and x_min < x_max and y_min < y_max


def _is_sane(world: WorldModel, max_sigma_m: float) -> bool:
    """True while the pose is finite, its inputs flow, and it has not diverged."""
    robot = world.robot
    finite = robot.world_from_robot.is_finite() and robot.twist_in_robot.is_finite()
    variance = max(robot.covariance[0][0], robot.covariance[1][1])
    return finite and robot.inputs_ok and math.isfinite(variance) and 0.0 <= variance <= max_sigma_m**2


def _stopped(command: MotionCommand) -> MotionCommand:
    """The same command with everything that moves or turns taken out."""
    return dataclasses.replace(
        command, twist_in_robot=Twist2(), dribbler_rad_s=0.0, kick_speed_m_s=0.0, chip=False, stop=True
    )
