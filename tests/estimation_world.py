"""A small kinematic world for the estimator's tests: true motion, noisy telemetry, camera sightings with latency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from perception.camera.model import CameraModel
from perception.camera.parameters import CameraIntrinsics, CameraMounting
from perception.estimation.config import EstimationConfig
from perception.estimation.ego.odometry import wheel_matrix
from perception.estimation.estimator import Estimator
from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2, exponential_map
from robot.core.messages import (
    DetectionBatch,
    FieldObservation,
    ObjectClass,
    TelemetryFrame,
    Vec2,
    Verdict,
    WorldModel,
)

STEP_NS = 5_000_000
FRAME_STEPS = 7
LATENCY_STEPS = 9

BODY = RobotBody()
FIELD = FieldGeometry()
CAMERA = CameraModel(
    intrinsics=CameraIntrinsics(width_px=640, height_px=480, fx=642.4, fy=642.5, cx=322.8, cy=239.8),
    mounting=CameraMounting(x_m=0.09, height_m=0.17, pitch_rad=math.radians(16.8)),
)


def telemetry(seq: int, t_ns: int, **changes: object) -> TelemetryFrame:
    """A frame of a robot at rest, with the given fields changed."""
    rest = TelemetryFrame(
        seq=seq,
        t_capture_ns=t_ns,
        t_receive_ns=t_ns,
        valid=True,
        t_mcu_us=t_ns // 1000,
        gyro_z_rad_s=0.0,
        accel_in_robot_m_s2=(0.0, 0.0),
        wheel_speed_rad_s=(0.0, 0.0, 0.0, 0.0),
        odometry_twist=Twist2(),
        odometry_pose=Pose2(),
        break_beam=False,
        dribbler_rad_s=0.0,
        kicker_charge=0.0,
        battery_v=24.0,
        armed=True,
        estop=False,
        fault_bits=0,
        last_command_seq=0,
    )
    return replace(rest, **changes)  # type: ignore[arg-type]


def frame(seq: int, t_ns: int, **changes: object) -> DetectionBatch:
    """An empty camera frame."""
    empty = DetectionBatch(
        seq=seq, t_capture_ns=t_ns, t_receive_ns=t_ns, valid=True, frame_seq=seq, image_size_px=(640, 480)
    )
    return replace(empty, **changes)  # type: ignore[arg-type]


def sighting(
    t_ns: int,
    place_m: Vec2,
    *,
    object_class: ObjectClass = ObjectClass.BALL,
    sigma_m: float | None = None,
    score: float = 0.9,
    box_px: tuple[float, float, float, float] | None = None,
    truncated: bool = False,
) -> FieldObservation:
    """An object at a place in the robot frame, with a sigma that grows with range as the camera's does.

    Its box is as large as a ball's would be there; where it stands in the picture does not matter. A robot's box stands
    where the camera shows it, since robots hide each other.
    """
    range_m = math.hypot(*place_m)
    if box_px is None and object_class is ObjectClass.ROBOT and place_m[0] > 0.2:
        box_px = robot_box(place_m)
    if box_px is None:
        ahead = (place_m[0] - CAMERA.mounting.x_m, place_m[1], CAMERA.mounting.height_m)
        size = 0.043 * CAMERA.intrinsics.fx / math.hypot(*ahead) if math.isfinite(range_m) else 20.0
        box_px = (300.0, 200.0, 300.0 + size, 200.0 + size)
    radial = sigma_m if sigma_m is not None else max(0.004, 0.01 * range_m**2)
    tangential = sigma_m if sigma_m is not None else max(0.003, 0.004 * range_m)
    bearing = math.atan2(place_m[1], place_m[0])
    c, s = math.cos(bearing), math.sin(bearing)
    turn = np.array([[c, -s], [s, c]])
    (a, b), (d, e) = (turn @ np.diag([radial**2, tangential**2]) @ turn.T).tolist()
    return FieldObservation(
        seq=0,
        t_capture_ns=t_ns,
        t_receive_ns=t_ns,
        valid=True,
        object_class=object_class,
        score=score,
        position_in_robot_m=place_m,
        covariance_m2=((a, b), (d, e)),
        box_px=box_px,
        truncated=truncated,
    )


def robot_box(place_m: Vec2) -> tuple[float, float, float, float]:
    """The box of a robot that stands there, in the picture."""
    x, y = place_m
    u, v = CAMERA.project([[x, y, 0.0]])[0]
    half = 0.089 * CAMERA.intrinsics.fx / math.hypot(x - CAMERA.mounting.x_m, y)
    return float(u - half), float(v - 1.6 * half), float(u + half), float(v)


@dataclass
class World:
    """True robot, true ball, an estimator that is fed from them, 200 Hz telemetry and 28 Hz frames, 45 ms late.

    `spoil_telemetry` and `spoil_frame` are the faults: they change or drop (None) what goes to the estimator.
    """

    config: EstimationConfig = field(default_factory=EstimationConfig)
    pose: Pose2 = field(default_factory=Pose2)
    ball_m: Vec2 | None = None
    seed: int = 1
    gyro_bias_rad_s: float = 0.01
    noise: float = 1.0
    camera: CameraModel | None = CAMERA
    spoil_telemetry: Callable[[TelemetryFrame], TelemetryFrame | None] = lambda f: f
    extra: Callable[[int, Pose2], tuple[FieldObservation, ...]] = lambda t_ns, pose: ()
    break_beam: bool = False
    pitch_error_rad: float = 0.0
    """The camera looks lower by this than calibration says."""

    blind: bool = False

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.estimator = Estimator(self.config, BODY, FIELD, self.camera)
        self.matrix = wheel_matrix(BODY)
        self.twist = Twist2()
        self.angles_rad, self.ticks = np.zeros(4), np.zeros(4)
        self.step = 0
        self.odometry = Pose2()
        self.start = self.pose
        self.pending: list[tuple[int, DetectionBatch, tuple[FieldObservation, ...]]] = []
        self.verdicts: list[Verdict] = []
        self.vision_verdicts: list[Verdict] = []

    @property
    def t_ns(self) -> int:
        return self.step * STEP_NS

    def drive(self, seconds: float, target: Twist2, accel_m_s2: float = 3.0) -> None:
        """Move for a while towards a body twist, with bounded acceleration."""
        for _ in range(round(seconds * 200)):
            self.tick(target, accel_m_s2)

    def tick(self, target: Twist2, accel_m_s2: float = 3.0) -> None:
        """One telemetry period."""
        dt = STEP_NS * 1e-9
        old = self.twist
        limit = accel_m_s2 * dt
        self.twist = Twist2(
            old.vx_m_s + float(np.clip(target.vx_m_s - old.vx_m_s, -limit, limit)),
            old.vy_m_s + float(np.clip(target.vy_m_s - old.vy_m_s, -limit, limit)),
            old.omega_rad_s + float(np.clip(target.omega_rad_s - old.omega_rad_s, -20 * dt, 20 * dt)),
        )
        middle = Twist2(*(0.5 * (a + b) for a, b in zip(_values(old), _values(self.twist), strict=True)))
        self.step += 1
        move = exponential_map(middle, dt)
        self.pose, self.odometry = self.pose @ move, self.odometry @ move
        # Specific force in the body frame: dv/dt + omega x v.
        ax = (self.twist.vx_m_s - old.vx_m_s) / dt - middle.omega_rad_s * middle.vy_m_s
        ay = (self.twist.vy_m_s - old.vy_m_s) / dt + middle.omega_rad_s * middle.vx_m_s
        speeds = self.matrix @ np.array(_values(middle)) / BODY.wheel_radius_m
        self.angles_rad = self.angles_rad + speeds * dt * (1.0 + self.noise * self.rng.normal(0.0, 0.01, 4))
        per_tick = math.tau / BODY.encoder_ticks_per_rev
        ticks = np.floor(self.angles_rad / per_tick)
        self.ticks, counted = ticks, ticks - self.ticks
        sent = telemetry(
            self.step,
            self.t_ns,
            gyro_z_rad_s=middle.omega_rad_s + self.gyro_bias_rad_s + self.noise * float(self.rng.normal(0.0, 0.03)),
            accel_in_robot_m_s2=(
                ax + self.noise * float(self.rng.normal(0.0, 0.5)),
                ay + self.noise * float(self.rng.normal(0.0, 0.5)),
            ),
            wheel_speed_rad_s=tuple(float(v) for v in counted * per_tick / dt),
            odometry_twist=self.twist,
            odometry_pose=self.odometry,
            break_beam=self.break_beam,
        )
        spoiled = self.spoil_telemetry(sent)
        if spoiled is not None:
            self.verdicts.append(self.estimator.on_telemetry(spoiled))
        if self.step % FRAME_STEPS == 0:
            self._take_frame()
        while self.pending and self.pending[0][0] <= self.step:
            _, batch, observations = self.pending.pop(0)
            self.vision_verdicts += self.estimator.on_observations(batch, observations)

    def ball_in_robot(self) -> Vec2:
        """Truth."""
        assert self.ball_m is not None
        return self.pose.inverse().transform(self.ball_m)

    def world(self) -> WorldModel:
        """The estimator's belief now."""
        return self.estimator.world_model(self.t_ns)

    def ball_error_m(self) -> float:
        """Distance between believed and true ball, both relative to the robot."""
        x, y = self.ball_in_robot()
        bx, by = self.world().ball.ball_in_robot_m
        return math.hypot(bx - x, by - y)

    def _take_frame(self) -> None:
        observations = list(self.extra(self.t_ns, self.pose))
        if self.ball_m is not None and not self.blind and (seen := self._see(self.ball_in_robot())) is not None:
            observations.append(seen)
        batch = frame(self.step, self.t_ns)
        self.pending.append((self.step + LATENCY_STEPS, batch, tuple(observations)))

    def _see(self, place_m: Vec2) -> FieldObservation | None:
        x, y = place_m
        u, v = CAMERA.project([[x, y, 0.0215]])[0]
        if not (x > 0.0 and 8 < u < 632 and 8 < v < 472):
            return None
        exact = sighting(self.t_ns, place_m)
        root = np.linalg.cholesky(np.array(exact.covariance_m2))
        dx, dy = self.noise * (root @ self.rng.normal(size=2))
        nearer_m = -self.pitch_error_rad * (x * x + y * y) / CAMERA.mounting.height_m
        dx, dy = dx + nearer_m * x / math.hypot(x, y), dy + nearer_m * y / math.hypot(x, y)
        return replace(exact, position_in_robot_m=(x + float(dx), y + float(dy)))


def goal_box(pose: Pose2, side: int = 1, field_: FieldGeometry = FIELD) -> tuple[float, float, float, float] | None:
    """The box of a goal as the camera sees it from a pose, or None where a corner is out of the picture."""
    from perception.estimation.ego.goals import goal_corners

    corners = [pose.inverse().transform((float(x), float(y))) for x, y in goal_corners(field_, side)]
    points = np.array([[x, y, z] for x, y in corners for z in (0.0, field_.goal_height_m)])
    pixels = CAMERA.project(points) + 0.5
    if not np.isfinite(pixels).all():
        return None
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
    if left < 10 or right > 630 or bottom > 470:
        return None
    return float(left), float(top), float(right), float(bottom)


def goal_sighting(t_ns: int, pose: Pose2, side: int = 1) -> tuple[FieldObservation, ...]:
    """The observation of a goal from a pose, as the camera room would make it, or nothing."""
    box = goal_box(pose, side)
    if box is None:
        return ()
    x, y = pose.inverse().transform((side * FIELD.length_m / 2, 0.0))
    return (sighting(t_ns, (x, y), object_class=ObjectClass.GOAL, sigma_m=0.3, box_px=box),)


def _values(twist: Twist2) -> tuple[float, float, float]:
    return twist.vx_m_s, twist.vy_m_s, twist.omega_rad_s
