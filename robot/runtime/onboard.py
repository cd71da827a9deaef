"""Plays on the robot: 100 Hz control with absolute deadlines, vision beside it, STOP whenever it ends."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import control.plays  # noqa: F401 - importing the package registers its files
from control.plays.play import PLAYS
from firmware_bridge.transport.base import open_transport
from firmware_bridge.transport.reconnect import StablePort
from robot.core.clock import NS_PER_S, Clock, MonotonicClock
from robot.core.errors import ConfigError
from robot.core.field import FieldGeometry
from robot.core.messages import Mode, RefereeCode, TickBatch, TickResult, Vec2
from robot.recording.header import make_header
from robot.recording.reader import frames_path
from robot.recording.writer import BackgroundRecorder, Recorder
from robot.runtime.pacing import Pacer, Spread
from robot.runtime.pipeline import Pipeline
from robot.runtime.port import SerialPort
from robot.runtime.realtime import StopFlag, realtime
from robot.runtime.robot_config import Robot
from robot.runtime.supervisor import MOVING
from robot.runtime.typed_referee import Commands
from robot.runtime.vision_keeper import KeptVision
from robot.runtime.vision_loop import Vision, VisionReport
from robot.runtime.vision_process import InlineVision, VisionProcess

FAREWELLS = 5
_FAREWELL_S = 0.01
_AGES = 100_000
_BOOT_S = 5.0
"""The handshake takes a fraction of a second; a board that is not there would otherwise be waited for in silence."""


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """How to play.

    Attributes:
        vision: `process` or `inline`.
        seconds: stop after this long; 0 plays until a signal.
        stage: of the challenge.
        start: say FORCE START as soon as the robot is ready, unless something is typed before.
        seed_in_field_m: a place within 0.5 m of the robot's, field frame, told at STOP (stage 3).
        target_in_field_m: where to drive, field frame (stage 3).
        recording: the MCAP to write, or None.
    """

    vision: str = "process"
    seconds: float = 0.0
    stage: int = 1
    start: bool = False
    seed_in_field_m: Vec2 | None = None
    target_in_field_m: Vec2 | None = None
    recording: Path | None = None


@dataclass(kw_only=True)
class PlayReport:
    """What happened; printed at the end, also after Ctrl-C.

    `detections` counts the batches that ticks used; `detection_age` is that of the last 100 000.
    """

    ticks: int = 0
    duration_s: float = 0.0
    periods: Spread = field(default_factory=lambda: Spread.of_ns([]))
    lateness: Spread = field(default_factory=lambda: Spread.of_ns([]))
    overruns: int = 0
    step: Spread = field(default_factory=lambda: Spread.of_ns([]))
    stages: dict[str, Spread] = field(default_factory=dict)
    detections: int = 0
    detection_age: Spread = field(default_factory=lambda: Spread.of_ns([]))
    vision: VisionReport = field(default_factory=VisionReport)
    last: TickResult | None = None
    not_recorded: int = 0
    recorder_failure: str = ""
    port_reopened: int = 0
    ended_by: str = ""
    crash: str = ""


def play(
    robot: Robot,
    options: PlayOptions,
    *,
    lines: Iterator[str] | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> PlayReport:
    """Play until told to stop; returns what happened. Always leaves the robot stopped and no process behind.

    Args:
        robot: its configuration names camera and port.
        options: see there.
        lines: typed referee commands.
        said: is told about changes, one line each.

    Raises:
        ConfigError: there is no play for the stage; before anything is opened.
        LinkError, CameraError, DetectorError, RecordingError: at the start, before anything moves.
    """
    _check_stage(options, robot.field)
    clock = MonotonicClock()
    report = PlayReport()
    with StopFlag().installed() as stopping, contextlib.ExitStack() as cleanup:
        vision = _start_vision(robot, options, clock, stopping, said)
        cleanup.callback(vision.close)
        recorder = _start_recorder(robot, options, vision)
        if recorder is not None:
            cleanup.callback(recorder.close)
        port = SerialPort(StablePort(robot.config.link, open_transport).open, clock)
        cleanup.callback(port.close)
        pipeline = Pipeline(robot.config, robot.camera, robot.field, time.perf_counter_ns)
        commands = Commands(clock, options.stage, options.seed_in_field_m, options.target_in_field_m)
        loop = _Loop(robot, options, clock, pipeline, port, vision, commands, recorder, said)
        if lines is not None:
            commands.listen(lines, said=said, moving=loop.moving)
        try:
            loop.run(stopping, report)
        except Exception:  # noqa: BLE001 - whatever it was: STOP first, then tell
            report.crash = traceback.format_exc(limit=-15)  # of a recursion, the end is enough
            report.ended_by = "a crash"
            if recorder is not None:
                recorder.note("fault/crash", clock.now_ns(), {"traceback": report.crash})
        finally:
            # More than once: one frame may meet noise, and the watchdog's 100 ms are a long way at 3 m/s.
            for _ in range(FAREWELLS):
                port.write(pipeline.farewell(clock.now_ns()))
                clock.sleep_until_ns(clock.now_ns() + round(_FAREWELL_S * NS_PER_S))
        report.port_reopened = port.reopened
        report.step, report.stages = pipeline.times.whole(), pipeline.times.spreads()
        report.vision = vision.close()
        if recorder is not None:
            recorder.close()
            report.not_recorded = sum(recorder.dropped.values())
            report.recorder_failure = str(recorder.failure or "")
    return report


def _check_stage(options: PlayOptions, field: FieldGeometry) -> None:
    """Refuse a stage that nobody can play: the robot would be armed and stand.

    Raises:
        ConfigError: with the stages that there are, or what is wrong with places on the field.
    """
    if f"stage{options.stage}" not in PLAYS:
        known = ", ".join(name.removeprefix("stage") for name in PLAYS.names())
        raise ConfigError(f"there is no play for stage {options.stage}", hint=f"give --stage one of: {known}")
    if options.stage == 3 and options.target_in_field_m is None:
        raise ConfigError("stage 3 needs to know where to drive", hint="add --target X Y (metres from the centre)")
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    for name, place in (("--seed-at", options.seed_in_field_m), ("--target", options.target_in_field_m)):
        if place is not None and not (x_min <= place[0] <= x_max and y_min <= place[1] <= y_max):
            raise ConfigError(
                f"{name} {place[0]:g} {place[1]:g} lies outside the walls",
                hint=f"metres from the field's centre: x {x_min:g} to {x_max:g}, y {y_min:g} to {y_max:g}",
            )


def _start_vision(
    robot: Robot, options: PlayOptions, clock: Clock, stopping: StopFlag, said: Callable[[str], None]
) -> Vision:
    def start(before: int, closing: Callable[[], bool]) -> Vision:
        frames = frames_path(options.recording, before) if options.recording is not None else None
        if options.vision == "inline":
            return InlineVision(robot, frames, clock)
        return VisionProcess(robot, frames, stopping=lambda: stopping() or closing())

    return KeptVision(start, said)


def _start_recorder(robot: Robot, options: PlayOptions, vision: Vision) -> BackgroundRecorder | None:
    if options.recording is None:
        return None
    header = make_header(
        kind="onboard",
        robot=robot.config,
        camera=robot.camera,
        field_geometry=robot.field,
        model=vision.model,
        run={"stage": options.stage, "camera": robot.config.capture.device, "port": robot.config.link.port},
    )
    recording = robot.config.recording
    return BackgroundRecorder(Recorder(options.recording, header, recording), recording.queue_messages)


class _Loop:
    """The control loop's parts and its one tick."""

    def __init__(
        self,
        robot: Robot,
        options: PlayOptions,
        clock: Clock,
        pipeline: Pipeline,
        port: SerialPort,
        vision: Vision,
        commands: Commands,
        recorder: BackgroundRecorder | None,
        said: Callable[[str], None],
    ) -> None:
        self._options, self._clock, self._pipeline, self._port = options, clock, pipeline, port
        self._vision, self._commands, self._recorder, self._said = vision, commands, recorder, said
        self._pacer = Pacer(clock, robot.config.tick_rate_hz)
        self._ages_ns: deque[int] = deque(maxlen=_AGES)
        self._recording_lost = self._boot_told = False
        self._begun_ns: int | None = None
        self._port_name = robot.config.link.port
        self._detections = 0
        self._last: TickResult | None = None

    def moving(self) -> bool:
        """True while the robot may be moving; asked from any thread."""
        return self._last is not None and self._last.mode in MOVING

    def run(self, stopping: StopFlag, report: PlayReport) -> None:
        """Tick until told to stop."""
        begun_ns = self._clock.now_ns()
        limit_ns = round(self._options.seconds * NS_PER_S)
        try:
            with realtime() as reached:
                self._said(f"control at {reached}")
                begun_ns = self._clock.now_ns()
                while not stopping():
                    self._pacer.wait()
                    if limit_ns and self._clock.now_ns() - begun_ns >= limit_ns:
                        report.ended_by = f"--seconds {self._options.seconds:g}"
                        return
                    self._tick(report.ticks)
                    report.ticks += 1
                report.ended_by = stopping.reason
        finally:
            report.duration_s = (self._clock.now_ns() - begun_ns) / NS_PER_S
            report.periods, report.lateness = self._pacer.periods(), self._pacer.lateness()
            report.overruns = self._pacer.overruns
            report.detections = self._detections
            report.detection_age = Spread.of_ns(list(self._ages_ns))
            report.last = self._last

    def _tick(self, tick: int) -> None:
        detections = tuple(self._vision.take())
        serial = self._port.take()
        self._start_when_ready()
        referee = self._commands.take()
        now_ns = self._clock.now_ns()  # after all was taken: nothing in a batch is younger than the batch
        self._detections += len(detections)
        self._ages_ns.extend(now_ns - seen.t_capture_ns for seen in detections)
        batch = TickBatch(tick=tick, t_now_ns=now_ns, detections=detections, serial=serial, referee=referee)
        if self._recorder is not None:
            self._recorder.batch(batch)
        result = self._pipeline.step(batch)
        self._port.write(result.bytes_out)
        if self._recorder is not None:
            self._recorder.result(result)
        self._tell(result)
        self._last = result

    def _start_when_ready(self) -> None:
        if self._commands.spoken:  # who has typed something meanwhile (halt!) says the rest, too
            return
        if self._options.start and self._last is not None and self._last.mode is Mode.READY:
            if self._options.seed_in_field_m is not None:
                self._commands.say(RefereeCode.STOP)  # "prepare": that is when the team may tell the place
            self._commands.say(RefereeCode.FORCE_START)

    def _tell(self, result: TickResult) -> None:
        """Say what changed, and only that."""
        before = self._last
        if before is None or before.mode is not result.mode:
            self._said(f"mode {result.mode.value}")
        if before is None or (before.plan.skill, before.plan.state) != (result.plan.skill, result.plan.state):
            self._said(f"plan {result.plan.skill}: {result.plan.state} ({result.plan.reason})")
        self._tell_of_a_silent_board(result)
        for fault in result.faults:
            self._said(f"fault {fault.code} {fault.detail}")
        failure = self._recorder.failure if self._recorder is not None else None
        if failure is not None and not self._recording_lost:
            self._recording_lost = True
            self._said(f"recording has failed: {failure}")

    def _tell_of_a_silent_board(self, result: TickResult) -> None:
        """Say once what is waited for when the mode stays BOOT: in BOOT nothing is lost, so there is no fault."""
        self._begun_ns = result.t_now_ns if self._begun_ns is None else self._begun_ns
        waited_s = (result.t_now_ns - self._begun_ns) / NS_PER_S
        if self._boot_told or result.mode is not Mode.BOOT or waited_s < _BOOT_S or result.link is None:
            return
        self._boot_told = True
        what = (
            "no answer from the microcontroller" if result.link.rx_ok == 0 else f"the link is still {result.link.state}"
        )
        mend = f"power, wiring, baud rate; blackout link monitor --port {self._port_name}"
        self._said(f"{what} after {_BOOT_S:g} s: waiting for it; mend: {mend}")
