"""The robot itself: telemetry or odometry in, pose and dead reckoning out, late landmarks fused where they belong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.estimation.config import EstimationConfig
from perception.estimation.ego.ekf import (
    POSE,
    SCALE,
    VX,
    VY,
    Correction,
    EgoFilter,
    Motion,
)
from perception.estimation.ego.history import DelayedFilter, Outcome
from perception.estimation.ego.odometry import TelemetryReader, true_velocity
from perception.estimation.ego.tilt import TiltFilter
from perception.estimation.ego.trail import DeadReckoning, OdometryTrail
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray, Pose2, Twist2, exponential_map, logarithm_map, wrap_angle
from robot.core.messages import TelemetryFrame, Vec2, Verdict

FUTURE_TELEMETRY_NS = NS_PER_S // 20
"""A telemetry stamp this far after its own arrival cannot be true."""

REANCHOR_AFTER = 20
"""So many frames in a row from the past mean that the clock itself has moved."""

BRIDGE_NS = 20_000_000
"""After a longer silence the firmware's own odometry pose tells how far the robot went meanwhile."""

UNKNOWN_VELOCITY_SIGMA_M_S = 1.0

UNKNOWN_HEADING_SIGMA_RAD = math.pi / math.sqrt(3.0)
"""That of a heading of which nothing is known. More is no angle: after ten minutes of silence the gyro's bias made
7 rad of it, which a drive of 3 m turned into 21 m, and a robot that believes itself diverged stands for ever."""

UNKNOWN_PLACE_SIGMA_M = 5.0
"""Somewhere on the field."""


@dataclass(frozen=True, slots=True, eq=False)
class RobotBelief:
    """The robot at one moment: pose in the world and the odometry frame, body twist, covariance of the state."""

    world_from_robot: Pose2
    odom_from_robot: Pose2
    twist: Twist2
    covariance: FloatArray
    gyro_bias_rad_s: float
    tilt_rad: Vec2


class RobotEstimator:
    """Pose filter, its history and the odometry trail, driven by one source of motion."""

    def __init__(self, config: EstimationConfig, body: RobotBody) -> None:
        self._config = config
        self._body = body
        self._reader = TelemetryReader(config.motion, body)
        self._tilt = TiltFilter(config.tilt)
        markings = config.markings
        self.ego = EgoFilter(config.motion, markings.camera_sigma_rad, markings.camera_walk_rad_per_rts)
        self._history: DelayedFilter | None = None
        self._trail: OdometryTrail | None = None
        self._last: TelemetryFrame | None = None
        self._stale_run = 0
        self.slip_m_s = 0.0
        self.reset_count = 0
        self.clock_shift_ns = 0
        """How far the last telemetry moved the time base; zero unless the clock jumped."""

    @property
    def started(self) -> bool:
        """True once the first motion input came."""
        return self._history is not None

    @property
    def history(self) -> DelayedFilter:
        """The pose filter's history."""
        assert self._history is not None, "no motion input yet"
        return self._history

    @property
    def trail(self) -> OdometryTrail:
        """Dead reckoning."""
        assert self._trail is not None, "no motion input yet"
        return self._trail

    def dead_reckoning_at(self, t_ns: int) -> DeadReckoning | None:
        """Return the motion by wheels and gyro alone; see `Estimator.dead_reckoning_at`."""
        pose = self._trail.at(t_ns) if self._trail is not None else None
        if pose is None:
            return None
        return DeadReckoning(
            odom_from_robot=pose,
            turn_rate_rad_s=self.trail.turn_rate_at(t_ns),
            tilt=self.trail.tilt_at(t_ns),
            breaks=self.trail.breaks,
        )

    # --- motion -------------------------------------------------------------------------------------------------

    def on_telemetry(self, frame: TelemetryFrame) -> Verdict:
        """Advance by one telemetry frame; see `Estimator.on_telemetry` for the verdicts."""
        self.clock_shift_ns = 0
        t_ns = frame.t_capture_ns
        if not frame.valid:
            return Verdict.INVALID
        if t_ns - frame.t_receive_ns > FUTURE_TELEMETRY_NS:
            return Verdict.FUTURE
        if self._history is None:
            self._start(t_ns)
            self._last = frame
            return Verdict.OK
        if t_ns <= self._history.t_ns:
            return self._from_the_past(frame)
        self._stale_run = 0
        verdict = Verdict.OK
        if t_ns - self._history.t_ns > BRIDGE_NS:
            self._bridge(frame)
        else:
            reading = self._reader.read(frame)
            self.slip_m_s, verdict = reading.slip_m_s, reading.verdict
            self._advance(t_ns, reading.motion, (reading.correction,) if reading.correction is not None else ())
        self._last = frame
        return verdict

    def on_odometry(self, delta: Pose2, dt_s: float, t_ns: int) -> Verdict:
        """Advance by one odometry increment; see `Estimator.on_odometry`."""
        if not delta.is_finite() or not math.isfinite(dt_s):
            return Verdict.INVALID
        if self._history is None:
            self._start(t_ns)
            return Verdict.OK
        t_ns += int(self._config.motion.lead_s * NS_PER_S)
        if dt_s <= 0.0 or t_ns <= self._history.t_ns:
            return Verdict.STALE
        if not self._possible(delta, dt_s):
            return Verdict.OUT_OF_RANGE
        # The velocity over the increment also bridges the lead of the first one.
        self._advance(t_ns, self._odometry_motion(delta, dt_s), ())
        return Verdict.OK

    def fuse(self, t_ns: int, corrections: Sequence[Correction]) -> tuple[Outcome, ...]:
        """Fuse landmarks seen at `t_ns`; see `DelayedFilter.fuse`. A result that is no number is undone."""
        before = (self.ego.x, self.ego.P)
        outcomes = self.history.fuse(t_ns, corrections)
        if not self.ego.is_finite():
            self._restore(before)
            return tuple(Outcome(Verdict.INVALID) for _ in corrections)
        return outcomes

    def seed(self, pose: Pose2, sigma_m: float, sigma_theta_rad: float, t_ns: int) -> None:
        """Set the pose that the robot had at `t_ns`; see `Estimator.seed`."""
        if self._history is None:
            self._start(t_ns)
        then = self.trail.at(t_ns)
        if then is not None:
            pose = pose @ (then.inverse() @ self.trail.pose)
        self.ego.reset_pose(pose, sigma_m, sigma_theta_rad)
        self.history.restart(self.history.t_ns)
        self.reset_count += 1

    def locate(self, pose: Pose2, covariance: FloatArray) -> None:
        """Set the present pose (`world_from_robot`) with its (3, 3) covariance: a search has found it.

        Args:
            pose: where the robot is now.
            covariance: of x, y, theta.
        """
        self.ego.reset_pose(pose, 1.0, 1.0)
        self.ego.P[POSE, POSE] = covariance
        self.history.restart(self.history.t_ns)
        self.reset_count += 1

    def turn_round(self) -> None:
        """Take the mirror twin for the pose: half a turn about the field's centre."""
        pose, p = self.ego.pose(), self.ego.P
        flip = np.diag([-1.0, -1.0, 1.0])
        turned = Pose2(-pose.x_m, -pose.y_m, wrap_angle(pose.theta_rad + math.pi))
        rest = p[3:, :3] @ flip
        self.ego.reset_pose(turned, 1.0, 1.0)
        self.ego.P[POSE, POSE] = flip @ p[POSE, POSE] @ flip
        self.ego.P[3:, POSE], self.ego.P[POSE, 3:] = rest, rest.T
        self.history.restart(self.history.t_ns)
        self.reset_count += 1

    def open_up(self, sigma_m: float, sigma_theta_rad: float) -> None:
        """Keep the pose but doubt it: landmarks that were refused get a chance to pull it back."""
        self.ego.reset_pose(self.ego.pose(), sigma_m, sigma_theta_rad)
        self.history.restart(self.history.t_ns)
        self.reset_count += 1

    def look_ahead(self, t_now_ns: int) -> RobotBelief:
        """Return the belief at `t_now_ns`, ahead under the last motion or back in the history; nothing changes.

        Extrapolation stops at `telemetry_max_age_s`: beyond it, it would be guessing.
        """
        if t_now_ns < self.history.t_ns:
            return self._look_back(t_now_ns)
        age_s = max(0.0, (t_now_ns - self.history.t_ns) / NS_PER_S)
        ahead_s = min(age_s, self._config.telemetry_max_age_s)
        motion = self.history.last_motion
        twist = self.ego.twist(motion.rate_rad_s)
        present = (self.ego.x, self.ego.P)
        self.ego.advance(Motion(motion.rate_rad_s, None, self._reported(twist)), ahead_s)
        belief = RobotBelief(
            self.ego.pose(),
            self.trail.pose @ exponential_map(twist, ahead_s),
            twist,
            self.ego.P,
            self.ego.gyro_bias_rad_s(),
            self.trail.tilt_at(t_now_ns).angles_rad,
        )
        self.ego.x, self.ego.P = present
        return belief

    def _look_back(self, t_ns: int) -> RobotBelief:
        x, p, motion = self.history.reconstruct(t_ns)
        present = (self.ego.x, self.ego.P)
        self.ego.x, self.ego.P = x, p
        belief = RobotBelief(
            self.ego.pose(),
            self.trail.at(t_ns) or self.trail.pose,
            self.ego.twist(motion.rate_rad_s),
            p,
            self.ego.gyro_bias_rad_s(),
            self.trail.tilt_at(t_ns).angles_rad,
        )
        self.ego.x, self.ego.P = present
        return belief

    # --- parts --------------------------------------------------------------------------------------------------

    def _start(self, t_ns: int) -> None:
        self._history = DelayedFilter(self.ego, t_ns, self._config.history_s)
        self._trail = OdometryTrail(t_ns, self._config.history_s)

    def _advance(self, t_ns: int, motion: Motion, corrections: Sequence[Correction]) -> None:
        before = (self.ego.x, self.ego.P)
        tilt = self._tilt.advance(motion.accel_m_s2, (t_ns - self.history.t_ns) / NS_PER_S)
        self.history.advance(t_ns, motion, corrections)
        if not self.ego.is_finite():
            self._restore(before)
        self.trail.advance(t_ns, self.ego.twist(motion.rate_rad_s), tilt)

    def _restore(self, good: tuple[FloatArray, FloatArray]) -> None:
        """Go back to the last state that was a number: a last resort that the gates should make impossible."""
        self.ego.x, self.ego.P = good
        self.history.restart(self.history.t_ns)
        self.reset_count += 1

    def _from_the_past(self, frame: TelemetryFrame) -> Verdict:
        """Refuse a late or repeated frame; when only such frames come, the clock has moved: follow it."""
        self._stale_run += 1
        if self._stale_run >= REANCHOR_AFTER:
            self.clock_shift_ns = frame.t_capture_ns - self.history.t_ns
            self._stale_run = 0
            self.history.restart(frame.t_capture_ns)
            self.trail.rebase(frame.t_capture_ns)
            self._last = frame
            self.reset_count += 1
        return Verdict.STALE

    def _bridge(self, frame: TelemetryFrame) -> None:
        """Cross a silence: by the firmware's odometry where that is possible motion, otherwise as a doubtful stop."""
        t_ns = frame.t_capture_ns
        dt_s = (t_ns - self.history.t_ns) / NS_PER_S
        delta = self._last.odometry_pose.inverse() @ frame.odometry_pose if self._last is not None else Pose2()
        if delta.is_finite() and self._possible(delta, dt_s) and dt_s <= self._config.motion.max_gap_s:
            self._advance(t_ns, self._odometry_motion(delta, dt_s), ())
            return
        self._advance(t_ns, Motion(0.0, None, (0.0, 0.0)), ())
        sigma_m = min(dt_s, 1.0) * 0.5 * self._body.max_speed_m_s
        self.trail.lose(sigma_m**2, min(dt_s, 1.0) ** 2)
        p = self.ego.P.copy()
        p[0, 0] += sigma_m**2
        p[1, 1] += sigma_m**2
        p[2, 2] += min(dt_s, 1.0) ** 2
        p[VX, VX] += UNKNOWN_VELOCITY_SIGMA_M_S**2
        p[VY, VY] += UNKNOWN_VELOCITY_SIGMA_M_S**2
        self.ego.P = p
        place, heading = math.sqrt(max(p[0, 0], p[1, 1])), math.sqrt(p[2, 2])
        if heading > UNKNOWN_HEADING_SIGMA_RAD or place > UNKNOWN_PLACE_SIGMA_M:
            known = min(place, UNKNOWN_PLACE_SIGMA_M), min(heading, UNKNOWN_HEADING_SIGMA_RAD)
            self.ego.reset_pose(self.ego.pose(), *known)
        self.history.restart(t_ns)

    def _possible(self, delta: Pose2, dt_s: float) -> bool:
        near = math.hypot(delta.x_m, delta.y_m) <= 2.0 * self._body.max_speed_m_s * dt_s + 0.05
        return near and abs(delta.theta_rad) <= 2.0 * self._body.max_omega_rad_s * dt_s + 0.2

    def _odometry_motion(self, delta: Pose2, dt_s: float) -> Motion:
        cfg = self._config.motion
        reported = logarithm_map(delta, dt_s)
        velocity = true_velocity(cfg, reported.vx_m_s, reported.vy_m_s)
        rate = cfg.scale_theta * reported.omega_rad_s
        return Motion(rate, None, velocity, rate_density=cfg.gyro_noise_rad_s_per_rthz)

    def _reported(self, twist: Twist2) -> tuple[float, float]:
        """The wheel velocity that would make the filter's odometry step move with `twist`."""
        keep = 1.0 - float(self.ego.x[SCALE])
        return twist.vx_m_s / keep, twist.vy_m_s / keep
