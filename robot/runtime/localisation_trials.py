"""Localisation trials recorded once: rendered pixels through the real vision chain, telemetry bytes, truth for reports.

The recordings hold what reached the pipeline (batches) and, apart from it, the truth. Evaluation feeds the batches to
fresh pipelines, as often as wanted and in seconds: the motion does not depend on the pose, see `sim.evaluation.wander`.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from robot.core.clock import NS_PER_S
from robot.core.errors import RecordingError
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Localisation, RefereeCode, RefereeCommand, Vec2
from robot.recording.reader import Recording
from robot.recording.run_data import TRUTH_TOPIC
from robot.runtime.challenge import shared_detector
from robot.runtime.input_recording import record_inputs
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot
from sim.evaluation.localisation import TrialTrack


@dataclass(frozen=True, kw_only=True)
class RecordJob:
    """One trial to record; picklable.

    Attributes:
        robot: which robot drives.
        seed: of the trial.
        folder: where `seed-N.mcap` goes; a finished one that is there is kept.
    """

    robot: Robot
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """The recording."""
        return self.folder / f"seed-{self.seed}.mcap"


def record_job(job: RecordJob) -> Path:
    """Drive and record one trial, unless its recording is there already.

    Raises:
        SimulationError: no headless renderer.
        DetectorError: the model is missing.
        RecordingError: the recording cannot be written.
    """
    from sim.evaluation.wander import Wanderer
    from sim.scenarios.localisation import START_S, KidnapSimulation, make_localisation_trial

    if job.path.is_file():
        return job.path
    cv2.setNumThreads(1)
    robot = job.robot
    trial = make_localisation_trial(job.seed, robot.field)
    record_inputs(
        job.path,
        robot,
        shared_detector(robot.config.detection),
        KidnapSimulation(trial, robot.config.body, robot.camera),
        Wanderer(trial.legs),
        run={
            "seed": job.seed,
            "start_s": START_S,
            "kidnap_s": trial.kidnap_s,
            "seed_x_m": trial.seed_in_field_m[0],
            "seed_y_m": trial.seed_in_field_m[1],
        },
    )
    return job.path


def replay_trial(robot: Robot, path: Path, *, seeded: bool) -> TrialTrack:
    """Feed a recorded trial's inputs through a fresh pipeline and note, tick by tick, where it thought to be.

    Args:
        robot: the configuration under test; camera and field should be those of the recording.
        path: of `record_job`.
        seeded: the referee tells the place at STOP, as in stage 3: within 0.5 m, without a heading.

    Raises:
        RecordingError: missing, cut or not a localisation trial.
    """
    recording = Recording(path)
    run = recording.header.run
    if not {"start_s", "kidnap_s", "seed_x_m", "seed_y_m"} <= run.keys():
        raise RecordingError(f"{path} is no localisation trial", hint="record with: blackout evaluate-localisation")
    truth = dict(recording.notes(TRUTH_TOPIC))
    pipeline = Pipeline(robot.config, robot.camera, robot.field)
    seed_in_field_m = (float(run["seed_x_m"]), float(run["seed_y_m"])) if seeded else None
    rows: list[tuple[float, ...]] = []
    covariances, claims = [], []
    for tick in recording.ticks():
        batch = tick.batch
        if seed_in_field_m is not None and batch.referee:
            batch = dataclasses.replace(batch, referee=tuple(_with_seed(r, seed_in_field_m) for r in batch.referee))
        before_s = time.perf_counter()
        state = pipeline.step(batch).world.robot
        step_ms = 1e3 * (time.perf_counter() - before_s)
        note = truth[batch.t_now_ns]
        speed_m_s = Twist2(**note["twist_in_robot"]).speed_m_s()
        true_pose, pose = Pose2(**note["robot"]), state.world_from_robot
        rows.append((batch.t_now_ns / NS_PER_S, *_xyt(true_pose), speed_m_s, *_xyt(pose), step_ms))
        covariances.append(np.array(state.covariance) + 1e-12 * np.eye(3))
        on_field = state.localisation in (Localisation.SEEDED, Localisation.TRACKING)
        claims.append((on_field, state.mirror_ambiguous))
    table, claimed = np.array(rows), np.array(claims, dtype=bool)
    return TrialTrack(
        seed=int(run["seed"]),
        start_s=float(run["start_s"]),
        kidnap_s=float(run["kidnap_s"]),
        t_s=table[:, 0],
        truth=table[:, 1:4],
        speed_m_s=table[:, 4],
        estimate=table[:, 5:8],
        covariance=np.array(covariances),
        on_field=claimed[:, 0],
        ambiguous=claimed[:, 1],
        step_ms=table[:, 8],
    )


def _xyt(pose: Pose2) -> tuple[float, float, float]:
    return pose.x_m, pose.y_m, pose.theta_rad


def _with_seed(command: RefereeCommand, seed_in_field_m: Vec2) -> RefereeCommand:
    if command.code is not RefereeCode.STOP:
        return command
    return dataclasses.replace(command, seed_in_field_m=seed_in_field_m)
