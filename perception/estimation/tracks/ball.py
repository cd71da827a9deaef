"""The ball: one tracker that also hears the break-beam and carries the ball through the blind zone."""

from __future__ import annotations

import math

import numpy as np

from perception.estimation.config import BeamConfig, TrackConfig
from perception.estimation.tracks.point import PointFilter
from perception.estimation.tracks.track import EgoPath, Sighting, Track
from perception.estimation.tracks.tracker import Tracker
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.field import BALL_RADIUS_M
from robot.core.geometry import Pose2, Twist2, rotate_covariance
from robot.core.messages import Vec2

SWITCH_MARGIN_LOG_ODDS = 1.0
"""Another track must be surer by this much before it becomes the ball: no flipping between two."""

DOUBT_LOG_ODDS = 0.0
ALONE_NS = NS_PER_S
"""And the present one must be doubted, or not have been seen for this long while the other was: a ball that is missed
in a few frames (blur, an edge of the picture) is still the ball, whatever else is seen just then."""

FRESH_NS = NS_PER_S // 5
KICK_TO_RELEASE_NS = NS_PER_S * 3 // 10
"""A ball that leaves the mouth within this time after the kicker fired was kicked."""

BEAM_REACH_M = 0.35
"""A track nearer to the mouth than this may be the ball that breaks the beam."""


class BallTracker(Tracker):
    """Tracks of balls, and which of them is *the* ball.

    The break-beam is a measurement at the dribbler: while it is broken the ball is held there and moves with the
    robot. When a well-seen ball elsewhere contradicts it (dirt, a hand, another robot), the camera wins.
    """

    def __init__(self, config: TrackConfig, beam: BeamConfig, body: RobotBody) -> None:
        super().__init__(config)
        self._beam = beam
        self._hold_in_robot_m: Vec2 = (body.ball_hold_x_m(BALL_RADIUS_M), 0.0)
        self._half_mouth_m = 0.5 * body.mouth_width_m
        self._main: Track | None = None
        self._held: Track | None = None
        self._broken = False
        self._run = 0
        self._last_beam_ns: int | None = None
        self._charge: float | None = None
        self._kick_ns: int | None = None

    @property
    def in_dribbler(self) -> bool:
        """The debounced break-beam."""
        return self._broken

    @property
    def held(self) -> Track | None:
        """The track that the dribbler holds, if any."""
        return self._held

    def main(self) -> Track | None:
        """Return the track that is the ball, with hysteresis; None when no track is confirmed."""
        best, current = self.best(), self._main
        kept = current is not None and current.confirmed and any(t is current for t in self.tracks)
        if not kept or (best is not None and current is not None and self._replaces(best, current)):
            self._main = best
        return self._main

    @staticmethod
    def _replaces(best: Track, current: Track) -> bool:
        alone = best.seen_ns - current.seen_ns >= ALONE_NS
        surer = best.log_odds > current.log_odds + SWITCH_MARGIN_LOG_ODDS
        return surer and (alone or current.log_odds < DOUBT_LOG_ODDS)

    def on_beam(self, t_ns: int, broken: bool, odom_from_robot: Pose2, twist: Twist2, ego: EgoPath) -> None:
        """Use one break-beam sample, with the robot's pose and body twist at that moment."""
        self._run = self._run + 1 if broken != self._broken else 0
        if self._run >= self._beam.debounce_samples:
            self._broken, self._run = broken, 0
            if not broken:
                kicked = self._kick_ns is not None and t_ns - self._kick_ns <= KICK_TO_RELEASE_NS
                self._release(odom_from_robot, kicked)
        if self._broken and not self._overruled(t_ns, odom_from_robot):
            self._hold(t_ns, odom_from_robot, twist, ego)
        elif self._broken and self._held is not None:
            self.remove(self._held)
            self._held = None
        else:
            self._doubt(t_ns, odom_from_robot, ego)
        self._last_beam_ns = t_ns

    def on_kicker(self, t_ns: int, charge: float) -> None:
        """Note the kicker's charge (0 to 1): what it loses at once has gone into a kick."""
        if self._charge is not None and self._charge - charge > self._beam.kick_charge_drop:
            self._kick_ns = t_ns
        self._charge = charge

    def _overruled(self, t_ns: int, odom_from_robot: Pose2) -> bool:
        hold = odom_from_robot.transform(self._hold_in_robot_m)
        return any(
            t is not self._held
            and t.confirmed
            and t.visible
            and t.sightings >= self._beam.overruled_after_sightings
            and t.age_ns(t_ns) < FRESH_NS
            and float(np.hypot(t.filter.x[0] - hold[0], t.filter.x[1] - hold[1])) > BEAM_REACH_M
            for t in self.tracks
        )

    def _hold(self, t_ns: int, odom_from_robot: Pose2, twist: Twist2, ego: EgoPath) -> None:
        hold = odom_from_robot.transform(self._hold_in_robot_m)
        x, y = self._hold_in_robot_m
        velocity = odom_from_robot.rotate((twist.vx_m_s - twist.omega_rad_s * y, twist.vy_m_s + twist.omega_rad_s * x))
        spread = np.diag([self._beam.sigma_x_m**2, self._beam.sigma_y_m**2])
        covariance = np.zeros((4, 4))
        covariance[:2, :2] = rotate_covariance(spread, odom_from_robot.theta_rad)
        covariance[2, 2] = covariance[3, 3] = 0.05**2
        track = self._held or self._nearest(hold)
        if track is None or not any(t is track for t in self.tracks):
            track = self.found(t_ns, Sighting(np.array(hold), covariance[:2, :2], np.zeros((2, 2)), 1.0), ego)
        track.filter.place(hold, velocity, covariance)
        track.t_ns = track.seen_ns = t_ns
        track.seen_m = hold
        track.bias_m2 = np.zeros((2, 2))
        track.path_m, track.turn_rad = ego.path_m, ego.turn_rad
        track.log_odds, track.confirmed = self.config.max_log_odds, True
        self._held = self._main = track

    def _nearest(self, point_m: Vec2) -> Track | None:
        near = [(float(np.hypot(t.filter.x[0] - point_m[0], t.filter.x[1] - point_m[1])), t) for t in self.tracks]
        distance, track = min(near, key=lambda pair: pair[0], default=(BEAM_REACH_M, None))
        return track if distance < BEAM_REACH_M else None

    def _release(self, odom_from_robot: Pose2, kicked: bool) -> None:
        """The ball has left the mouth: it keeps the robot's velocity, or was kicked straight ahead, sliding."""
        held, self._held = self._held, None
        if held is None:
            return
        beam, point = self._beam, held.filter
        p = point.P.copy()
        if not kicked:
            p[2, 2] += beam.release_velocity_sigma_m_s**2
            p[3, 3] += beam.release_velocity_sigma_m_s**2
        else:
            theta = odom_from_robot.theta_rad
            speed, (along, across) = beam.kick_speed_m_s, beam.kick_sigma_m_s
            point.x[2:] += (speed * math.cos(theta), speed * math.sin(theta))
            p[2:, 2:] += rotate_covariance(np.diag([along**2, across**2]), theta)
            point.surface_m_s = (0.0, 0.0)
        point.P = p

    def _doubt(self, t_ns: int, odom_from_robot: Pose2, ego: EgoPath) -> None:
        """Lower the existence of a ball that should lie in the mouth while the beam sees nothing there."""
        main = self._main
        if main is None or self._last_beam_ns is None:
            return
        x, y = odom_from_robot.inverse().transform((float(main.filter.x[0]), float(main.filter.x[1])))
        if x < self._hold_in_robot_m[0] + 0.01 and x > 0.0 and abs(y) < self._half_mouth_m:
            dt_s = max(0, t_ns - self._last_beam_ns) / NS_PER_S
            main.log_odds -= self._beam.absent_log_odds_per_s * dt_s

    def at(self, track: Track, t_ns: int, odom_from_robot: Pose2, ego: EgoPath) -> PointFilter:
        """Return the ball predicted to `t_ns`, never inside the robot: what is not held is pushed ahead of the hull.

        Args:
            track: the main track.
            t_ns: now.
            odom_from_robot: the robot's pose then.
            ego: the robot's path so far.
        """
        if track is self._held:
            ahead = track.filter.copy()
            hold = odom_from_robot.transform(self._hold_in_robot_m)
            ahead.x[:2] = hold
            return ahead
        ahead = self.look_ahead(track, t_ns, ego)
        x, y = odom_from_robot.inverse().transform((float(ahead.x[0]), float(ahead.x[1])))
        contact = self._hold_in_robot_m[0]
        if abs(y) < self._half_mouth_m and 0.0 < x < contact:
            ahead.x[:2] = odom_from_robot.transform((contact, y))
        return ahead

    def shift_time(self, offset_ns: int) -> None:
        """See `Tracker.shift_time`."""
        super().shift_time(offset_ns)
        self._last_beam_ns = self._kick_ns = None
