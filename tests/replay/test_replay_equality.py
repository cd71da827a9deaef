"""Replay is bit-equal, and it can say no: a changed gain, a changed byte, a missing tick are found and named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from robot.cli.main import main
from robot.core import messages as m
from robot.core.errors import ConfigError, DataError, RecordingError
from robot.recording.header import make_header
from robot.recording.reader import Recording
from robot.recording.writer import Recorder, RecordingConfig
from robot.runtime.line_views import line_views
from robot.runtime.pipeline import Pipeline
from robot.runtime.replay import replay, robot_of
from robot.runtime.robot_config import Robot, open_robot
from robot.runtime.simulation import TrialOutcome, play_trial
from tests.runtime_bench import BenchDetector, BenchWorld


class SpyRecorder(Recorder):
    """Can drop a tick, spoil a byte, and notes the order of calls."""

    drop: tuple[int, ...] = ()
    drop_batch: tuple[int, ...] = ()
    drop_result: tuple[int, ...] = ()
    spoil: int | None = None

    def __init__(self, path: Path, robot: Robot) -> None:
        self.calls: list[tuple[str, int]] = []
        header = make_header(
            kind="simulation",
            robot=robot.config,
            camera=robot.camera,
            field_geometry=robot.field,
            model={"name": "bench"},
            run={"stage": 1, "seed": 0},
        )
        super().__init__(path, header, RecordingConfig(frame_rate_hz=2.0))

    def batch(self, batch: m.TickBatch) -> None:
        self.calls.append(("batch", batch.tick))
        if batch.tick == self.spoil and batch.serial:
            first = batch.serial[0]
            data = bytes([first.data[0] ^ 0xFF]) + first.data[1:]
            spoilt = m.SerialChunk(
                seq=first.seq, t_capture_ns=first.t_capture_ns, t_receive_ns=first.t_receive_ns, valid=True, data=data
            )
            batch = m.TickBatch(
                tick=batch.tick,
                t_now_ns=batch.t_now_ns,
                detections=batch.detections,
                serial=(spoilt, *batch.serial[1:]),
                referee=batch.referee,
            )
        if batch.tick not in self.drop + self.drop_batch:
            super().batch(batch)

    def result(self, result: m.TickResult) -> None:
        self.calls.append(("result", result.tick))
        if result.tick not in self.drop + self.drop_result:
            super().result(result)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return open_robot("default", {"vision.scan_carpet": False})


def record(path: Path, robot: Robot, **spy: Any) -> tuple[TrialOutcome, SpyRecorder]:
    world = BenchWorld(robot.camera, duration_s=4.0)
    recorder = SpyRecorder(path, robot)
    for name, value in spy.items():
        setattr(recorder, name, value)
    with recorder:
        outcome = play_trial(robot, world, BenchDetector(world), recorder)  # type: ignore[arg-type]
    return outcome, recorder


@pytest.fixture(scope="module")
def recorded(robot: Robot, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrialOutcome]:
    path = tmp_path_factory.mktemp("run") / "trial.mcap"
    outcome, _ = record(path, robot)
    return path, outcome


def test_a_recorded_trial_replays_bit_equal(recorded: tuple[Path, TrialOutcome]) -> None:
    path, outcome = recorded
    report = replay(path)
    assert report.first is None
    assert report.equal
    assert report.ticks == outcome.ticks == 401
    assert report.command_sha256 == outcome.command_sha256


def test_the_same_trial_twice_gives_the_same_bytes(robot: Robot, tmp_path: Path, recorded: Any) -> None:
    again, _ = record(tmp_path / "again.mcap", robot)
    assert again.command_sha256 == recorded[1].command_sha256


def test_a_batch_is_recorded_before_it_is_used(robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, spy = record(tmp_path / "order.mcap", robot)
    assert spy.calls == [(what, tick) for tick in range(401) for what in ("batch", "result")]

    def crash(self: Pipeline, batch: m.TickBatch) -> m.TickResult:
        raise RuntimeError("step died")

    monkeypatch.setattr(Pipeline, "step", crash)
    path = tmp_path / "crash.mcap"
    with pytest.raises(RuntimeError, match="step died"):
        record(path, robot)
    ticks = list(Recording(path).ticks())
    assert [(t.batch.tick, t.result_json) for t in ticks] == [(0, None)]  # the fatal input is there to be studied


def test_a_changed_gain_is_caught_and_named(recorded: tuple[Path, TrialOutcome]) -> None:
    report = replay(recorded[0], overrides={"control.motion.max_accel_m_s2": 1.0})
    assert not report.equal
    assert report.first is not None
    assert report.first.tick >= 30  # nothing moved before FORCE START
    assert report.first.path.startswith(("target.", "command."))
    assert report.differing > 10


def test_a_changed_input_byte_is_caught(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.mcap"
    record(path, robot, spoil=100)
    report = replay(path)
    assert report.first is not None
    assert report.first.tick == 100


def test_a_dropped_tick_is_reported_not_hidden(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / "gap.mcap"
    record(path, robot, drop=(7, 8))
    report = replay(path)
    assert report.missing == [7, 8]
    assert not report.equal


@pytest.mark.parametrize(
    ("drop_batch", "drop_result", "missing"),
    [
        ((), (50, 51, 399), [50, 51, 399]),  # lost results: nobody knows whether they were equal
        ((101,), (100,), [100, 101]),  # batch 100 is not to be paired with result 101
        ((0,), (), [0]),
        ((400,), (), [400]),
        ((60,), (61,), [60, 61]),
    ],
)
def test_a_dropped_batch_or_result_is_missing_wherever_it_was(
    robot: Robot,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    drop_batch: tuple[int, ...],
    drop_result: tuple[int, ...],
    missing: list[int],
) -> None:
    path = tmp_path / "gap.mcap"
    record(path, robot, drop_batch=drop_batch, drop_result=drop_result)
    report = replay(path)
    assert report.missing == missing
    assert report.unfinished == 0
    assert not report.equal
    assert report.first is None or not report.first.path.startswith("tick")
    assert main(["replay", str(path)]) == 1
    told = capsys.readouterr().out
    assert "NOT COMPARABLE" in told
    assert "equal, bit" not in told
    kept = {t.batch.tick: t.result_json for t in Recording(path).ticks()}
    assert all(text is None or json.loads(text)["tick"] == tick for tick, text in kept.items())


def test_a_result_is_unfinished_only_at_the_end(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / "end.mcap"
    record(path, robot, drop_result=(400,))
    report = replay(path)
    assert (report.unfinished, report.missing, report.equal) == (1, [], True)


def test_what_the_recorder_says_it_dropped_at_the_end_is_no_equality(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / "end.mcap"
    world, recorder = BenchWorld(robot.camera, duration_s=1.0), SpyRecorder(path, robot)
    recorder.drop = tuple(range(80, 200))
    recorder.counts.update({"dropped_batch": 21, "dropped_result": 21})
    with recorder:
        play_trial(robot, world, BenchDetector(world), recorder)  # type: ignore[arg-type]
    report = replay(path)
    assert (report.ticks, report.missing, report.dropped, report.equal) == (80, [], 42, False)


def test_ticks_that_do_not_rise_are_no_run(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / "two.mcap"
    with SpyRecorder(path, robot) as out:
        for tick in (0, 1, 1):
            out.batch(m.TickBatch(tick=tick, t_now_ns=tick))
    with pytest.raises(RecordingError, match="batch of tick 1 comes after tick 1"):
        list(Recording(path).ticks())


def test_the_verb_says_equal_or_different(recorded: tuple[Path, Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(recorded[0])
    assert main(["replay", path]) == 0
    assert "equal, bit for bit" in capsys.readouterr().out
    assert main(["replay", path, "--override", "control.motion.max_accel_m_s2=1.0"]) == 1
    assert "first at tick" in capsys.readouterr().out
    assert main(["replay", path, "--override", "control.motion.max_acel=1"]) == 2
    assert "max_acel" in capsys.readouterr().err
    assert main(["replay", str(recorded[0].parent / "none.mcap")]) == 1
    assert "no such recording" in capsys.readouterr().err


def test_lines_are_not_looked_for_with_the_file_of_another_camera(recorded: tuple[Path, Any], robot: Robot) -> None:
    lens = dataclasses.replace(robot.camera.intrinsics, width_px=320, height_px=240, cx=160.0, cy=120.0)
    other = dataclasses.replace(robot.camera, intrinsics=lens)
    with pytest.raises(DataError, match="are 640x480, but the camera file is for 320x240") as caught:
        list(line_views(Recording(recorded[0]), robot, other))
    assert "give the camera file" in caught.value.hint
    assert list(line_views(Recording(recorded[0]), robot, robot.camera))


def test_an_override_must_name_something(recorded: tuple[Path, Any]) -> None:
    with pytest.raises(ConfigError, match="names no value"):
        robot_of(Recording(recorded[0]), {"control.nothing": 1})


def test_the_report_is_one_file_without_outside_assets(recorded: tuple[Path, Any], tmp_path: Path) -> None:
    assert main(["report", str(recorded[0]), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("<svg") >= 4
    assert "data:image/jpeg;base64" in text
    assert "true path" in text
    assert "approach" in text
    assert json.dumps("default") in text.replace("&quot;", '"')
