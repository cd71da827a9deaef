"""Trials of ball and robot tracks recorded once, as `robot.runtime.localisation_trials` records those of the pose.

The robot drives by a script that knows nothing, so the recorded inputs do not depend on the estimator: they can be
judged again, in seconds, after it has changed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2

from perception.camera.model import CameraModel
from perception.detection.detector import SsdDetector
from perception.estimation.tracks.sighting import HEIGHT_M
from perception.estimation.tracks.track import Track
from perception.estimation.tracks.visibility import CameraVisibility, hidden, occluder
from robot.core.clock import NS_PER_S
from robot.core.errors import RecordingError
from robot.core.field import MAX_ROBOT_RADIUS_M
from robot.core.geometry import Pose2
from robot.core.messages import FieldObservation, ObjectClass, TickBatch, Vec2, Verdict, WorldModel
from robot.recording.codec import from_json
from robot.recording.reader import Recording
from robot.recording.run_data import TRUTH_TOPIC
from robot.runtime.challenge import shared_detector
from robot.runtime.input_recording import record_inputs
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot

if TYPE_CHECKING:  # the simulator is an extra
    from sim.evaluation.tracks import BallScore, RobotScore, TruthAt, TruthLine

IN_VIEW_M = 3.0


@dataclass(frozen=True, kw_only=True)
class TrackJob:
    """One trial to record; picklable.

    Attributes:
        robot: which robot drives.
        kind: of `sim.scenarios.tracks.KINDS`.
        seed: of the trial.
        folder: where `KIND-SEED.mcap` goes; a finished one that is there is kept.
    """

    robot: Robot
    kind: str
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """The recording."""
        return self.folder / f"{self.kind}-{self.seed}.mcap"


def record_track_trial(job: TrackJob, detector: SsdDetector | None = None) -> Path:
    """Drive and record one trial, unless its recording is there already.

    Raises:
        SimulationError: unknown kind, or no headless renderer.
        DetectorError: the model is missing.
        RecordingError: the recording cannot be written.
    """
    from sim.evaluation.wander import Wanderer
    from sim.scenarios.tracks import TrackSimulation, make_track_trial

    if job.path.is_file():
        return job.path
    cv2.setNumThreads(1)
    robot = job.robot
    detector = detector or shared_detector(robot.config.detection)
    trial = make_track_trial(job.kind, job.seed, robot.field)
    record_inputs(
        job.path,
        robot,
        detector,
        TrackSimulation(trial, robot.config.body, robot.camera),
        Wanderer(trial.legs),
        run={"kind": job.kind, "seed": job.seed},
    )
    return job.path


@dataclass(frozen=True)
class TrackResult:
    """What the estimator of today makes of one recorded trial."""

    kind: str
    seed: int
    ball: BallScore
    robots: RobotScore
    step_ms: float
    """Median time of `Pipeline.step`."""

    trace: tuple[tuple[float, TruthAt, WorldModel], ...]
    """Tick by tick, for pictures."""


def judge_track_trial(path: Path, robot: Robot) -> TrackResult:
    """Feed a recording of `record_track_trial` to a fresh pipeline and judge its tracks by the truth.

    Raises:
        RecordingError: missing, cut, foreign, or recorded with another protocol.
        SimulationError: the kind is unknown.
    """
    from sim.evaluation.tracks import BallScore, BoxJudge, RobotScore, Thing, TruthLine
    from sim.evaluation.wander import Wanderer
    from sim.scenarios.tracks import make_track_trial

    recording = Recording(path)
    kind, seed = recording.header.run["kind"], int(recording.header.run["seed"])
    trial = make_track_trial(kind, seed, robot.field)
    truths = [truth_from(t_ns, note) for t_ns, note in recording.notes(TRUTH_TOPIC)]
    line, boxes = TruthLine(truths), BoxJudge(robot.camera, trial.setup.camera, robot.field)
    ball, robots = BallScore(kind, seed), RobotScore()
    pipeline = Pipeline(robot.config, robot.camera, robot.field, player=Wanderer(trial.legs))
    visibility = CameraVisibility(robot.camera)
    outside: Counter[Track] = Counter()
    ball_boxes = 0

    def watch(observation: FieldObservation, verdict: Verdict, track: Track | None) -> None:
        nonlocal ball_boxes
        if observation.object_class is not ObjectClass.BALL or track is None or verdict is not Verdict.OK:
            return
        thing = boxes.judge(observation.box_px, line.at(observation.t_capture_ns))
        ball_boxes += thing is Thing.BALL
        if thing is Thing.OUTSIDE:
            outside[track] += 1
        else:
            ball.add_box(thing, track.confirmed)

    pipeline.estimator.spectator = watch
    trace, steps_s = [], []
    for (_, _, data), truth in zip(recording.messages("batch"), truths, strict=True):
        batch = from_json(TickBatch, data)
        for detections in batch.detections:
            then = line.at(detections.t_capture_ns)
            ball.detected.update(
                boxes.judge(d.box_px, then).name.lower()
                for d in detections.detections
                if d.object_class is ObjectClass.BALL
            )
        before = time.perf_counter()
        world = pipeline.step(batch).world
        steps_s.append(time.perf_counter() - before)
        for track in [t for t in outside if t.confirmed]:
            # Also what it was founded on before it counted as a ball.
            for _ in range(outside.pop(track)):
                ball.add_box(Thing.OUTSIDE, confirmed=True)
        ball.add_tick(world, truth, known=ball_boxes >= 2)
        velocities = [_velocity(line, truth.t_ns, k) for k in range(len(truth.others))]
        robots.add_tick(world, truth, velocities, robots_in_view(truth, visibility, robot.camera))
        trace.append((truth.t_ns / NS_PER_S, truth, world))
    if not any(world.robot.valid for _, _, world in trace):
        raise RecordingError(
            f"{path}: not one telemetry frame in it can be read: the protocol has changed since",
            hint=f"delete {path.parent} and record again",
        )
    for count in outside.values():
        for _ in range(count):
            ball.add_box(Thing.OUTSIDE, confirmed=False)
    return TrackResult(kind, seed, ball, robots, 1e3 * median(steps_s), tuple(trace))


def truth_from(t_ns: int, note: Mapping[str, Any]) -> TruthAt:
    """Return the truth of a recorded note."""
    from sim.evaluation.tracks import TruthAt

    ball, velocity, tilt = note["ball_in_field_m"], note["ball_velocity_m_s"], note["tilt_rad"]
    return TruthAt(
        t_ns,
        Pose2(**note["robot"]),
        (ball[0], ball[1]) if ball is not None else None,
        (velocity[0], velocity[1]),
        (tilt[0], tilt[1]),
        note["twist_in_robot"]["omega_rad_s"],
        tuple(Pose2(**other) for other in note["others"]),
    )


def robots_in_view(truth: TruthAt, visibility: CameraVisibility, camera: CameraModel) -> list[bool]:
    """Say of each other robot whether the camera ought to see it: inside the picture, near, not behind another."""
    places = [truth.robot.inverse().transform((o.x_m, o.y_m)) for o in truth.others]
    mount = (camera.mounting.x_m, camera.mounting.y_m)
    seen = []
    for k, place in enumerate(places):
        others = [occluder(p, MAX_ROBOT_RADIUS_M, mount) for i, p in enumerate(places) if i != k]
        range_m = visibility.range_if_visible(place, HEIGHT_M[ObjectClass.ROBOT])
        near = range_m is not None and range_m < IN_VIEW_M
        seen.append(near and not hidden(place, MAX_ROBOT_RADIUS_M, mount, others))
    return seen


def _velocity(line: TruthLine, t_ns: int, k: int) -> Vec2:
    before, after = line.at(t_ns - 20_000_000).others[k], line.at(t_ns).others[k]
    return (after.x_m - before.x_m) / 0.02, (after.y_m - before.y_m) / 0.02
