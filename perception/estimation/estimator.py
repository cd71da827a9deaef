"""The estimator: telemetry and observations in, one world model out. Pure and deterministic; time comes with messages.

Three layers: the robot's own pose and dead reckoning (`dead_reckoning`), landmarks that tie the pose to the field
(`goals`, `localisation`), and tracks that live in the odometry frame (`tracker`, `ball`). They meet here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from perception.camera.model import CameraModel
from perception.estimation import show
from perception.estimation.config import EstimationConfig
from perception.estimation.ego.belief import LocalisationMonitor
from perception.estimation.ego.dead_reckoning import RobotBelief, RobotEstimator
from perception.estimation.ego.ekf import Correction
from perception.estimation.ego.goals import GoalModel
from perception.estimation.ego.locator import Locator
from perception.estimation.ego.trail import DeadReckoning
from perception.estimation.inputs import InputLedger
from perception.estimation.tracks.ball import BallTracker
from perception.estimation.tracks.bounces import OPEN, Surroundings, surroundings
from perception.estimation.tracks.sighting import HEIGHT_M, SightingMaker
from perception.estimation.tracks.track import EgoPath, Track
from perception.estimation.tracks.tracker import Tracker
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, Pose2, Twist2
from robot.core.messages import (
    DetectionBatch,
    FieldObservation,
    Localisation,
    ObjectClass,
    TelemetryFrame,
    Vec2,
    Verdict,
    WorldModel,
)

OPEN_SHARE = 0.8
"""A pose that landmarks contradict is opened up to this share of what counts as lost."""

Spectator = Callable[[FieldObservation, Verdict, Track | None], None]


class Estimator:
    """Keeps the robot's pose, the ball, robots and goals; one instance per robot.

    Args:
        config: noise, gates, lives.
        body: wheels and mouth.
        field: the map: goals for the pose, walls for what cannot be on the field.
        camera: for goal posts and for what ought to be visible. Without it goals do not correct the pose, and
            visibility comes from `config.footprint`.
    """

    def __init__(
        self, config: EstimationConfig, body: RobotBody, field: FieldGeometry, camera: CameraModel | None = None
    ) -> None:
        self.config = config
        self._body, self._field = body, field
        self.spectator: Spectator | None = None
        """For evaluation: told of every observation that met a tracker. Its answer, if any, changes nothing."""

        self._robot = RobotEstimator(config, body)
        self._monitor = LocalisationMonitor(config.vision)
        self._goal_model = GoalModel(config.vision, field, camera) if camera is not None else None
        self._locator = Locator(config, field, camera, self._robot, self._monitor) if camera is not None else None
        self._maker = SightingMaker(config, field, camera)
        self._ball = BallTracker(config.ball, config.beam, body)
        self._trackers: dict[ObjectClass, Tracker] = {
            ObjectClass.BALL: self._ball,
            ObjectClass.ROBOT: Tracker(config.robots),
            ObjectClass.GOAL: Tracker(config.goals),
        }
        self.telemetry_ledger = InputLedger(config.bad_input_limit, config.bad_input_decay_s)
        self.vision_ledger = InputLedger(config.bad_input_limit, config.bad_input_decay_s)
        self._telemetry: TelemetryFrame | None = None
        self._vision_ns: int | None = None
        self._goal_ns: int | None = None
        self._free_range: tuple[Vec2, ...] = ()
        self._free_range_ns = 0
        self._seq = 0

    # --- inputs -------------------------------------------------------------------------------------------------

    def on_telemetry(self, frame: TelemetryFrame) -> Verdict:
        """Advance pose and held ball by one telemetry frame.

        Returns:
            OK; STALE (not newer than the last one) or FUTURE (stamped after its own arrival): the frame is not used;
            INVALID or OUT_OF_RANGE: a sensor in it is not used, the others are.
        """
        verdict = self._robot.on_telemetry(frame)
        if self._robot.clock_shift_ns:
            for tracker in self._trackers.values():
                tracker.shift_time(self._robot.clock_shift_ns)
            self._vision_ns = self._goal_ns = None
            self._free_range_ns += self._robot.clock_shift_ns
        if frame.valid and verdict not in (Verdict.STALE, Verdict.FUTURE):
            trail = self._robot.trail
            self._ball.on_kicker(frame.t_capture_ns, frame.kicker_charge)
            self._ball.on_beam(frame.t_capture_ns, frame.break_beam, trail.pose, trail.twist, self._path())
            self._telemetry = frame
            self._monitor.covariance(self._robot.ego.P)
        return self.telemetry_ledger.note(verdict, frame.t_receive_ns)

    def on_odometry(self, delta: Pose2, dt_s: float, t_ns: int) -> Verdict:
        """Advance by an odometry increment instead of raw telemetry: logs, robots with odometry on board.

        Args:
            delta: the motion since the last call, as the odometry reported it (`before_from_after`).
            dt_s: the time that it took; positive.
            t_ns: now. The first call only starts the clock, at `t_ns`.

        Returns:
            OK; INVALID (not a number), STALE (time did not advance), OUT_OF_RANGE (faster than the robot can be).
        """
        verdict = self._robot.on_odometry(delta, dt_s, t_ns)
        self._monitor.covariance(self._robot.ego.P)
        return self.telemetry_ledger.note(verdict, t_ns)

    def on_observations(self, batch: DetectionBatch, observations: tuple[FieldObservation, ...]) -> tuple[Verdict, ...]:
        """Use one camera frame, however late, at its capture time.

        Args:
            batch: the frame; its `t_capture_ns` (`vision.delay_s` is off it already) is the time of everything in it.
            observations: its detections on the floor, robot frame at the capture time. May be empty: a frame that
                shows nothing is evidence too.

        Returns:
            One verdict per observation: OK was used; OUTLIER failed a gate; STALE is older than the history or than
            a frame already used; FUTURE is ahead of the telemetry; INVALID and OUT_OF_RANGE are no place at all.
        """
        timing = self.vision_timing(batch)
        if timing is not Verdict.OK:
            self.vision_ledger.note(timing, batch.t_receive_ns)
            return tuple(timing for _ in observations)
        # Newer than the newest telemetry by a little: the robot has hardly moved since.
        t_ns = min(batch.t_capture_ns, self._robot.history.t_ns)
        self._vision_ns = t_ns
        if batch.free_range_m:
            self._free_range, self._free_range_ns = batch.free_range_m, t_ns
        verdicts = [self._maker.check(o, batch) for o in observations]
        goals = self._track(t_ns, batch, observations, verdicts)
        lines = self._locator.on_frame(batch, t_ns) if self._locator is not None else None
        searching = self._locator is not None and self._locator.searching
        if self._monitor.on_field and not searching:
            self._fuse(t_ns, batch.image_size_px, lines, observations, goals, verdicts)
        for verdict in verdicts or [Verdict.OK]:
            self.vision_ledger.note(verdict, batch.t_receive_ns)
        return tuple(verdicts)

    def vision_timing(self, batch: DetectionBatch) -> Verdict:
        """Say whether a frame's time lets it be used now: OK, INVALID, STALE or FUTURE, as in `on_observations`."""
        t_ns = batch.t_capture_ns
        if not batch.valid:
            return Verdict.INVALID
        if not self._robot.started or self._robot.trail.at(t_ns) is None:
            return Verdict.STALE
        if t_ns > self._robot.history.t_ns + int(self.config.vision.future_tolerance_s * NS_PER_S):
            return Verdict.FUTURE
        if self._vision_ns is not None and t_ns <= self._vision_ns:
            return Verdict.STALE
        return Verdict.OK

    def seed(self, pose: Pose2, sigma_m: float, sigma_theta_rad: float, t_ns: int) -> None:
        """Say where the robot was on the field at `t_ns`; tracks stay where they are relative to the robot.

        Args:
            pose: `field_from_robot`.
            sigma_m: standard deviation along x and along y.
            sigma_theta_rad: standard deviation of the heading.
            t_ns: the moment it belongs to; motion since then (within the history) is added.

        Raises:
            ValueError: not finite, or a sigma that is not positive.
        """
        if not pose.is_finite() or not (0.0 < sigma_m < math.inf and 0.0 < sigma_theta_rad < math.inf):
            raise ValueError(f"a seed must be finite with positive sigmas: {pose}, {sigma_m}, {sigma_theta_rad}")
        if self._locator is not None and self._locator.seed(pose, sigma_m, sigma_theta_rad, t_ns):
            return
        self._robot.seed(pose, sigma_m, sigma_theta_rad, t_ns)
        self._monitor.seeded()

    def locate(self) -> None:
        """Do one slice of the search for the pose, if the pose is unknown: once a tick, bounded, deterministic."""
        if self._locator is not None:
            self._locator.step()

    # --- output -------------------------------------------------------------------------------------------------

    def world_model(self, t_now_ns: int) -> WorldModel:
        """Return everything believed, predicted to `t_now_ns`. No belief changes: call it as often as you like."""
        seq, self._seq = self._seq, self._seq + 1
        if not self._robot.started:
            return show.nothing_yet(seq, t_now_ns)
        belief = self._robot.look_ahead(t_now_ns)
        age_s = (t_now_ns - self._robot.history.t_ns) / NS_PER_S
        inputs_ok = age_s <= self.config.telemetry_max_age_s and self.telemetry_ledger.healthy(t_now_ns)
        world_from_odom = belief.world_from_robot @ belief.odom_from_robot.inverse()
        path = self._path()
        return WorldModel(
            seq=seq,
            t_capture_ns=t_now_ns,
            t_receive_ns=t_now_ns,
            valid=True,
            robot=show.robot(
                seq, t_now_ns, belief, self._monitor.state, self.mirror_ambiguous, inputs_ok, self._robot.reset_count
            ),
            ball=show.ball(seq, t_now_ns, self._ball, belief, world_from_odom, path),
            objects=show.objects(self._trackers, t_now_ns, world_from_odom, path),
            free_range_m=self._free_range,
            free_range_age_ns=max(0, t_now_ns - self._free_range_ns) if self._free_range else 0,
            telemetry=self._telemetry,
        )

    def belief(self, t_now_ns: int) -> RobotBelief:
        """Return the robot's part alone, with the covariance of the whole state: for evaluation and tests."""
        return self._robot.look_ahead(t_now_ns)

    def tilt_at(self, t_ns: int) -> Vec2:
        """Return the body's (pitch, roll) at a time within the history: what `observe` needs at the capture time."""
        return self._robot.trail.tilt_at(t_ns).angles_rad if self._robot.started else (0.0, 0.0)

    def dead_reckoning_at(self, t_ns: int) -> DeadReckoning | None:
        """Return the motion by wheels and gyro alone at a time within the history; None outside of it.

        No landmark has moved it: what cameras see can be judged by it.
        """
        return self._robot.dead_reckoning_at(t_ns)

    @property
    def localisation(self) -> Localisation:
        """How far the pose can be believed."""
        return self._monitor.state

    @property
    def mirror_ambiguous(self) -> bool:
        """The pose on the field may as well be its twin: see `RobotState`."""
        return self._locator is not None and self._monitor.on_field and self._locator.mirror_ambiguous

    @property
    def landmarks_used(self) -> int:
        """How many landmark sightings have corrected the pose."""
        return self._monitor.used

    @property
    def slip_m_s(self) -> float:
        """How much the four wheels disagreed in the last telemetry frame, m/s."""
        return self._robot.slip_m_s

    # --- parts --------------------------------------------------------------------------------------------------

    def _track(
        self,
        t_ns: int,
        batch: DetectionBatch,
        observations: tuple[FieldObservation, ...],
        verdicts: list[Verdict],
    ) -> list[int]:
        """Feed the trackers; returns the observations that fed a confirmed goal."""
        trail, path = self._robot.trail, self._path()
        odom_from_robot = trail.at(t_ns)
        assert odom_from_robot is not None  # `vision_timing` has asked
        trusted = self._monitor.state in (Localisation.SEEDED, Localisation.TRACKING)
        world_from_odom = self._robot.ego.pose() @ trail.pose.inverse() if trusted else None
        twist = Twist2(trail.twist.vx_m_s, trail.twist.vy_m_s, trail.turn_rate_at(t_ns))
        frame = self._maker.frame(batch, odom_from_robot, twist, trail.tilt_at(t_ns).sigma_rad, world_from_odom)
        frame = frame.with_robots([o for o, v in zip(observations, verdicts, strict=True) if v is Verdict.OK])
        around = self._surroundings(world_from_odom)
        goals: list[int] = []
        for object_class, tracker in self._trackers.items():
            rows = [
                i for i, o in enumerate(observations) if o.object_class is object_class and verdicts[i] is Verdict.OK
            ]
            height_m = HEIGHT_M[object_class]

            def visible(position_m: FloatArray, height_m: float = height_m) -> float | None:
                return frame.range_if_visible(position_m, height_m)

            sightings = [frame.sighting(observations[i], tracker.config) for i in rows]
            known = around if object_class is ObjectClass.BALL else OPEN
            for i, verdict in zip(rows, tracker.observe(t_ns, sightings, visible, path, known), strict=True):
                verdicts[i] = verdict
                if self.spectator is not None:
                    self.spectator(observations[i], verdict, tracker.fed[rows.index(i)])
            if object_class is ObjectClass.GOAL:
                goals = [i for i, t in zip(rows, tracker.fed, strict=True) if t is not None and t.confirmed]
        return goals

    def _surroundings(self, world_from_odom: Pose2 | None) -> Surroundings:
        p = self._robot.ego.P
        robots = [t for t in self._trackers[ObjectClass.ROBOT].tracks if t.confirmed]
        places = [((float(t.filter.x[0]), float(t.filter.x[1])), t.filter.sigma_m()) for t in robots]
        sigma_m = math.sqrt(max(p[0, 0], p[1, 1], 0.0))
        return surroundings(self._field, world_from_odom, sigma_m, places, self._body.radius_m)

    def _fuse(
        self,
        t_ns: int,
        size_px: tuple[int, int],
        lines: Correction | None,
        observations: tuple[FieldObservation, ...],
        goals: list[int],
        verdicts: list[Verdict],
    ) -> None:
        """Let lines, and goals that have been seen several times, correct the pose: a single false box has no say."""
        corrections, seen = ([lines], [-1]) if lines is not None else ([], [])
        for i in goals:
            correction = self._goal_correction(t_ns, size_px, observations[i])
            if correction is not None:
                corrections.append(correction)
                seen.append(i)
        # One rewind and replay for all: it costs more than the corrections do.
        outcomes = self._robot.fuse(t_ns, corrections) if corrections else ()
        for i, outcome in zip(seen, outcomes, strict=True):
            accepted = outcome.verdict is Verdict.OK
            if i < 0:
                if accepted and self._locator is not None:
                    self._locator.corrected(t_ns)
                continue
            verdicts[i] = outcome.verdict
            if accepted:
                self._goal_ns = t_ns
            elif self._locator is not None and self._locator.agrees_at(t_ns):
                continue  # lines know better than a box that is cut, or whose goal is too near to be seen whole
            if self._monitor.landmark(accepted):
                cfg = self.config.vision
                self._robot.open_up(OPEN_SHARE * cfg.lost_sigma_m, OPEN_SHARE * cfg.lost_sigma_theta_rad)

    def _goal_correction(self, t_ns: int, size_px: tuple[int, int], goal: FieldObservation) -> Correction | None:
        if self._goal_model is None:
            return None
        x, p = self._robot.history.state_at(t_ns)
        last_ns = self._goal_ns if self._goal_ns is not None else t_ns - NS_PER_S
        turn_rate = self._robot.trail.turn_rate_at(t_ns)
        return self._goal_model.correction(goal, size_px, x, p, turn_rate, (t_ns - last_ns) / NS_PER_S)

    def _path(self) -> EgoPath:
        trail = self._robot.trail
        return EgoPath(
            trail.path_m,
            trail.turn_rad,
            (trail.pose.x_m, trail.pose.y_m),
            self.config.ego_noise_m_per_sqrt_m,
            self.config.ego_noise_rad_per_sqrt_rad,
            trail.gaps,
        )
