"""Views of the last seconds, kept together in the odometry frame: a small map of lines and goals around the robot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.localisation.config import SearchConfig
from perception.localisation.field_map import OUTLIER_SHARE, FieldMap, noise_level
from perception.localisation.view import GoalBearings, LinePoints
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray, Pose2, rotation, wrap_angle, wrap_angles

_GRID_SLACK_M = 0.12
"""How far a pose of the coarse grid may put a point from where the right pose does (half a step, and the heading)."""

_GOAL_SIGMA_RAD = 0.03
_GOAL_OUTLIER = 0.1
_CAMERA_SIGMA_RAD = 0.004


@dataclass(frozen=True, slots=True, eq=False)
class OdomPoints:
    """Points in the odometry frame: places (N, 2), sigmas (N,), their noise levels, how pitch and roll move them
    (N, 2, 2), and their covariances (N, 2, 2).
    """

    places_m: FloatArray
    levels: NDArray[np.int32]
    by_tilt: FloatArray
    covariances_m2: FloatArray

    @classmethod
    def join(cls, parts: list[OdomPoints]) -> OdomPoints:
        """Put several together."""
        return cls(
            np.concatenate([p.places_m for p in parts]),
            np.concatenate([p.levels for p in parts]),
            np.concatenate([p.by_tilt for p in parts]),
            np.concatenate([p.covariances_m2 for p in parts]),
        )

    def every(self, most: int) -> OdomPoints:
        """Return at most so many, evenly taken."""
        if len(self.places_m) <= most:
            return self
        chosen = np.linspace(0, len(self.places_m) - 1, most).astype(int)
        return OdomPoints(self.places_m[chosen], self.levels[chosen], self.by_tilt[chosen], self.covariances_m2[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    t_ns: int
    odom_from_robot: Pose2
    points: OdomPoints
    goals: tuple[tuple[FloatArray, float, float], ...]


class Views:
    """The buffer. Only what adds something is kept: the robot has turned or moved since the last view."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._views: list[_View] = []
        self._joined: OdomPoints | None = None
        self.count = 0
        """How many views were ever kept."""

    @property
    def points(self) -> int:
        """How many line points are kept."""
        return sum(len(v.points.places_m) for v in self._views)

    @property
    def ready(self) -> bool:
        """Enough for a search."""
        return len(self._views) >= self._config.min_views and self.points >= self._config.min_points

    def offer(
        self,
        t_ns: int,
        odom_from_robot: Pose2,
        points: LinePoints | None,
        goals: list[GoalBearings],
        camera_m: tuple[float, float],
    ) -> bool:
        """Take a picture's points and goals, if the picture shows anything new; returns whether it was kept."""
        cfg = self._config
        oldest_ns = t_ns - int(cfg.max_age_s * NS_PER_S)
        if points is None or not len(points):
            return False
        if self._views:
            last = self._views[-1].odom_from_robot
            turned = abs(wrap_angle(odom_from_robot.theta_rad - last.theta_rad))
            if turned < cfg.view_turn_rad and odom_from_robot.distance_to(last) < cfg.view_move_m:
                return False
        r = rotation(odom_from_robot.theta_rad)
        chosen = points[:: max(1, math.ceil(len(points) / cfg.view_points))]
        places = chosen.places_m @ r.T + (odom_from_robot.x_m, odom_from_robot.y_m)
        covariances = r @ chosen.covariances_m2 @ r.T
        by_tilt = r @ chosen.by_tilt[:, :, :2]
        # Between the two: a point far off is known well across the line of sight and badly along it.
        tilted = _CAMERA_SIGMA_RAD**2 * np.einsum("nij,nij->n", by_tilt, by_tilt)
        sigma = np.sqrt(0.5 * (np.trace(covariances, axis1=1, axis2=2) + tilted) + _GRID_SLACK_M**2)
        camera = np.array(odom_from_robot.transform(camera_m))
        turn = odom_from_robot.theta_rad
        seen = tuple((camera, g.left_rad + turn, g.right_rad + turn) for g in goals)
        kept = _View(t_ns, odom_from_robot, OdomPoints(places, noise_level(sigma), by_tilt, covariances), seen)
        self._views = [v for v in self._views[-(cfg.max_views - 1) :] if v.t_ns >= oldest_ns] + [kept]
        self._joined = None
        self.count += 1
        return True

    def joined(self) -> OdomPoints:
        """Return all points."""
        if self._joined is None:
            self._joined = OdomPoints.join([v.points for v in self._views])
        return self._joined

    def coarse(self, most: int) -> OdomPoints:
        """Return at most so many points, spread over all views."""
        return self.joined().every(most)

    # --- scores -------------------------------------------------------------------------------------------------

    def score(self, field_map: FieldMap, poses: FloatArray) -> FloatArray:
        """Return the log-likelihoods (H,) of `field_from_odom` poses (H, 3) on the likelihood field."""
        points = self.joined().every(240)
        c, s = np.cos(poses[:, 2])[:, None], np.sin(poses[:, 2])[:, None]
        x, y = points.places_m[:, 0], points.places_m[:, 1]
        placed = np.stack((c * x - s * y + poses[:, :1], s * x + c * y + poses[:, 1:2]), axis=-1)
        share = self.points / len(points.places_m)
        lines = self._config.point_weight * share * field_map.score(placed, points.levels).sum(axis=1)
        return np.asarray(lines + self._goals(field_map, poses))

    def judge(
        self, field_map: FieldMap, poses: FloatArray, tilts: FloatArray, odom_from_robot: Pose2
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Judge refined poses by exact distances.

        Returns:
            Log-likelihoods (H,); shares of points on a marking (H,); information matrices (H, 5, 5) of the robot's
            pose on the field (x, y, theta) and the camera's pitch and roll.
        """
        offset, variance, by_pose = residuals(field_map, self.joined(), poses, tilts)
        good = np.exp(-0.5 * offset**2 / variance)
        weight = self._config.point_weight
        score = weight * np.log((1.0 - OUTLIER_SHARE) * good + OUTLIER_SHARE).sum(axis=1)
        score += -0.5 * (tilts**2).sum(axis=1) / _CAMERA_SIGMA_RAD**2
        explained = (offset**2 < 9.0 * variance).mean(axis=1)
        # About the robot's place: turning there moves a point by its lever from the robot, not from odometry's origin.
        by_robot = by_pose[:, :, :3].copy()
        c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        ox, oy = odom_from_robot.x_m, odom_from_robot.y_m
        lever_x, lever_y = c * ox - s * oy, s * ox + c * oy
        by_robot[:, :, 2] -= -by_pose[:, :, 0] * lever_y[:, None] + by_pose[:, :, 1] * lever_x[:, None]
        trust = weight * good / variance
        whole = np.concatenate((by_robot, by_pose[:, :, 3:]), axis=2)
        information = (whole * trust[..., None]).transpose(0, 2, 1) @ whole
        information[:, (3, 4), (3, 4)] += 1.0 / _CAMERA_SIGMA_RAD**2
        return np.asarray(score + self._goals(field_map, poses)), explained, information

    def _goals(self, field_map: FieldMap, poses: FloatArray) -> FloatArray:
        """Return the log-likelihood (H,) of all goals seen: each edge at the bearing of a post of one of the goals."""
        total = np.zeros(len(poses))
        c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        for view in self._views:
            for camera, left, right in view.goals:
                x, y = c * camera[0] - s * camera[1] + poses[:, 0], s * camera[0] + c * camera[1] + poses[:, 1]
                best = np.full(len(poses), _GOAL_OUTLIER)
                for posts in field_map.goals_m:
                    angle = np.arctan2(posts[:, 1] - y[:, None], posts[:, 0] - x[:, None]) - poses[:, 2:]
                    # Seen from inside the field the goal at +x has its +y post on the left.
                    post_left, post_right = (
                        (angle[:, 0], angle[:, 1]) if posts[0, 0] > 0 else (angle[:, 1], angle[:, 0])
                    )
                    away2 = np.zeros(len(poses))
                    for post, seen in ((post_left, left), (post_right, right)):
                        if not math.isnan(seen):
                            off = wrap_angles(post - seen)
                            away2 += (off / _GOAL_SIGMA_RAD) ** 2
                    best = np.maximum(best, np.exp(-0.5 * away2))
                total += np.log(best)
        return total


def residuals(
    field_map: FieldMap, points: OdomPoints, poses: FloatArray, tilts: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return signed distances from the markings and their variances (H, N), and derivatives (H, N, 5).

    Args:
        field_map: the map.
        points: N points.
        poses: (H, 3) `field_from_odom`.
        tilts: (H, 2) pitch and roll of the camera off its calibration.

    Returns:
        The derivatives are by x, y, theta of the pose, pitch and roll.
    """
    places = points.places_m[None] + np.einsum("nij,hj->hni", points.by_tilt, tilts)
    c, s = np.cos(poses[:, 2])[:, None], np.sin(poses[:, 2])[:, None]
    turned_x, turned_y = c * places[..., 0] - s * places[..., 1], s * places[..., 0] + c * places[..., 1]
    placed = np.stack((turned_x + poses[:, :1], turned_y + poses[:, 1:2]), axis=-1)
    nearest = field_map.nearest(placed)
    nx, ny = nearest.normal[..., 0], nearest.normal[..., 1]
    mx, my = c * nx + s * ny, -s * nx + c * ny
    cov = points.covariances_m2
    variance = mx * mx * cov[:, 0, 0] + 2.0 * mx * my * cov[:, 0, 1] + my * my * cov[:, 1, 1] + 0.03**2
    by_pose = np.empty((*nx.shape, 5))
    by_pose[..., 0], by_pose[..., 1] = nx, ny
    by_pose[..., 2] = -nx * turned_y + ny * turned_x
    by_pose[..., 3] = mx * points.by_tilt[:, 0, 0] + my * points.by_tilt[:, 1, 0]
    by_pose[..., 4] = mx * points.by_tilt[:, 0, 1] + my * points.by_tilt[:, 1, 1]
    beyond = np.maximum(nearest.distance_m, np.abs(nearest.offset_m))
    offset = np.where(beyond > np.abs(nearest.offset_m) + 0.06, np.copysign(beyond, nearest.offset_m), nearest.offset_m)
    return offset, variance, by_pose
