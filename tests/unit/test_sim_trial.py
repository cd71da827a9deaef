"""Whole trials: bit for bit by seed, nothing of the truth in what the robot gets, the firmware in the loop."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link, LinkState
from perception.camera.model import load_camera
from robot.core.body import RobotBody
from robot.core.errors import ConfigError, SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import MotionCommand, RefereeCode, TelemetryFrame
from sim.evaluation.trials import run_trials
from sim.scenarios.trials import APART_M, make_trial
from sim.setup import TrialSetup
from sim.simulation import Simulation

BODY, CAMERA = RobotBody(), load_camera("c922_640x480")


def drive(simulation: Simulation, until_s: float, twist: Twist2, dribbler_rad_s: float = 0.0):  # type: ignore[no-untyped-def]
    """Drive through the real link; returns the link, the last telemetry and a digest of all that came out."""
    link, digest = Link(LinkConfig()), hashlib.sha256()
    link.request_arm(True)
    telemetry: TelemetryFrame | None = None
    for tick in range(round(until_s * 100)):
        now = tick * 10_000_000
        simulation.advance_to_ns(now)
        for frame in simulation.frames():
            digest.update(
                frame.image_bgr.tobytes() + repr((frame.seq, frame.t_capture_ns, frame.t_receive_ns)).encode()
            )
        for chunk in simulation.serial():
            digest.update(chunk.data + repr(chunk.t_receive_ns).encode())
            for telemetry_frame in link.on_bytes(chunk.data, chunk.t_receive_ns):
                telemetry = telemetry_frame
        command = MotionCommand(
            seq=tick, t_capture_ns=now, t_receive_ns=now, valid=True, twist_in_robot=twist,
            dribbler_rad_s=dribbler_rad_s, stop=False,
        )  # fmt: skip
        simulation.write_serial(link.on_tick(now, command))
    return link, telemetry, digest


def fingerprint(setup: TrialSetup, until_s: float = 0.2) -> tuple[str, bytes]:
    with Simulation(setup, BODY, CAMERA) as simulation:
        _, _, digest = drive(simulation, until_s, Twist2(0.5, 0.2, 2.0))
        return digest.hexdigest(), simulation.state_bytes()


def test_same_seed_same_trial_bit_for_bit_pixels_included() -> None:
    assert fingerprint(make_trial(1, 11)) == fingerprint(make_trial(1, 11))
    assert make_trial(1, 11) == make_trial(1, 11)
    assert fingerprint(make_trial(1, 11))[0] != fingerprint(make_trial(1, 12))[0]


def test_what_the_robot_gets_does_not_depend_on_a_ball_that_it_cannot_see() -> None:
    setup = replace(make_trial(1, 5), robot_start=Pose2(0.0, 0.0, 0.0), ball_start_m=(-2.0, 1.0))
    elsewhere = replace(setup, ball_start_m=(-3.0, -2.0))
    with Simulation(setup, BODY, CAMERA) as a, Simulation(elsewhere, BODY, CAMERA) as b:
        straight = Twist2(0.4, 0.0, 0.0)
        assert drive(a, 0.3, straight)[2].digest() == drive(b, 0.3, straight)[2].digest()
        assert a.truth().ball_in_field_m != b.truth().ball_in_field_m


def test_frames_and_referee_messages_carry_pixels_and_words_only() -> None:
    with Simulation(make_trial(1, 5), BODY, CAMERA) as simulation:
        simulation.advance_to_ns(250_000_000)
        frame, commands = simulation.frames()[0], simulation.referee()
    assert set(frame.__dataclass_fields__) == {
        "seq", "t_capture_ns", "t_receive_ns", "valid", "image_bgr", "camera_id",
    }  # fmt: skip
    assert frame.image_bgr.shape == (480, 640, 3)
    assert not frame.image_bgr.flags.writeable
    assert [c.code for c in commands] == [RefereeCode.HALT, RefereeCode.STOP]
    assert all(c.seed_in_field_m is None and c.target_in_field_m is None for c in commands)


def test_frames_come_late_in_order_and_some_are_lost() -> None:
    setup = make_trial(1, 8)
    setup = replace(setup, frames=replace(setup.frames, drop_probability=0.3, latency_jitter_s=0.02))
    with Simulation(setup, BODY, CAMERA, samples=0) as simulation:
        frames = []
        for ms in range(0, 1000, 10):
            simulation.advance_to_ns(ms * 1_000_000)
            for frame in simulation.frames():
                assert frame.t_receive_ns <= simulation.now_ns
                frames.append(frame)
    latencies = np.array([f.t_receive_ns - f.t_capture_ns for f in frames]) * 1e-9
    assert latencies.min() > setup.frames.latency_s
    assert latencies.max() < setup.frames.latency_s + 0.1
    arrivals = [f.t_receive_ns for f in frames]
    assert arrivals == sorted(arrivals)
    gaps = np.diff([f.seq for f in frames])
    assert 15 < len(frames) < 28
    assert gaps.max() > 1
    captures = np.array([f.t_capture_ns for f in frames])
    assert np.allclose(np.diff(captures) * 1e-9, gaps / 30.0, atol=1.1e-3)


def test_the_firmware_core_reaches_the_commanded_speed_and_reports_it() -> None:
    setup = replace(make_trial(1, 6), robot_start=Pose2(-3.0, 0.0, 0.0), ball_start_m=(0.0, 2.0))
    simulation = Simulation(setup, BODY, CAMERA, render=False)
    link, telemetry, _ = drive(simulation, 1.2, Twist2(1.0, 0.0, 0.0))
    assert link.state is LinkState.ARMED
    assert simulation.truth().twist_in_robot.vx_m_s == pytest.approx(1.0, abs=0.03)
    assert telemetry.odometry_twist.vx_m_s == pytest.approx(1.0, abs=0.05)
    moved = simulation.truth().robot.x_m + 3.0
    assert telemetry.odometry_pose.x_m == pytest.approx(moved, rel=0.05)
    assert telemetry.gyro_z_rad_s == pytest.approx(setup.imu.gyro_bias_rad_s, abs=0.15)


def test_driving_into_a_ball_with_the_dribbler_on_takes_it_and_the_referee_sees_it() -> None:
    setup = replace(make_trial(1, 6), robot_start=Pose2(-3.0, 0.0, 0.0), ball_start_m=(-2.6, 0.005))
    setup = replace(setup, referee=replace(setup.referee, stop_s=0.1, start_s=0.3))
    simulation = Simulation(setup, BODY, CAMERA, render=False)
    _, telemetry, _ = drive(simulation, 1.6, Twist2(0.3, 0.0, 0.0), dribbler_rad_s=500.0)
    assert telemetry.break_beam
    assert simulation.truth().break_beam
    assert simulation.score().points == 2.0
    assert not simulation.finished


def test_placements_are_inside_the_lines_apart_and_spread() -> None:
    field = FieldGeometry()
    setups = [make_trial(1, seed, field) for seed in range(200)]
    for setup in setups:
        assert abs(setup.robot_start.x_m) < field.length_m / 2
        assert abs(setup.robot_start.y_m) < field.width_m / 2
        assert abs(setup.ball_start_m[0]) < field.length_m / 2
        assert abs(setup.ball_start_m[1]) < field.width_m / 2
        assert math.dist((setup.robot_start.x_m, setup.robot_start.y_m), setup.ball_start_m) >= APART_M
        assert 0.25 <= setup.mouth.hold_force_n <= 0.9
    assert np.std([s.robot_start.theta_rad for s in setups]) == pytest.approx(math.pi / math.sqrt(3), rel=0.15)
    assert len({s.ball_start_m for s in setups}) == 200


def test_impossible_trials_say_so() -> None:
    with pytest.raises(SimulationError, match="no stage 9"):
        make_trial(9, 1)
    with pytest.raises(SimulationError, match="no room"):
        make_trial(1, 1, FieldGeometry(length_m=0.3, width_m=0.3))
    with pytest.raises(ConfigError, match="0 or more, not -1"):
        make_trial(1, -1)


def _seed_of(setup: TrialSetup) -> int:
    return setup.seed


def test_trials_in_parallel_keep_their_order() -> None:
    setups = [make_trial(1, seed) for seed in (3, 1, 2)]
    assert list(run_trials(_seed_of, setups, 2)) == [3, 1, 2]
    assert list(run_trials(_seed_of, setups, 1)) == [3, 1, 2]
