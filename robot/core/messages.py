"""Every message that crosses a room's door: frozen, keyword-only, SI units, the frame in the name.

Each carries `seq` (per stream, from 0), `t_capture_ns` (when the physical event happened, host CLOCK_MONOTONIC),
`t_receive_ns` (when this computer had it) and `valid` (False until proven). Small vectors and matrices are plain
tuples so that messages are hashable, comparable bit for bit, and cheap to record. Axes: see `robot.core.geometry`.

"World" is the frame of the estimator: the field frame once `RobotState.localisation` says SEEDED or TRACKING, and
otherwise the frame of the place where the robot was switched on (ODOMETRY): positions in it are then only good
relative to each other, which is all that stage 1 needs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot.core.geometry import Pose2, Twist2

Vec2 = tuple[float, float]
Cov2 = tuple[tuple[float, float], tuple[float, float]]
BoxPx = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max as continuous edges in pixels of the original picture, which spans (0, 0) to
(width, height). The camera model counts pixel centres as whole numbers, as OpenCV does: subtract 0.5 there."""


class ObjectClass(enum.IntEnum):
    """What the detector knows; the numbers are those of the data set and of the network's outputs."""

    ROBOT = 0
    BALL = 1
    GOAL = 2


class Verdict(enum.Enum):
    """What an input gate said about one measurement."""

    OK = "ok"
    STALE = "stale"
    FUTURE = "future"
    OUTLIER = "outlier"
    OUT_OF_RANGE = "out_of_range"
    INVALID = "invalid"


class Localisation(enum.Enum):
    """How far the estimator's pose can be believed as a pose on the field."""

    ODOMETRY = "odometry"
    SEEDED = "seeded"
    TRACKING = "tracking"
    LOST = "lost"


class Mode(enum.Enum):
    """The supervisor's verdict on the whole robot."""

    BOOT = "boot"
    READY = "ready"
    ACTIVE = "active"
    DEGRADED = "degraded"
    SAFE_STOP = "safe_stop"


class RefereeCode(enum.Enum):
    """Referee commands of the Vision Blackout challenge."""

    HALT = "halt"
    STOP = "stop"
    FORCE_START = "force_start"


class TargetMode(enum.Enum):
    """How a `MotionTarget` is meant."""

    STOP = "stop"
    TWIST = "twist"
    POSE = "pose"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """The header of every message."""

    seq: int
    t_capture_ns: int
    t_receive_ns: int
    valid: bool = False


# --- perception -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraFrame(Message):
    """One picture. `image_bgr` is (height, width, 3) uint8, owned by the receiver, never written to."""

    image_bgr: NDArray[np.uint8]
    camera_id: str = "front"


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """One object in a picture: class, score in [0, 1], box in pixels of the original picture."""

    object_class: ObjectClass
    score: float
    box_px: BoxPx


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionBatch(Message):
    """All that vision found in one frame; also sent when it found nothing (an empty frame is evidence too).

    `carpet_edge_px` is the field boundary's polyline: (column, row) of the highest carpet pixel in each scanned
    column, row 0 at the top; empty when not computed. `free_range_m` pairs with it: the ground distance from the
    robot's centre along each column's bearing, as (bearing_rad, range_m), robot frame, counter-clockwise positive.
    `line_points_px` are centres of field lines (column, row), at most some sixty, spread over all lines seen;
    `line_segments_px` straight pieces of lines (column, row, column, row); `goal_posts_px` the feet of goal posts (the
    middle of the post's front, on the floor). All empty when not computed.
    """

    frame_seq: int
    image_size_px: tuple[int, int]
    detections: tuple[Detection, ...] = ()
    carpet_edge_px: tuple[Vec2, ...] = ()
    free_range_m: tuple[Vec2, ...] = ()
    line_points_px: tuple[Vec2, ...] = ()
    line_segments_px: tuple[tuple[float, float, float, float], ...] = ()
    goal_posts_px: tuple[Vec2, ...] = ()
    model_name: str = ""
    inference_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldObservation(Message):
    """One detection on the floor: where the object stands relative to the robot at `t_capture_ns`.

    `position_in_robot_m` is on the floor: below the ball, the centre of a robot, the middle of a goal's mouth.
    `covariance_m2` is in the robot frame and grows with range. `truncated` says that the box touches the picture's
    edge; then the position is biased and only its bearing (or less) should be trusted.
    """

    object_class: ObjectClass
    score: float
    position_in_robot_m: Vec2
    covariance_m2: Cov2
    box_px: BoxPx
    truncated: bool = False


# --- telemetry --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class TelemetryFrame(Message):
    """What the microcontroller measured in one of its cycles; `t_capture_ns` is `t_mcu_us` mapped to host time.

    `accel_in_robot_m_s2` is specific force along x, y of the body. `wheel_speed_rad_s` are the encoders' speeds in
    the wheel order of `RobotBody`. `odometry_twist` is the body twist from the wheels over the last cycle;
    `odometry_pose` its integral with the gyro, since boot.
    """

    t_mcu_us: int
    gyro_z_rad_s: float
    accel_in_robot_m_s2: Vec2
    wheel_speed_rad_s: tuple[float, float, float, float]
    odometry_twist: Twist2
    odometry_pose: Pose2
    break_beam: bool
    dribbler_rad_s: float
    kicker_charge: float
    battery_v: float
    armed: bool
    estop: bool
    fault_bits: int
    last_command_seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkHealth(Message):
    """Counters of the link, both ends (device's own counters come in its health frame)."""

    state: str
    rx_ok: int = 0
    crc_errors: int = 0
    cobs_errors: int = 0
    length_errors: int = 0
    sequence_gaps: int = 0
    tx_frames: int = 0
    round_trip_ns: int = 0
    clock_offset_ns: int = 0
    device_counters: tuple[tuple[str, int], ...] = ()


# --- the outside world ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RefereeCommand(Message):
    """A referee command, with what the rules let the team type in before a trial (stage 3 and 4)."""

    code: RefereeCode
    stage: int = 1
    seed_in_field_m: Vec2 | None = None
    target_in_field_m: Vec2 | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamMessage(Message):
    """Robot-to-robot radio for stage 4: the sender's intent and what it believes, in the field frame."""

    sender: int
    intent: str
    field_from_robot: Pose2
    ball_in_field_m: Vec2 | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SerialChunk(Message):
    """Raw bytes from the microcontroller, as they came, stamped at arrival."""

    data: bytes


# --- beliefs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotState(Message):
    """The estimator's belief about the robot at `t_capture_ns`.

    `covariance` is (3, 3) over (x_m, y_m, theta_rad) in the world frame. `inputs_ok` is False when a needed input
    is stale. `tilt_rad` is (pitch, roll) of the body as far as the IMU tells. `mirror_ambiguous`: the field looks the
    same turned by half a turn, and nothing has told the two apart: the pose is `world_from_robot` or its twin at
    (-x, -y, theta + pi), which is as likely; nothing that tells the goals apart may rest on it. `odom_from_robot` is
    dead reckoning alone: it drifts, but never jumps, as the world frame does when the pose is found or found again.
    """

    world_from_robot: Pose2
    twist_in_robot: Twist2
    covariance: tuple[tuple[float, float, float], ...]
    localisation: Localisation
    mirror_ambiguous: bool = False
    odom_from_robot: Pose2 | None = None
    gyro_bias_rad_s: float = 0.0
    tilt_rad: Vec2 = (0.0, 0.0)
    inputs_ok: bool = False
    reset_count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BallState(Message):
    """The tracked ball at `t_capture_ns`; `valid` False means there is no ball track at all.

    `age_ns` is the time since the last accepted sighting, `visible` says that the last frame showed it,
    `in_dribbler` that the break-beam says so. Covariances of position and velocity are in world axes. `track_id` stays
    the same through kicks, bounces and occlusions; another number is another thing that is now taken for the ball.
    """

    ball_in_world_m: Vec2 = (0.0, 0.0)
    ball_in_robot_m: Vec2 = (0.0, 0.0)
    velocity_in_world_m_s: Vec2 = (0.0, 0.0)
    covariance_m2: Cov2 = ((0.0, 0.0), (0.0, 0.0))
    velocity_covariance_m2_s2: Cov2 = ((0.0, 0.0), (0.0, 0.0))
    age_ns: int = 0
    visible: bool = False
    in_dribbler: bool = False
    sightings: int = 0
    track_id: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedObject:
    """Another robot or a goal, in the world frame, with its own covariances and age (time since its last sighting)."""

    track_id: int
    object_class: ObjectClass
    position_in_world_m: Vec2
    covariance_m2: Cov2
    age_ns: int
    sightings: int
    velocity_in_world_m_s: Vec2 = (0.0, 0.0)
    velocity_covariance_m2_s2: Cov2 = ((0.0, 0.0), (0.0, 0.0))
    visible: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldModel(Message):
    """All that the robot believes at one tick: the input of skills and plays."""

    robot: RobotState
    ball: BallState
    objects: tuple[TrackedObject, ...] = ()
    free_range_m: tuple[Vec2, ...] = ()
    free_range_age_ns: int = 0
    telemetry: TelemetryFrame | None = None


# --- decisions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionTarget(Message):
    """What a skill wants: stop, a body twist, or a pose relative to the robot; with dribbler and kicker.

    `pose_in_robot` is meaningful for POSE, `twist_in_robot` for TWIST. `kick_speed_m_s` > 0 asks for a kick as soon
    as the break-beam sees the ball; `chip` lifts it.
    """

    mode: TargetMode
    twist_in_robot: Twist2 = Twist2()
    pose_in_robot: Pose2 = Pose2()
    max_speed_m_s: float = 1.0
    max_omega_rad_s: float = 3.0
    max_accel_m_s2: float = 2.0
    dribbler_rad_s: float = 0.0
    kick_speed_m_s: float = 0.0
    chip: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Message):
    """Which play and skill are running, in which of their states, and why: for the log and the report."""

    play: str
    skill: str
    state: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionCommand(Message):
    """What is really sent, after limits: the microcontroller follows this twist until `valid_for_ms` is over."""

    twist_in_robot: Twist2
    dribbler_rad_s: float = 0.0
    kick_speed_m_s: float = 0.0
    chip: bool = False
    stop: bool = True
    valid_for_ms: int = 100
    applied_limits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultEvent(Message):
    """Something went wrong while playing; recorded, shown, never raised."""

    code: str
    source: str
    detail: str = ""


# --- one tick ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class TickBatch:
    """Everything that reached the control process between two ticks: the only input of `Pipeline.step`.

    Messages are in the order of arrival (`t_receive_ns`, then stream order, then `seq`).
    """

    tick: int
    t_now_ns: int
    detections: tuple[DetectionBatch, ...] = ()
    serial: tuple[SerialChunk, ...] = ()
    referee: tuple[RefereeCommand, ...] = ()
    team: tuple[TeamMessage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TickResult:
    """Everything that one step decided; `bytes_out` go to the microcontroller, the rest to the recording."""

    tick: int
    t_now_ns: int
    mode: Mode
    world: WorldModel
    plan: Plan
    target: MotionTarget
    command: MotionCommand
    bytes_out: bytes
    team_out: tuple[TeamMessage, ...] = ()
    link: LinkHealth | None = None
    faults: tuple[FaultEvent, ...] = ()
