"""What can be set in estimation: noise, gates, track lives. Defaults suit the simulated robot and Division B."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perception.localisation.config import MarkingConfig, SearchConfig
from robot.core.messages import Vec2


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionConfig:
    """Odometry constants and noise of the robot's own motion.

    The constants turn what wheels and gyro report into true motion: forward `scale_x * vx`, left `scale_y * vy +
    lateral_per_forward * vx`, turn `scale_theta * omega`. They are fitted from logs with a reference by
    `blackout fit-motion`. Noise that grows with the path (`..._per_sqrt_m`, `..._per_sqrt_rad`)
    stands for slip and uneven floor: its variance is the square times the path; the `scale_sigma` values are what is
    left of the systematic errors after the fit.
    """

    scale_x: float = 1.0
    scale_y: float = 1.0
    scale_theta: float = 1.0
    lateral_per_forward: float = 0.0
    lead_s: float = 0.0
    """In logs, how far the odometry of a row is ahead of the row's time (raw telemetry carries its own time)."""

    lead_sigma_s: float = 0.0
    """Uncertainty of `lead_s`: a pose at a moment that is not known better than this."""

    translation_m_per_sqrt_m: float = 0.01
    rotation_rad_per_sqrt_rad: float = 0.005
    rotation_rad_per_sqrt_m: float = 0.005
    scale_sigma: float = 0.01
    turn_scale_sigma: float = 0.005

    gyro_noise_rad_s_per_rthz: float = 0.003
    gyro_bias_sigma_rad_s: float = 0.03
    gyro_bias_walk_rad_s_per_rts: float = 0.0005
    accel_noise_m_s2_per_rthz: float = 0.15
    accel_missing_m_s2_per_rthz: float = 0.6
    wheel_noise_m_s: float = 0.02
    wheel_noise_ratio: float = 0.02
    rest_rate_noise_rad_s: float = 0.02
    slip_threshold_m_s: float = 0.05
    """Disagreement of the four wheels above which they are trusted less (their noise grows with its square)."""

    max_gyro_rad_s: float = 40.0
    max_accel_m_s2: float = 60.0
    max_wheel_m_s: float = 8.0
    max_gap_s: float = 0.25
    """A longer silence of telemetry is bridged by a stop with a large velocity uncertainty, not by extrapolation."""

    def __post_init__(self) -> None:
        _require(self.scale_x > 0 and self.scale_y > 0 and self.scale_theta > 0, "odometry scales must be positive")
        _require(0 < self.max_gap_s <= 2.0, "max_gap_s must be in (0, 2]")
        _require(self.slip_threshold_m_s > 0, "slip_threshold_m_s must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """How camera measurements enter the pose: delay, noise, gates, and when to call the pose lost.

    `delay_s` is subtracted from a picture's capture time where it comes in (the pipeline, a log's row): zero for a
    driver that stamps the exposure; what `blackout fit-motion` finds for a log that stamps the arrival. Post
    noise is per box edge.
    """

    delay_s: float = 0.0
    future_tolerance_s: float = 0.05
    goal_padding_px: float = 0.0
    """How far a goal's box reaches beyond the goal on each side (a detector's habit)."""

    post_sigma_px: float = 4.0
    post_sigma_ratio: float = 0.02
    foot_sigma_px: float = 5.0
    common_bearing_sigma_rad: float = 0.005
    edge_margin_px: float = 8.0
    min_goal_score: float = 0.4
    min_goal_width_px: float = 12.0
    gate_probability: float = 0.99
    correlation_s: float = 0.3
    """Errors of a goal's box repeat for about this long; frames within it share their information."""

    timing_sigma_s: float = 0.008
    """Jitter of capture times; a turning robot turns it into a bearing error."""

    lost_after_rejections: int = 12
    lost_sigma_m: float = 1.2
    lost_sigma_theta_rad: float = math.radians(40.0)
    found_sigma_m: float = 0.35
    found_sigma_theta_rad: float = math.radians(12.0)
    """A lost pose counts as found only once landmarks have brought it below these."""

    def __post_init__(self) -> None:
        _require(0.5 < self.gate_probability < 1.0, "gate_probability must be in (0.5, 1)")
        _require(-0.5 < self.delay_s < 0.5, "delay_s must be below half a second")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackConfig:
    """Birth, life and motion of one kind of track.

    Existence is kept as log-odds: a sighting adds `hit_gain` times its score, a frame that should have shown the
    object and did not adds log(1 - p_detect); p_detect is `p_detect_near` up to `near_m` and falls linearly to
    `p_detect_far` at `far_m`.
    """

    deceleration_m_s2: float = 0.0
    """Rolling (a ball), or simply slowing down."""

    slide_deceleration_m_s2: float = 0.0
    """Sliding, after a kick or a bounce; 0: this thing never slides."""

    slide_noise_m_s_per_rts: float = 0.0
    velocity_noise_m_s_per_rts: float = 0.0
    velocity_noise_per_speed: float = 0.0
    """Velocity noise grows with speed by so much: uneven carpet, a friction that is not known well."""

    restitution: float = 0.5
    """Share of the speed against a wall that is left after it."""

    bounce_sigma: float = 0.25
    """Uncertainty that a bounce adds to the velocity, as a share of the speed against the wall."""

    bounce_spin_share: float = 0.25
    """Share of the spin against the wall that its friction leaves."""

    manoeuvres: bool = False
    """It may be kicked: sightings out of the gate are followed as a branch (`tracks/manoeuvre.py`)."""

    merge_m: float = 0.0
    """Two tracks nearer to each other than this, one of them not seen, are one thing."""

    birth_velocity_sigma_m_s: float = 0.0
    position_noise_m_per_rts: float = 0.0
    gate_probability: float = 0.999
    extra_sigma_m: float = 0.005
    extra_bearing_sigma_rad: float = 0.005
    timing_sigma_s: float = 0.004

    birth_score: float = 0.0
    """A box that scores less founds nothing; it still feeds the track in whose gate it lies (as in ByteTrack, Zhang
    et al. 2022)."""

    hit_gain: float = 2.5
    birth_log_odds: float = -1.5
    confirm_log_odds: float = 1.5
    confirm_sightings: int = 2
    max_log_odds: float = 8.0
    first_log_odds: float = 2.5
    log_odds_per_sighting: float = 0.2
    """A track can be no surer than `first_log_odds` and so much for each sighting: what was seen a few times only is
    forgotten soon, what was seen for a second survives a third of a second of misses (these come in rows)."""

    death_log_odds: float = -3.0
    p_detect_near: float = 0.7
    p_detect_far: float = 0.2
    near_m: float = 2.0
    far_m: float = 5.0
    unseen_log_odds_per_s: float = 0.3
    tentative_life_s: float = 0.4
    unseen_life_s: float = 8.0
    max_sigma_m: float = 1.5
    max_tracks: int = 6

    def __post_init__(self) -> None:
        _require(0.5 < self.gate_probability < 1.0, "gate_probability must be in (0.5, 1)")
        _require(0.0 <= self.p_detect_far <= self.p_detect_near < 1.0, "0 <= p_detect_far <= p_detect_near < 1")
        _require(self.near_m < self.far_m, "near_m must be below far_m")
        _require(self.max_tracks >= 1, "max_tracks must be at least 1")


BALL_TRACK = TrackConfig(
    deceleration_m_s2=0.35,
    slide_deceleration_m_s2=3.6,
    slide_noise_m_s_per_rts=0.5,
    velocity_noise_m_s_per_rts=0.12,
    velocity_noise_per_speed=0.12,
    restitution=0.5,
    manoeuvres=True,
    merge_m=0.03,
    birth_velocity_sigma_m_s=0.6,
    confirm_sightings=2,
    unseen_life_s=10.0,
    max_tracks=5,
)
ROBOT_TRACK = TrackConfig(
    deceleration_m_s2=0.5,
    merge_m=0.1,
    birth_score=0.45,
    velocity_noise_m_s_per_rts=0.4,
    velocity_noise_per_speed=1.2,
    birth_velocity_sigma_m_s=0.5,
    extra_sigma_m=0.03,
    confirm_sightings=3,
    unseen_life_s=4.0,
    max_tracks=12,
)
GOAL_TRACK = TrackConfig(
    position_noise_m_per_rts=0.01,
    extra_sigma_m=0.05,
    confirm_sightings=3,
    unseen_life_s=60.0,
    near_m=4.0,
    far_m=9.0,
    max_tracks=3,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamConfig:
    """How the break-beam speaks for the ball: debounce, its accuracy, and when the camera overrules it."""

    debounce_samples: int = 3
    sigma_x_m: float = 0.006
    sigma_y_m: float = 0.015
    release_velocity_sigma_m_s: float = 0.5
    kick_charge_drop: float = 0.02
    """The kicker has fired when its charge (0 to 1) falls by more than this between two telemetry frames."""

    kick_speed_m_s: float = 3.0
    kick_sigma_m_s: Vec2 = (2.0, 0.3)
    """Speed of a kicked ball, and its standard deviation along and across the kick, until the camera sees it."""

    overruled_after_sightings: int = 6
    absent_log_odds_per_s: float = 2.0
    """Existence lost per second while the ball should lie in the mouth and the beam sees nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TiltConfig:
    """How the body nods under acceleration, and what calibration leaves unknown: both move far objects most.

    A camera at height h that looks lower by an angle e places an object at range r nearer by e r^2 / h: half a degree
    is half a metre at 3 m. `angle_per_accel_rad_s2_m` is the nod (a stop lowers the nose), `unknown_share` how much
    of it may be wrong; `bias_rad` is what the mounting's angles may be wrong by, trial for trial the same in every
    frame, so that no averaging removes it.
    """

    angle_per_accel_rad_s2_m: float = 0.0025
    unknown_share: float = 0.5
    filter_s: float = 0.02
    memory_s: float = 0.12
    bias_rad: float = 0.003
    bearing_bias_rad: float = 0.003
    camera_height_m: float = 0.17
    """Used without a camera model."""

    def __post_init__(self) -> None:
        _require(self.filter_s > 0 and self.memory_s > 0, "tilt times must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryConfig:
    """How long a near end of the carpet is remembered, and how much it takes to keep a ball from being born behind it.

    A frame is remembered (one per `every_s`, for `span_s`) if at least `least_share` of its columns show an end within
    `near_m` that lies on the edge's hull. A place is outside if by `least_frames` more frames saw the end before it
    (by `margin`: metres, and a share of the range) than saw carpet there.
    """

    span_s: float = 4.0
    every_s: float = 0.1
    near_m: float = 0.9
    on_hull_px: float = 3.0
    least_share: float = 0.3
    least_frames: int = 2
    margin: Vec2 = (0.12, 0.2)
    bearing_rad: float = 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class FootprintConfig:
    """Where on the floor the camera can see an object, for robots without a camera model: a wedge ahead."""

    min_range_m: float = 0.40
    max_range_m: float = 6.0
    half_angle_rad: float = math.radians(24.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimationConfig:
    """Everything that `perception.estimation.estimator.Estimator` can be told."""

    motion: MotionConfig = MotionConfig()
    vision: VisionConfig = VisionConfig()
    markings: MarkingConfig = MarkingConfig()
    search: SearchConfig = SearchConfig()
    ball: TrackConfig = BALL_TRACK
    robots: TrackConfig = ROBOT_TRACK
    goals: TrackConfig = GOAL_TRACK
    beam: BeamConfig = BeamConfig()
    tilt: TiltConfig = TiltConfig()
    footprint: FootprintConfig = FootprintConfig()
    boundary: BoundaryConfig = BoundaryConfig()
    history_s: float = 0.6
    telemetry_max_age_s: float = 0.1
    """Telemetry older than this counts as lost: `RobotState.inputs_ok` is cleared, the robot stops."""

    vision_max_age_s: float = 0.5
    """After so long without a frame that could be used vision counts as lost: the robot plays on DEGRADED."""

    ego_noise_m_per_sqrt_m: float = 0.02
    ego_noise_rad_per_sqrt_rad: float = 0.01
    """Error of the robot's own motion that a track inherits while it is not seen."""

    ball_size_ratio: Vec2 = (0.7, 1.5)
    ball_size_slack_px: float = 4.0
    """A ball's box must be as large as a ball at its place, within these ratios (and up to the slack larger, for
    detectors whose boxes are generous). 98 % of our detector's lie within 0.85 and 1.28 in rendered pictures."""

    robot_size_ratio: Vec2 = (0.45, 1.7)
    """The longer side of a robot's box over a robot's width at its place; our detector's: 0.85 to 1.3."""

    birth_above_edge_px: float = 3.0
    """A new ball or robot whose foot is further above the carpet's edge in the picture stands behind it."""

    off_field_margin_m: float = 0.25
    off_carpet_margin: Vec2 = (0.4, 0.25)
    """A new object further than free range * (1 + second) + first, metres, lies off the carpet: no track is born."""

    bad_input_limit: float = 10.0
    bad_input_decay_s: float = 5.0

    def __post_init__(self) -> None:
        _require(0.05 <= self.history_s <= 5.0, "history_s must be in [0.05, 5]")
        _require(0.0 < self.telemetry_max_age_s <= 1.0, "telemetry_max_age_s must be in (0, 1]")
        _require(0.0 < self.vision_max_age_s <= 5.0, "vision_max_age_s must be in (0, 5]")
