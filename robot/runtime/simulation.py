"""Plays one trial in simulated time: the same pipeline, fed by a simulated camera and the firmware's own bytes.

Nothing but frames, serial bytes, referee commands and radio passes from the world to the pipeline. What is true goes
only into the recording's `truth/` notes, for reports.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from perception.detection.detector import Detector
from robot.core.clock import NS_PER_S
from robot.core.config import to_dict
from robot.core.messages import CameraFrame, DetectionBatch, RefereeCommand, SerialChunk, TickBatch
from robot.recording.run_data import SCORE_TOPIC, TRUTH_TOPIC
from robot.recording.writer import RunRecorder
from robot.runtime.pipeline import Decides, Pipeline
from robot.runtime.robot_config import Robot
from robot.runtime.vision import VisionStage, make_vision


class World(Protocol):
    """What a trial needs of the simulator; `sim.simulation.Simulation` is one."""

    @property
    def finished(self) -> bool:
        """True when the referee has ended the trial."""
        ...

    def advance_to_ns(self, t_ns: int) -> None:
        """Move time forward."""
        ...

    def frames(self) -> Sequence[CameraFrame]:
        """Frames that have arrived since the last call."""
        ...

    def serial(self) -> Sequence[SerialChunk]:
        """Bytes from the microcontroller that have arrived since the last call."""
        ...

    def referee(self) -> Sequence[RefereeCommand]:
        """Referee commands that have arrived since the last call."""
        ...

    def write_serial(self, data: bytes) -> None:
        """Send bytes to the microcontroller."""
        ...

    def score(self) -> Any:
        """The referee's score."""
        ...

    def truth(self) -> Any:
        """What is true now; for reports only."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """What came of a trial.

    Attributes:
        score: the referee's.
        command_sha256: over all bytes sent to the microcontroller: equal for equal seeds.
        ticks: how many steps were taken.
        sim_s: simulated duration.
        wall_s: how long this machine needed.
        step_median_ms: of `Pipeline.step`.
        recording: the MCAP, if one was written.
    """

    score: Any
    command_sha256: str
    ticks: int
    sim_s: float
    wall_s: float
    step_median_ms: float
    recording: Path | None = None


class SimulatedVision:
    """The vision stage in simulated time: results are held back until their simulated latency is over."""

    def __init__(self, stage: VisionStage, latency_ns: int) -> None:
        self._stage = stage
        self._latency_ns = latency_ns
        self._waiting: list[DetectionBatch] = []

    def take(self, frames: Sequence[CameraFrame], t_now_ns: int) -> tuple[DetectionBatch, ...]:
        """Analyse new frames and return the results that are ready at `t_now_ns`, oldest first."""
        self._waiting.extend(self._stage.process(frame, latency_ns=self._latency_ns) for frame in frames)
        ready = tuple(b for b in self._waiting if b.t_receive_ns <= t_now_ns)
        self._waiting = [b for b in self._waiting if b.t_receive_ns > t_now_ns]
        return ready


def play_trial(
    robot: Robot,
    world: World,
    detector: Detector,
    recorder: RunRecorder | None = None,
    player: Decides | None = None,
) -> TrialOutcome:
    """Play until the referee ends it.

    Args:
        robot: its configuration, camera and field.
        world: a simulation at time 0, not used before.
        detector: shared between trials; it keeps no state that matters.
        recorder: where to record, or None.
        player: decides in place of the one that plays the challenge.
    """
    started_s = time.perf_counter()
    pipeline = Pipeline(robot.config, robot.camera, robot.field, player=player)
    vision = SimulatedVision(make_vision(robot, detector), round(robot.config.vision.simulated_latency_ms * 1e6))
    period_ns = round(NS_PER_S / robot.config.tick_rate_hz)
    digest = hashlib.sha256()
    step_s: list[float] = []
    tick = 0
    while not world.finished:
        now_ns = tick * period_ns
        world.advance_to_ns(now_ns)
        frames = world.frames()
        batch = TickBatch(
            tick=tick,
            t_now_ns=now_ns,
            detections=vision.take(frames, now_ns),
            serial=tuple(world.serial()),
            referee=tuple(world.referee()),
        )
        if recorder is not None:
            for frame in frames:
                recorder.frame(frame)
            recorder.note(TRUTH_TOPIC, now_ns, to_dict(world.truth()))
            recorder.batch(batch)
        before_s = time.perf_counter()
        result = pipeline.step(batch)
        step_s.append(time.perf_counter() - before_s)
        world.write_serial(result.bytes_out)
        digest.update(result.bytes_out)
        if recorder is not None:
            recorder.result(result)
        tick += 1
    score = world.score()
    if recorder is not None:
        recorder.note(SCORE_TOPIC, tick * period_ns, to_dict(score))
    return TrialOutcome(
        score=score,
        command_sha256=digest.hexdigest(),
        ticks=tick,
        sim_s=(tick - 1) * period_ns / NS_PER_S,
        wall_s=time.perf_counter() - started_s,
        step_median_ms=sorted(step_s)[len(step_s) // 2] * 1e3 if step_s else 0.0,
        recording=getattr(recorder, "path", None),
    )
