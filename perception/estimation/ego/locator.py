"""Lines tie the pose to the field: they correct it while it is known, contradict it when it is wrong, and find it.

One `Locator` sits between the pose filter and the search. While the pose is known, each picture's line points correct
it and are counted: explained by the map or not. When too few are explained, the robot has been carried away (or slid):
the pose is lost, and the search looks over the whole field, a slice a tick, until one place explains the views.
"""

from __future__ import annotations

import math

import numpy as np

from perception.camera.model import CameraModel
from perception.estimation.config import EstimationConfig
from perception.estimation.ego.belief import LocalisationMonitor
from perception.estimation.ego.dead_reckoning import RobotEstimator
from perception.estimation.ego.ekf import Correction
from perception.estimation.ego.markings import MarkingModel
from perception.localisation.field_map import FieldMap
from perception.localisation.search import Found, GlobalSearch, Prior
from perception.localisation.view import LinePoints, away_from_goals, goal_bearings
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray, Pose2, Twist2, wrap_angle
from robot.core.messages import DetectionBatch, Localisation

KNOWN_HEADING_RAD = 0.6
KNOWN_PLACE_M = 0.6
"""A seed less certain than this is a prior for the search: the filter cannot hold such a belief."""

_SAME_M, _SAME_RAD = 0.3, math.radians(10.0)
"""Found again this near to where dead reckoning says: the robot was never carried away, and its side is as before."""

_LOST_SIGMA_M, _LOST_SIGMA_RAD = 2.0, 1.5
"""What is said of a pose that has been contradicted."""

_FULL_PICTURE = 30
_SURE_GOAL = 0.6
_GOAL_MISS_RAD, _DOUBT = 0.2, 0.3
"""A sure goal this far from where the map has one, however near or cut it is, leaves so much of what lines explain."""

_AGREES_NS, _AGREES_SHARE = 500_000_000, 0.7

_FOUND_SIGMA_M, _FOUND_SIGMA_RAD = 0.03, 0.015


class Locator:
    """See the module.

    Args:
        config: `markings` and `search` are used.
        field: the map.
        camera: as calibrated.
        robot: the pose filter that is corrected, and set when the search has found it.
        monitor: told of contradictions, and asked how far the pose is believed.
    """

    def __init__(
        self,
        config: EstimationConfig,
        field: FieldGeometry,
        camera: CameraModel,
        robot: RobotEstimator,
        monitor: LocalisationMonitor,
    ) -> None:
        self._config = config
        self._camera = camera
        self._robot = robot
        self._monitor = monitor
        self._map = FieldMap(field)
        self._markings = MarkingModel(config.markings, self._map, camera)
        self._search: GlobalSearch | None = self._new_search(None)
        self._before: tuple[Pose2, Pose2, bool] | None = None
        self._line_ns: int | None = None
        self._breaks = 0
        self._explained = 1.0
        self.mirror_ambiguous = False
        """The pose may as well be its twin, half a turn round the field's centre."""

    @property
    def searching(self) -> bool:
        """True while the search has views to work on: then nothing else sets the pose."""
        return self._search is not None and self._search.views.count > 0

    def agrees_at(self, t_ns: int) -> bool:
        """True when lines have corrected the pose lately, and are explained by it."""
        recent = self._line_ns is not None and t_ns - self._line_ns < _AGREES_NS
        return recent and self._explained > _AGREES_SHARE

    # --- inputs -------------------------------------------------------------------------------------------------

    def seed(self, pose: Pose2, sigma_m: float, sigma_theta_rad: float, t_ns: int) -> bool:
        """Take a seed; returns False for one that the filter can hold itself.

        A vague seed chooses between twins that are known already, or becomes the prior of a new search.
        """
        known = sigma_theta_rad <= KNOWN_HEADING_RAD and sigma_m <= KNOWN_PLACE_M
        if known or not self._config.search.enabled:
            self._search, self.mirror_ambiguous, self._explained = None, False, 1.0
            return False
        # A seed from before the history counts as one of now, as it does in the filter.
        odom = self._robot.trail.at(t_ns) or self._robot.trail.pose if self._robot.started else Pose2()
        prior = Prior(
            field_from_robot=pose,
            odom_from_robot=odom,
            sigma_m=sigma_m,
            sigma_theta_rad=sigma_theta_rad if sigma_theta_rad <= 1.0 else math.inf,
        )
        if self._monitor.state is Localisation.TRACKING and self._choose_twin(prior):
            return True
        if self._search is not None and self._monitor.state is not Localisation.LOST:
            self._search.prior = prior
        else:
            self._search = self._new_search(prior)
        self._before = None
        return True

    def on_frame(self, batch: DetectionBatch, t_ns: int) -> Correction | None:
        """Use a picture's lines and goals, seen at `t_ns` (within the history, not after it).

        Returns:
            What the lines correct, for the caller to fuse (and to tell `corrected` of); None where they say nothing,
            or where they go to the search.
        """
        x, p, _ = self._robot.history.reconstruct(t_ns)
        trail = self._robot.trail
        if trail.breaks != self._breaks:
            self._breaks = trail.breaks
            self._forget_times()
        twist = Twist2(trail.twist.vx_m_s, trail.twist.vy_m_s, trail.turn_rate_at(t_ns))
        points = self._markings.points(batch, trail.tilt_at(t_ns).angles_rad, x, twist)
        posts = self._markings.posts(batch, trail.tilt_at(t_ns).angles_rad, x, twist)
        state = self._monitor.state
        if state is Localisation.LOST and self._search is None:
            self._search = self._new_search(None)
            self._remember()
        if self._search is None:
            if points is None or not self._monitor.on_field:
                return None
            believed = self._goals_speak(batch, Pose2(float(x[0]), float(x[1]), float(x[2])))
            return self._track(points, posts, x, p, t_ns, trail.tilt_at(t_ns).sigma_rad, believed)
        if state is Localisation.TRACKING:
            self._search = None  # goals have found it
            return None
        odom = trail.at(t_ns)
        assert odom is not None  # the caller has asked
        vision = self._config.vision
        goals = goal_bearings(batch, self._camera, vision.goal_padding_px, vision.min_goal_score)
        m = self._camera.mounting
        self._search.views.offer(t_ns, odom, points, goals, (m.x_m, m.y_m))
        return None

    def corrected(self, t_ns: int) -> None:
        """The correction of the picture of `t_ns` has been fused."""
        self._line_ns = t_ns
        self._monitor.lines()

    def step(self) -> None:
        """Do one slice of the search, if one is going on; set the pose when it has found it."""
        if self._search is None or not self._robot.started:
            return
        odom = self._robot.trail.pose
        found = self._search.step(odom)
        if found is not None:
            self._take(found, odom)

    # --- parts --------------------------------------------------------------------------------------------------

    def _new_search(self, prior: Prior | None) -> GlobalSearch | None:
        return GlobalSearch(self._config.search, self._map, prior) if self._config.search.enabled else None

    def _forget_times(self) -> None:
        """The clock has jumped, or nobody knows how the robot moved: views and times from before have no place now."""
        self._line_ns = None
        if self._search is not None:
            self._search = self._new_search(self._search.prior)

    def _track(
        self,
        points: LinePoints,
        posts: LinePoints | None,
        x: FloatArray,
        p: FloatArray,
        t_ns: int,
        tilt_sigma_rad: float,
        believed: float,
    ) -> Correction | None:
        cfg = self._config.markings
        interval_s = (t_ns - self._line_ns) / NS_PER_S if self._line_ns is not None else 1.0
        fit = self._markings.fit(points, x, p, interval_s, tilt_sigma_rad, posts)
        if fit.points >= cfg.min_points:
            # A handful of points may all be false (scratches, a seam): they weigh less than a picture full of lines.
            blend = min(1.0, fit.points / _FULL_PICTURE) * (1.0 - math.exp(-min(interval_s, 0.1) / cfg.doubt_s))
            self._explained += blend * (believed * fit.explained - self._explained)
            if self._explained < cfg.lost_share:
                self._lose()
                return None
        return fit.correction

    def _goals_speak(self, batch: DetectionBatch, pose: Pose2) -> float:
        """Return by how much to believe the lines: less where a goal is seen and none of the map's is near there.

        Lines alone may fit a wrong place for seconds: the robot is put down where the same lines run the same way.
        """
        seen = goal_bearings(batch, self._camera, self._config.vision.goal_padding_px, _SURE_GOAL)
        m = self._camera.mounting
        x, y = pose.transform((m.x_m, m.y_m))
        miss = away_from_goals(seen, Pose2(x, y, pose.theta_rad), self._map.goals_m)
        return 1.0 if miss is None or miss < _GOAL_MISS_RAD else _DOUBT

    def _lose(self) -> None:
        self._monitor.lose()
        self._remember()
        self._robot.open_up(_LOST_SIGMA_M, _LOST_SIGMA_RAD)
        self._explained = 1.0
        self._search = self._new_search(None)

    def _remember(self) -> None:
        self._before = (self._robot.ego.pose(), self._robot.trail.pose, self.mirror_ambiguous)

    def _take(self, found: Found, odom_from_robot: Pose2) -> None:
        pose = found.field_from_odom @ odom_from_robot
        covariance = found.covariance
        ambiguous = found.mirror_ambiguous
        if self._before is not None:
            world, odom, was_ambiguous = self._before
            expected = world @ (odom.inverse() @ odom_from_robot)
            for turned in (False, True):
                candidate = _twin(pose) if turned else pose
                if _near(candidate, expected) and (not turned or self._map.symmetric):
                    pose, ambiguous = candidate, was_ambiguous
                    if turned:
                        flip = np.diag([-1.0, -1.0, 1.0])
                        covariance = flip @ covariance @ flip
                    break
        covariance = covariance + np.diag(np.square([_FOUND_SIGMA_M, _FOUND_SIGMA_M, _FOUND_SIGMA_RAD]))
        self._robot.locate(pose, covariance)
        self._monitor.found()
        self.mirror_ambiguous = ambiguous
        self._search, self._before, self._explained = None, None, 1.0

    def _choose_twin(self, prior: Prior) -> bool:
        """Tell the known pose from its twin by a prior; False when neither fits it."""
        field_from_odom = self._robot.ego.pose() @ self._robot.trail.pose.inverse()
        own = np.array([[field_from_odom.x_m, field_from_odom.y_m, field_from_odom.theta_rad]])
        turned = own * (-1.0, -1.0, 1.0) + (0.0, 0.0, math.pi)
        here, there = float(prior.log_density(own)[0]), float(prior.log_density(turned)[0])
        if not self.mirror_ambiguous:
            return here > -8.0
        if max(here, there) < -8.0:
            return False
        if abs(here - there) >= self._config.search.twin_log_odds:
            if there > here:
                self._robot.turn_round()
            self.mirror_ambiguous = False
        return True


def _twin(pose: Pose2) -> Pose2:
    return Pose2(-pose.x_m, -pose.y_m, wrap_angle(pose.theta_rad + math.pi))


def _near(a: Pose2, b: Pose2) -> bool:
    return a.distance_to(b) < _SAME_M and abs(wrap_angle(a.theta_rad - b.theta_rad)) < _SAME_RAD
