"""The first seconds of a real trial: rendered pixels, shipped detector, firmware core; repeatable bit for bit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from perception.detection.detector import SsdDetector, load_detector
from robot.cli import challenge as verb
from robot.cli.main import main
from robot.core.errors import RecordingError
from robot.core.messages import RefereeCommand
from robot.recording.header import make_header
from robot.recording.reader import Recording
from robot.recording.report import write_report
from robot.recording.writer import Recorder
from robot.runtime import challenge
from robot.runtime.challenge import TrialJob, play_job
from robot.runtime.replay import replay
from robot.runtime.robot_config import Robot, open_robot
from robot.runtime.simulation import TrialOutcome, play_trial
from sim.referee.score import TrialScore
from sim.scenarios.trials import make_trial
from sim.simulation import Simulation

SECONDS = 2.2


class ShortSimulation(Simulation):
    """Ends early, so that the test does not wait for a whole trial."""

    @property
    def finished(self) -> bool:
        return self.now_ns >= SECONDS * 1e9


@pytest.fixture(scope="module")
def robot() -> Robot:
    return open_robot("default")


@pytest.fixture(scope="module")
def detector(robot: Robot) -> SsdDetector:
    return load_detector(robot.config.detection)


def short_trial(robot: Robot, detector: SsdDetector, path: Path | None = None) -> TrialOutcome:
    with ShortSimulation(make_trial(1, 3, robot.field), robot.config.body, robot.camera) as world:
        return play_trial(robot, world, detector) if path is None else record(robot, detector, world, path)


def record(robot: Robot, detector: SsdDetector, world: Simulation, path: Path) -> TrialOutcome:
    header = make_header(
        kind="simulation", robot=robot.config, camera=robot.camera, field_geometry=robot.field, model={}, run={}
    )
    with Recorder(path, header, robot.config.recording) as recorder:
        return play_trial(robot, world, detector, recorder)


def test_a_rendered_trial_repeats_and_replays_bit_for_bit(robot: Robot, detector: SsdDetector, tmp_path: Path) -> None:
    path = tmp_path / "trial.mcap"
    recorded = short_trial(robot, detector, path)
    again = short_trial(robot, detector)
    assert again.command_sha256 == recorded.command_sha256  # recording changes nothing either
    report = replay(path)
    assert report.first is None
    assert report.equal
    assert report.command_sha256 == recorded.command_sha256
    assert report.ticks == recorded.ticks > 200


class EightSeconds(Simulation):
    """Stage 3 without most of the ten seconds of standing still."""

    @property
    def finished(self) -> bool:
        return self.now_ns >= 8e9


def test_stage_3_is_driven_by_lines_alone_and_replays_bit_for_bit(
    robot: Robot, detector: SsdDetector, tmp_path: Path
) -> None:
    setup, path = make_trial(3, 2, robot.field), tmp_path / "trial.mcap"
    with EightSeconds(setup, robot.config.body, robot.camera) as world:
        record(robot, detector, world, path)
        truth = world.truth()
    start, target = setup.robot_start, setup.target_in_field_m
    assert target is not None
    assert math.dist((start.x_m, start.y_m), target) > 1.0
    assert math.dist((truth.robot.x_m, truth.robot.y_m), target) < 0.06
    assert truth.twist_in_robot.speed_m_s() < 0.02
    assert replay(path).equal
    page = write_report(Recording(path), tmp_path).read_text(encoding="utf-8")
    assert "m from the target" in page
    assert "true ball" not in page


def test_only_what_a_robot_has_reaches_the_pipeline(robot: Robot, detector: SsdDetector, tmp_path: Path) -> None:
    path = tmp_path / "trial.mcap"
    short_trial(robot, detector, path)
    recording = Recording(path)
    latency_ns = round(robot.config.vision.simulated_latency_ms * 1e6)
    frames = {f.t_capture_ns: f for f in recording.frames()}
    ages = []
    for tick in recording.ticks():
        batch = tick.batch
        for part in (*batch.detections, *batch.serial, *batch.referee):
            assert part.t_receive_ns <= batch.t_now_ns, "from the future"
            if not isinstance(part, RefereeCommand):
                assert part.t_capture_ns <= part.t_receive_ns
        for seen in batch.detections:
            ages.append(batch.t_now_ns - seen.t_capture_ns)
            if seen.t_capture_ns in frames:
                assert seen.t_receive_ns == frames[seen.t_capture_ns].t_receive_ns + latency_ns
    assert len(ages) > 0.8 * 30 * (SECONDS - 0.2)
    assert min(ages) > latency_ns  # a camera's own latency comes on top
    assert len(list(recording.notes("truth/state"))) == len(list(recording.ticks()))


def score(seed: int, points: float) -> TrialScore:
    return TrialScore(
        stage=1, seed=seed, points=points, max_points=3.0, success=points == 3.0, time_s=12.5, events=((1.0, "moved"),)
    )


def outcome(seed: int, points: float = 3.0) -> TrialOutcome:
    return TrialOutcome(
        score=score(seed, points), command_sha256="ab", ticks=10, sim_s=13.0, wall_s=20.0, step_median_ms=0.5
    )


def test_the_challenge_verb_counts_writes_and_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(play: Any, jobs: list[TrialJob], workers: int) -> Any:
        for job in reversed(jobs):  # workers finish in any order
            yield outcome(job.seed, 3.0 if job.seed != 11 else 1.0)

    monkeypatch.setattr(verb, "run_trials", fake)
    out = tmp_path / "deep" / "r.json"
    flags = ["challenge", "--trials", "4", "--seed", "10", "--json", str(out)]
    assert main(flags) == 0
    result = json.loads(out.read_text())
    assert [t["seed"] for t in result["trials"]] == [10, 11, 12, 13]
    assert result["success_rate"] == 0.75
    assert result["sim_s"] == 52.0
    assert result["trials"][1] | {"points": 1.0, "success": False, "events": [[1.0, "moved"]]} == result["trials"][1]
    assert {"seed", "points", "max_points", "success", "time_s", "events"} <= set(result["trials"][0])
    assert "seed 11: 1 of 3 points" in capsys.readouterr().out
    assert main([*flags, "--require", "0.9"]) == 1
    assert main(["challenge", "--trials", "0"]) == 2


@pytest.mark.parametrize(("end", "code"), [(KeyboardInterrupt(), 130), (RecordingError("the disk is full"), 1)])
def test_trials_that_were_played_are_not_lost_when_the_rest_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: BaseException,
    code: int,
) -> None:
    def fake(play: Any, jobs: list[TrialJob], workers: int) -> Any:
        yield from (outcome(job.seed) for job in jobs[:2])
        raise end

    monkeypatch.setattr(verb, "run_trials", fake)
    out = tmp_path / "r.json"
    assert main(["challenge", "--trials", "4", "--seed", "10", "--json", str(out)]) == code
    assert [t["seed"] for t in json.loads(out.read_text())["trials"]] == [10, 11]
    said = capsys.readouterr()
    assert "ended after 2 of 4 trials" in said.err
    assert "stage 1: 2 trials" in said.out


def test_workers_get_picklable_jobs_and_give_the_same_bytes(
    robot: Robot, detector: SsdDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a fresh process would compute: the job survives pickling, and a loaded detector changes nothing."""
    import pickle

    monkeypatch.setattr("sim.simulation.Simulation", ShortSimulation)
    job = pickle.loads(pickle.dumps(TrialJob(robot=robot, stage=1, seed=3)))
    assert play_job(job).command_sha256 == short_trial(robot, detector).command_sha256
    assert challenge.summary(1, [], 0.0)["success_rate"] == 0.0
