"""Whole trials: bit for bit by seed, nothing of the truth in what the robot gets, the firmware in the loop."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.firmware.library import ActuatorOutputs, FirmwareLibrary, SensorInputs
from firmware_bridge.link.link import Link, LinkState
from perception.camera.model import load_camera
from robot.core.body import RobotBody
from robot.core.errors import ConfigError, SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import MotionCommand, RefereeCode, TelemetryFrame
from sim.camera.onboard import true_camera
from sim.evaluation.trials import run_trials
from sim.scenarios.trials import APART_M, ROBOT_FROM_LINE_M, SEED_RADIUS_M, make_trial
from sim.setup import CameraErrors, FrameTiming, SerialTiming, TrialSetup
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


class Listener(FirmwareLibrary):
    """Notes in which millisecond its bytes arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.cycles, self.heard = 0, []  # type: ignore[var-annotated]

    def step(self, sensors: SensorInputs, dt_us: int = 1000) -> ActuatorOutputs:
        self.cycles += 1
        return super().step(sensors, dt_us)

    def receive(self, data: bytes) -> None:
        self.heard.append((self.cycles, data))
        super().receive(data)


def test_bytes_take_the_time_of_the_wire_and_stay_in_order() -> None:
    setup = replace(make_trial(1, 3), serial=SerialTiming(delay_s=0.0015, jitter_s=0.003))
    mcu = Listener()
    late_ms = []
    with Simulation(setup, BODY, CAMERA, mcu=mcu, render=False) as simulation:
        for tick in range(100):
            simulation.advance_to_ns(tick * 5_000_000)
            simulation.write_serial(b"%02d" % tick)
            simulation.write_serial(b"..")  # soon after: may not overtake
            for chunk in simulation.serial():
                assert chunk.t_receive_ns <= simulation.now_ns
                late_ms.append((chunk.t_receive_ns / 1e6 - 4.0) % 5.0)  # telemetry leaves at 0, 4, 9, 14 ms
        simulation.advance_to_ns(600_000_000)
    assert b"".join(data for _, data in mcu.heard) == b"".join(b"%02d.." % tick for tick in range(100))
    delays_ms = [cycle - 5 * int(data) for cycle, data in mcu.heard if data != b".."]
    assert 2 <= min(delays_ms) < max(delays_ms) <= 5
    assert 1.5 <= min(late_ms[1:]) < 1.7
    assert 4.2 < max(late_ms[1:]) <= 4.5
    assert len(late_ms) == pytest.approx(98, abs=2)


def test_a_frame_comes_after_exposure_readout_and_the_driver_each_time() -> None:
    setup = make_trial(1, 8)
    steady = FrameTiming(latency_s=0.03, latency_jitter_s=0.0, drop_probability=0.0)
    with Simulation(replace(setup, frames=steady), BODY, CAMERA, samples=0) as simulation:
        assert simulation._camera is not None
        sensor = simulation._camera.sensor
        simulation.advance_to_ns(300_000_000)
        frames = simulation.frames()
    wanted_s = 0.5 * sensor.exposure_s + 0.5 * sensor.readout_s + 0.03
    assert len(frames) > 5
    assert [(f.t_receive_ns - f.t_capture_ns) * 1e-9 for f in frames] == pytest.approx([wanted_s] * len(frames))
    with Simulation(replace(setup, frames=replace(steady, latency_jitter_s=0.005)), BODY, CAMERA, samples=0) as other:
        other.advance_to_ns(300_000_000)
        late_s = [(f.t_receive_ns - f.t_capture_ns) * 1e-9 - wanted_s for f in other.frames()]
    assert min(late_s) >= 0.0
    assert 0.001 < max(late_s) < 0.02


def test_the_simulated_camera_has_the_errors_of_the_setup() -> None:
    real = true_camera(CAMERA, CameraErrors(pitch_rad=0.01, roll_rad=0.02, yaw_rad=0.03, height_m=0.004, k1=0.05))
    a, b = CAMERA.mounting, real.mounting
    moved = (b.pitch_rad - a.pitch_rad, b.roll_rad - a.roll_rad, b.yaw_rad - a.yaw_rad, b.height_m - a.height_m)
    assert moved == pytest.approx((0.01, 0.02, 0.03, 0.004))
    assert real.intrinsics.distortion[0] == pytest.approx(CAMERA.intrinsics.distortion[0] + 0.05)
    assert real.intrinsics.distortion[1:] == CAMERA.intrinsics.distortion[1:]


def test_a_nodding_body_moves_the_picture() -> None:
    """Nose down by 0.02 rad: what stood at a row stands about 13 px higher; a camera mounted so sees the same."""
    setup = replace(make_trial(1, 5), robot_start=Pose2(0.0, 0.0, 0.0), ball_start_m=(-3.0, 0.0))
    nodded, mounted, plain = (
        Simulation(replace(setup, camera=CameraErrors(pitch_rad=pitch)), BODY, CAMERA) for pitch in (0.0, 0.02, 0.0)
    )
    pictures = []
    for simulation, pitch in ((nodded, 0.02), (mounted, 0.0), (plain, 0.0)):
        with simulation:
            simulation._world.nod.pitch_rad = pitch
            assert simulation._camera is not None
            pictures.append(simulation._camera._picture(simulation._world).astype(float))
    # The mast stands ahead of the axis of the nod: not the same to the pixel.
    assert np.abs(pictures[0] - pictures[1]).mean() < 0.4 * np.abs(pictures[0] - pictures[2]).mean()


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


def test_stage_3_has_a_target_and_a_rough_place_but_no_ball() -> None:
    field = FieldGeometry()
    setups = [make_trial(3, seed, field) for seed in range(200)]
    seeds_off_m = []
    for setup in setups:
        here, target, told = (
            (setup.robot_start.x_m, setup.robot_start.y_m),
            setup.target_in_field_m,
            setup.seed_in_field_m,
        )
        assert target is not None
        assert told is not None
        assert not setup.scene.ball_in_play
        assert abs(target[0]) <= field.length_m / 2 - ROBOT_FROM_LINE_M
        assert abs(target[1]) <= field.width_m / 2 - ROBOT_FROM_LINE_M
        assert math.dist(here, target) >= APART_M
        seeds_off_m.append(math.dist(here, told))
        assert make_trial(1, setup.seed, field).robot_start == setup.robot_start
    assert max(seeds_off_m) <= SEED_RADIUS_M
    assert np.mean(seeds_off_m) == pytest.approx(2 / 3 * SEED_RADIUS_M, rel=0.1)  # even over the disc


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
