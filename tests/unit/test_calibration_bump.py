"""A bumped camera is told with its size; a camera that sits as it should is left in peace, whatever the robot does."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from perception.calibration import bump
from perception.calibration.bump import BumpConfig, BumpMonitor, BumpReport, mended
from perception.calibration.line_attitude import LineView
from perception.calibration.yaw_step import YawStep, YawSteps
from perception.camera.model import CameraModel
from robot.core import messages as m
from robot.core.geometry import Pose2
from robot.recording.codec import to_json
from robot.runtime.camera_watch import CODE
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import open_robot
from sim.evaluation.calibration import bump_trial, turn_trial
from tests.runtime_bench import MS, BenchWorld
from tests.seen_lines import C922, lines_seen, mounted

RATE_HZ = 15.0


def watch(
    true_of,
    seconds: float = 16.0,
    *,
    nods: bool = False,
    drift_rad_s: float = 0.0,
    monitor: BumpMonitor | None = None,
    start_s: float = 0.0,
) -> list[tuple[float, BumpReport]]:
    """Turn and drift about at the edge of the defense area; `true_of(t)` is the camera as it really is."""
    monitor = monitor or BumpMonitor(BumpConfig(), C922)
    rng = np.random.default_rng(7)
    reports = []
    for k in range(int(seconds * RATE_HZ)):
        t = start_s + k / RATE_HZ
        heading = 0.8 * t
        pose = Pose2(2.6 + 0.3 * math.sin(0.4 * t), 0.5, heading)
        # A body that nods by up to 0.7 degrees under acceleration; the IMU knows half of it.
        nod = 0.012 * math.sin(9.0 * t) if nods else 0.0
        segments, _ = lines_seen(true_of(t), pose, rng, 0.5, (nod, 0.5 * nod))
        view = LineView(
            t_ns=int(t * 1e9),
            segments_px=segments,
            odom_from_robot=Pose2(0.0, 0.0, heading + drift_rad_s * t),
            tilt_rad=(0.5 * nod, 0.25 * nod),
            tilt_sigma_rad=0.5 * abs(nod) + (0.003 if nods else 0.0),
            turn_rate_rad_s=0.8,
        )
        report = monitor.on_view(view)
        if report is not None:
            reports.append((t, report))
    return reports


def knocked(at_s: float, **degrees: float):
    bent = mounted(**degrees)
    return lambda t: bent if t >= at_s else C922


@pytest.mark.parametrize(
    ("pitch_deg", "roll_deg"), [(1.0, 0.0), (0.0, -1.0), (-2.0, 0.0), (0.0, 2.0), (3.0, 0.0), (-2.0, 2.0)]
)
def test_a_tilt_is_told_with_its_size(pitch_deg, roll_deg):
    reports = watch(knocked(6.0, pitch_deg=pitch_deg, roll_deg=roll_deg))
    assert not any(report.bumped for t, report in reports if t < 6.0)
    told = next(t for t, report in reports if report.bumped)
    assert told < 6.0 + 5.0
    last = reports[-1][1]
    assert last.bumped
    assert math.degrees(last.pitch_rad) == pytest.approx(pitch_deg, abs=0.3)
    assert math.degrees(last.roll_rad) == pytest.approx(roll_deg, abs=0.3)
    assert last.yaw_jump_rad == 0.0
    assert f"pitch {math.degrees(last.pitch_rad):+.1f}" in last.text()
    now = mended(C922, last).mounting
    assert now.pitch_rad == pytest.approx(mounted(pitch_deg, roll_deg).mounting.pitch_rad, abs=0.006)


@pytest.mark.parametrize("yaw_deg", [3.0, -4.0, 6.0])
def test_a_sideways_knock_is_told_as_yaw(yaw_deg):
    reports = watch(knocked(8.0, yaw_deg=yaw_deg), 20.0)
    assert not any(report.bumped for t, report in reports if t < 8.0)
    assert next(t for t, report in reports if report.bumped) < 8.0 + 4.0
    last = reports[-1][1]
    assert last.bumped
    assert math.degrees(last.yaw_jump_rad) == pytest.approx(yaw_deg, abs=0.7)
    assert abs(math.degrees(last.pitch_rad)) < 0.4
    assert mended(C922, last).mounting.yaw_rad == pytest.approx(mounted(yaw_deg=yaw_deg).mounting.yaw_rad, abs=0.013)


def test_a_yaw_that_is_undone_ends():
    def true_of(t: float) -> CameraModel:
        return mounted(yaw_deg=4.0) if 6.0 <= t < 14.0 else C922

    reports = watch(true_of, 22.0)
    assert any(report.bumped for t, report in reports if t < 12.0)
    assert not reports[-1][1].bumped
    assert abs(math.degrees(reports[-1][1].yaw_jump_rad)) < 0.7


def test_a_tilt_with_yaw_is_told_as_tilt_and_never_as_more_yaw():
    reports = watch(knocked(6.0, pitch_deg=2.0, roll_deg=-1.0, yaw_deg=3.0), 20.0)
    last = reports[-1][1]
    assert last.bumped
    assert math.degrees(last.pitch_rad) == pytest.approx(2.0, abs=0.3)
    assert abs(math.degrees(last.yaw_jump_rad)) < 3.7


@pytest.mark.parametrize("breaks", [0, 1])
def test_a_heading_that_nobody_knows_is_no_yaw(breaks):
    """A silence of the telemetry that nothing bridges looks like a knock; so it must be known as one."""
    monitor = BumpMonitor(BumpConfig(), C922)
    rng = np.random.default_rng(7)
    for k in range(int(16.0 * RATE_HZ)):
        t = k / RATE_HZ
        late = t > 8.0
        segments, _ = lines_seen(C922, Pose2(2.6, 0.5, 0.8 * t), rng, 0.5)
        monitor.on_view(
            LineView(
                t_ns=int(t * 1e9),
                segments_px=segments,
                odom_from_robot=Pose2(0.0, 0.0, 0.8 * t + (0.09 if late else 0.0)),
                turn_rate_rad_s=0.8,
                breaks=breaks if late else 0,
            )
        )
    assert monitor.report is not None
    assert monitor.report.bumped == (breaks == 0)


def test_nothing_is_said_of_what_is_seen_from_one_place():
    """Learned from a robot that saw an arc and a seam at the start: a tilt of 6 degrees, twice."""
    monitor = BumpMonitor(BumpConfig(), C922)
    rng = np.random.default_rng(7)

    def look(start_s: float, rate_rad_s: float) -> list[BumpReport]:
        reports = []
        for k in range(int(6.0 * RATE_HZ)):
            t, heading = start_s + k / RATE_HZ, 0.3 + rate_rad_s * k / RATE_HZ
            segments, _ = lines_seen(mounted(2.0), Pose2(2.6, 0.5, heading), rng, 0.5)
            odom = Pose2(0.0, 0.0, heading)
            reports.append(monitor.on_view(LineView(t_ns=int(t * 1e9), segments_px=segments, odom_from_robot=odom)))
        return [report for report in reports if report is not None]

    assert not look(0.0, 0.0)
    assert look(6.0, 0.3)[-1].bumped


def step_of(t_s: float = 5.0, yaw_deg: float = 3.0, sigma_deg: float = 0.8, gain: float = 9.0) -> YawStep:
    yaw, sigma = math.radians(yaw_deg), math.radians(sigma_deg)
    return YawStep(t_ns=round(t_s * 1e9), yaw_rad=yaw, sigma_rad=sigma, gain=gain)


@pytest.mark.parametrize(
    ("second", "believed"),
    [
        (step_of(5.2), True),
        (step_of(5.2, gain=3.5), True),  # the other one is sure enough
        (step_of(5.2, gain=2.0), False),
        (step_of(6.0), False),  # another moment
        (step_of(5.2, yaw_deg=-3.0), False),
        (step_of(5.2, sigma_deg=3.0), False),
        (None, False),
    ],
)
def test_a_jump_is_believed_when_two_checks_find_it(second, believed):
    steps = YawSteps(BumpConfig().yaw)
    assert not steps.offer(step_of())
    assert steps.offer(second) == believed
    assert steps.turned == believed


def test_a_jump_is_taken_back_when_a_tilt_explains_it():
    steps = YawSteps(BumpConfig().yaw)
    for t_s in (5.0, 5.2, 30.0, 30.2):
        steps.offer(step_of(t_s, 4.0))
    assert math.degrees(steps.yaw_rad) == pytest.approx(8.0)
    steps.withdraw(round(28.0 * 1e9))
    assert math.degrees(steps.yaw_rad) == pytest.approx(4.0)


def test_after_a_jump_small_ones_are_the_gyros():
    steps = YawSteps(BumpConfig().yaw)
    for _ in range(2):
        steps.offer(step_of(5.0, 6.0))
    for _ in range(3):
        assert not steps.offer(step_of(9.0, -3.0, 0.5, 20.0))
    assert math.degrees(steps.yaw_rad) == pytest.approx(6.0)
    for _ in range(2):
        steps.offer(step_of(12.0, -6.0, 0.5, 20.0))
    assert not steps.turned


def test_a_camera_that_was_bumped_before_the_start_is_told_at_the_start():
    reports = watch(lambda _: mounted(1.5, 0.0), 8.0)
    assert reports[-1][1].bumped
    assert next(t for t, report in reports if report.bumped) < 5.0


@pytest.mark.parametrize("drift", [0.0, 0.004])
def test_nods_and_gyro_drift_are_no_bump(drift):
    reports = watch(lambda _: mounted(0.2, -0.2), 40.0, nods=True, drift_rad_s=drift)
    assert len(reports) > 15
    assert not any(report.bumped for _, report in reports)


def test_it_ends_when_the_camera_is_put_right_again():
    def true_of(t: float) -> CameraModel:
        return mounted(2.0) if 5.0 <= t < 13.0 else C922

    reports = watch(true_of, 24.0)
    assert any(report.bumped for _, report in reports)
    assert not reports[-1][1].bumped


def test_without_lines_or_with_one_nothing_is_said():
    monitor = BumpMonitor(BumpConfig(), C922)
    for k in range(200):
        t_ns = int(k * 1e9 / 15)
        assert monitor.on_view(LineView(t_ns=t_ns, segments_px=())) is None
        assert monitor.on_view(LineView(t_ns=t_ns + 1, segments_px=((100.0, 300.0, 500.0, 305.0),))) is None
    assert monitor.report is None


def test_a_clock_that_jumps_back_starts_the_watch_anew():
    monitor = BumpMonitor(BumpConfig(), C922)
    assert watch(lambda _: C922, 6.0, monitor=monitor, start_s=100.0)
    again = watch(lambda _: C922, 8.0, monitor=monitor, start_s=0.0)
    assert again
    assert not any(report.bumped for _, report in again)


def test_lines_that_another_shift_explains_as_well_say_nothing(monkeypatch):
    """Learned from a clean drive in which a few lines fitted a tilt of 6 degrees nearly as well: a false alarm."""
    real = bump.fit_attitude

    def torn(*args):
        fit = real(*args)
        return None if fit is None else dataclasses.replace(fit, margin=3.0)

    assert watch(knocked(0.0, pitch_deg=2.0), 6.0)
    monkeypatch.setattr(bump, "fit_attitude", torn)
    assert not watch(knocked(0.0, pitch_deg=2.0), 6.0)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="positive"):
        BumpConfig(window_s=0.0)


# --- in the pipeline --------------------------------------------------------------------------------------------


def play(knock_s: float, true: CameraModel, seconds: float = 14.0, **config) -> list[m.TickResult]:
    """The bench world spins in search of a ball that is not there, at the corner of a defense area."""
    robot = open_robot("default")
    settings = dataclasses.replace(robot.config, **config)
    world = BenchWorld(robot.camera, ball_m=(50.0, 50.0), duration_s=seconds)
    pipeline = Pipeline(settings, robot.camera, robot.field)
    rng = np.random.default_rng(3)
    field_from_bench = Pose2(2.6, 0.5, 0.2)
    results, seq = [], 0
    for tick in range(int(seconds * 100)):
        now_ns = tick * 10 * MS
        world.advance_to_ns(now_ns)
        seen = []
        for frame in world.frames():
            camera = true if frame.t_capture_ns * 1e-9 >= knock_s else robot.camera
            segments, points = lines_seen(camera, field_from_bench @ world.pose, rng)
            if seq == 5:
                segments = ((math.nan, 1.0, 2.0, 3.0), *segments)  # bad data is no exception
            seen.append(
                m.DetectionBatch(
                    seq=seq,
                    t_capture_ns=frame.t_capture_ns,
                    t_receive_ns=frame.t_receive_ns,
                    valid=True,
                    frame_seq=frame.seq,
                    image_size_px=(640, 480),
                    line_segments_px=segments,
                    line_points_px=points,
                )
            )
            seq += 1
        batch = m.TickBatch(
            tick=tick,
            t_now_ns=now_ns,
            detections=tuple(seen),
            serial=tuple(world.serial()),
            referee=tuple(world.referee()),
        )
        result = pipeline.step(batch)
        world.write_serial(result.bytes_out)
        results.append(result)
    return results


def faults(results: list[m.TickResult]) -> list[tuple[float, m.FaultEvent]]:
    return [(r.t_now_ns / 1e9, fault) for r in results for fault in r.faults if fault.code == CODE]


def test_the_pipeline_reports_a_bump_as_a_fault_and_plays_on():
    results = play(1.0, mounted(2.0, 0.0))
    told = faults(results)
    assert told
    t_s, fault = told[0]
    assert 1.0 < t_s < 7.0
    assert fault.source == "camera"
    assert "blackout calibrate" in fault.detail
    last = told[-1][1].detail
    assert float(last.split("pitch ")[1].split()[0]) == pytest.approx(2.0, abs=0.5)
    assert results[-1].mode is m.Mode.ACTIVE
    to_json(results[-1])  # it is recorded like any other


def test_a_good_camera_and_a_watch_that_is_off_say_nothing():
    assert not faults(play(0.0, C922))
    assert not faults(play(0.0, mounted(3.0), seconds=8.0, bump=BumpConfig(enabled=False)))


# --- rendered ---------------------------------------------------------------------------------------------------


def test_a_rendered_knock_is_told_with_its_size():
    trial = bump_trial(103, C922, open_robot("default").field, np.radians((2.0, 0.0, 0.0)), seconds=12.0)
    assert not trial.false_alarm
    assert trial.told_s is not None
    assert np.degrees(np.abs(trial.error_rad()[:2])).max() < 0.4


def test_a_rendered_yaw_is_told_with_its_size():
    trial = bump_trial(601, C922, open_robot("default").field, np.radians((0.0, 0.0, 5.0)), seconds=14.0)
    assert not trial.false_alarm
    assert trial.told_s is not None
    assert trial.told_s < trial.knock_s + 4.0
    assert abs(np.degrees(trial.error_rad()[2])) < 1.5


def test_a_rendered_turn_finds_a_wrong_mounting():
    wrong = np.array((0.005, math.radians(2.0), math.radians(1.0), math.radians(2.0)))
    trial = turn_trial(2, C922, open_robot("default").field, wrong)
    assert trial.fit is not None, trial.reason
    assert abs(trial.left[0]) < 0.002
    assert np.degrees(np.abs(trial.left[1:3])).max() < 0.15
    assert math.degrees(abs(trial.left[3])) < 2.0
    assert (np.abs(trial.left) < 3.0 * trial.sigmas).all()
