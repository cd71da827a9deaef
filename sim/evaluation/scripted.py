"""Scripted drives in the simulator: what the robot sees of the lines, and what its wheels and gyro say meanwhile.

The drive goes through the firmware core and its wheels, the pictures through the renderer, the lines through the
finder: what comes out is what a robot would have recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link
from firmware_bridge.link.parameters import body_parameters
from perception.calibration.line_attitude import LineView, SegmentPx
from perception.camera.model import CameraModel
from perception.estimation.config import EstimationConfig
from perception.estimation.estimator import Estimator
from perception.field.boundary import CarpetScanner
from perception.field.lines import LineConfig, LineFinder
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import CameraFrame, DetectionBatch, MotionCommand, Vec2
from sim.setup import TrialSetup
from sim.simulation import Simulation

TICK_NS = 10_000_000
START_NS = NS_PER_S
"""The gyro's bias is measured at rest, disarmed: so much time passes before the first move."""
SEED_NS = START_NS // 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """A body twist for some time; speeds are approached with `accel_m_s2` (and 8 rad/s^2)."""

    twist: Twist2
    seconds: float
    accel_m_s2: float = 2.0


def turn_on_the_spot(rate_rad_s: float = 0.6, turns: float = 1.0) -> tuple[Leg, ...]:
    """Return a drive that turns once around and stands."""
    seconds = turns * math.tau / abs(rate_rad_s)
    return (Leg(twist=Twist2(0.0, 0.0, rate_rad_s), seconds=seconds), Leg(twist=Twist2(), seconds=0.5))


def turn_and_shuttle(rate_rad_s: float = 0.6) -> tuple[Leg, ...]:
    """Return a turn, then half a metre ahead, a metre back and ahead again: the way on which forward is forward."""
    return (
        *turn_on_the_spot(rate_rad_s),
        Leg(twist=Twist2(0.5, 0.0, 0.0), seconds=1.2, accel_m_s2=1.0),
        Leg(twist=Twist2(-0.5, 0.0, 0.0), seconds=2.9, accel_m_s2=1.0),
        Leg(twist=Twist2(0.5, 0.0, 0.0), seconds=1.7, accel_m_s2=1.0),
        Leg(twist=Twist2(), seconds=0.6, accel_m_s2=1.0),
    )


def game(rng: np.random.Generator, seconds: float) -> tuple[Leg, ...]:
    """Return a lively drive as in play: dashes, stops and turns, with hard acceleration."""
    legs: list[Leg] = []
    while sum(leg.seconds for leg in legs) < seconds:
        dash = Leg(
            twist=Twist2(float(rng.uniform(0.3, 1.5)), float(rng.normal(0.0, 0.3)), float(rng.normal(0.0, 0.5))),
            seconds=float(rng.uniform(0.4, 0.9)),
            accel_m_s2=float(rng.uniform(1.5, 3.0)),
        )
        back = replace(dash, twist=Twist2(-dash.twist.vx_m_s, -dash.twist.vy_m_s, -dash.twist.omega_rad_s))
        turn = Leg(
            twist=Twist2(0.0, 0.0, float(rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 2.0))),
            seconds=float(rng.uniform(0.5, 1.4)),
        )
        legs += [dash, turn, back, turn]  # out and back: no script can see the walls
    return tuple(legs)


def drive(
    setup: TrialSetup,
    camera: CameraModel,
    legs: Sequence[Leg],
    *,
    believed: CameraModel | None = None,
    every_s: float = 0.1,
    at: Sequence[tuple[float, Callable[[Simulation], None]]] = (),
    seconds: float | None = None,
    localise: bool = False,
) -> Iterator[tuple[LineView, Simulation]]:
    """Yield the views of a scripted drive.

    Args:
        setup: the trial: place, venue, errors of everything.
        camera: the simulated camera differs from this one by `setup.camera`.
        legs: what the robot does.
        believed: the camera file that the line finder uses; `camera` by default.
        every_s: time between two pictures that are looked at.
        at: things that happen: (seconds after the first move, what).
        seconds: end after so much of the script; all of it by default.
        localise: let the lines correct the pose, from a seed near the truth on: as in play, that also moves what is
            believed of the gyro.

    Raises:
        SimulationError: no headless renderer.
        LinkError: the firmware cannot be built here.
    """
    body = RobotBody()
    believed = believed or camera
    setup = replace(setup, frames=replace(setup.frames, rate_hz=1.0 / every_s, drop_probability=0.0))
    link = Link(LinkConfig(), body_parameters(body))
    estimator = Estimator(EstimationConfig(), body, setup.field, believed)
    scanner, finder = CarpetScanner(camera=believed), LineFinder(LineConfig(), believed)
    happenings = sorted(at, key=lambda item: item[0])
    script_s = sum(leg.seconds for leg in legs)
    total_ns = START_NS + round((script_s if seconds is None else min(seconds, script_s)) * NS_PER_S)
    twist = Twist2()
    with Simulation(setup, body, camera) as world:
        for now_ns in range(0, total_ns + TICK_NS, TICK_NS):
            world.advance_to_ns(now_ns)
            while happenings and START_NS + happenings[0][0] * NS_PER_S <= now_ns:
                happenings.pop(0)[1](world)
            for chunk in world.serial():
                for frame in link.on_bytes(chunk.data, chunk.t_receive_ns):
                    estimator.on_telemetry(frame)
            world.referee()
            if localise and now_ns == SEED_NS:
                x_m, y_m, theta_rad = setup.robot_start.x_m, setup.robot_start.y_m, setup.robot_start.theta_rad
                estimator.seed(Pose2(x_m + 0.05, y_m - 0.05, theta_rad + 0.03), 0.1, 0.1, now_ns)
            for picture in world.frames():
                motion = estimator.dead_reckoning_at(picture.t_capture_ns)
                if motion is None:
                    continue
                edge, mask = scanner.scan_with_mask(picture.image_bgr)
                found = finder.find(picture.image_bgr, mask, edge, (), motion.tilt.angles_rad)
                segments = tuple((*s.ends_px[0], *s.ends_px[1]) for s in found.segments)
                points = tuple(p.pixel_px for p in found.points)
                if localise:
                    estimator.on_observations(_batch(picture, segments, points), ())
                yield LineView.seen(picture.t_capture_ns, segments, points, motion), world
            twist = _towards(twist, _wanted(legs, now_ns - START_NS))
            link.request_arm(now_ns >= START_NS - 200_000_000)
            command = MotionCommand(
                seq=0, t_capture_ns=now_ns, t_receive_ns=now_ns, valid=True, twist_in_robot=twist, stop=False
            )
            world.write_serial(link.on_tick(now_ns, command))


def _batch(picture: CameraFrame, segments: tuple[SegmentPx, ...], points: tuple[Vec2, ...]) -> DetectionBatch:
    height, width = picture.image_bgr.shape[:2]
    return DetectionBatch(
        seq=picture.seq,
        t_capture_ns=picture.t_capture_ns,
        t_receive_ns=picture.t_receive_ns,
        valid=True,
        frame_seq=picture.seq,
        image_size_px=(width, height),
        line_segments_px=segments,
        line_points_px=points,
    )


def _wanted(legs: Sequence[Leg], t_ns: int) -> Leg:
    left_s = t_ns / NS_PER_S
    if left_s >= 0.0:
        for leg in legs:
            if left_s < leg.seconds:
                return leg
            left_s -= leg.seconds
    return Leg(twist=Twist2(), seconds=0.0)


def _towards(twist: Twist2, leg: Leg) -> Twist2:
    """Return the twist one tick later, under limited acceleration."""
    step = leg.accel_m_s2 * TICK_NS / NS_PER_S
    dx, dy = leg.twist.vx_m_s - twist.vx_m_s, leg.twist.vy_m_s - twist.vy_m_s
    share = min(1.0, step / max(math.hypot(dx, dy), 1e-9))
    turn = 8.0 * TICK_NS / NS_PER_S
    return Twist2(
        twist.vx_m_s + share * dx,
        twist.vy_m_s + share * dy,
        twist.omega_rad_s + float(np.clip(leg.twist.omega_rad_s - twist.omega_rad_s, -turn, turn)),
    )


def place_at(setup: TrialSetup, pose: Pose2) -> TrialSetup:
    """Return the trial with the robot elsewhere, and the ball out of its way."""
    ball = (-pose.x_m if abs(pose.x_m) > 0.5 else 2.0, -pose.y_m)
    return replace(setup, robot_start=pose, ball_start_m=ball)
