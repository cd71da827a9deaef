"""Where on the field am I? Every pose is tried against all that was seen since, a slice at a time.

Views of the last seconds are kept in the odometry frame, which drifts by centimetres in that time: together they are
a small map of lines and goals around the robot. The search asks which `field_from_odom` lays it on the field:

1. coarse: all headings and places on a grid, few points, one addition and look-up each (correlative scan matching,
   Olson 2009, with the likelihood field as the map);
2. keep the local maxima, score them by all points and goals;
3. refine the best by Gauss-Newton on exact distances, with the camera's pitch and roll free within their sigma;
4. believe the best when no other place is nearly as good, or look on.

Where the field is symmetric only half of it is searched: a pose and its twin, turned by half a turn about the centre,
are one hypothesis. A prior (a seed, dead reckoning before the robot got lost) tells the twins apart, or nothing does
and the result says so. Nothing is drawn at random: the same views give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from perception.localisation.config import SearchConfig
from perception.localisation.field_map import CELL_M, FRAME_M, FieldMap
from perception.localisation.refine import refine
from perception.localisation.views import Views
from robot.core.geometry import FloatArray, Pose2, wrap_angle, wrap_angles


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """What is known beforehand: the robot was near `field_from_robot` when it stood at `odom_from_robot`.

    `sigma_theta_rad` infinite: nothing about the heading.
    """

    field_from_robot: Pose2
    odom_from_robot: Pose2
    sigma_m: float
    sigma_theta_rad: float = math.inf

    def log_density(self, poses: FloatArray) -> FloatArray:
        """Return the log of the prior, up to a constant, of `field_from_odom` poses (H, 3)."""
        o, f = self.odom_from_robot, self.field_from_robot
        c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        dx = poses[:, 0] + c * o.x_m - s * o.y_m - f.x_m
        dy = poses[:, 1] + s * o.x_m + c * o.y_m - f.y_m
        turn = wrap_angles(poses[:, 2] + o.theta_rad - f.theta_rad)
        away2 = (dx * dx + dy * dy) / self.sigma_m**2 + (turn / self.sigma_theta_rad) ** 2
        return np.asarray(-0.5 * away2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The pose that explains what was seen.

    Attributes:
        field_from_odom: its place.
        covariance: (3, 3) of x, y, theta of the robot on the field.
        mirror_ambiguous: the twin explains it as well, and no prior told them apart.
        explained: share of points on markings.
        margin: by how much the log-likelihood beats the next place.
    """

    field_from_odom: Pose2
    covariance: FloatArray
    mirror_ambiguous: bool
    explained: float
    margin: float


class _Stage(Enum):
    GATHER = 0
    COARSE = 1
    RESCORE = 2
    REFINE = 3


def twin(poses: FloatArray) -> FloatArray:
    """Return poses (H, 3) turned by half a turn about the field's centre."""
    turned = np.array([-1.0, -1.0, 1.0]) * poses
    turned[:, 2] = np.remainder(turned[:, 2] + math.tau, math.tau) - math.pi
    return turned


class GlobalSearch:
    """One search, from its first view until it finds or is thrown away."""

    def __init__(self, config: SearchConfig, field_map: FieldMap, prior: Prior | None = None) -> None:
        self._config = config
        self._map = field_map
        self.prior = prior
        self.views = Views(config)
        self._stage = _Stage.GATHER
        self._seen = 0
        self.searches = 0
        """How often all poses were tried."""

    @property
    def busy(self) -> bool:
        """True in the middle of a search, False while it waits for new views."""
        return self._stage is not _Stage.GATHER

    # --- one slice ----------------------------------------------------------------------------------------------

    def step(self, odom_from_robot: Pose2) -> Found | None:
        """Do one slice of the work; returns the pose once it is beyond doubt.

        Args:
            odom_from_robot: where the robot is now, by dead reckoning.
        """
        if self._stage is _Stage.GATHER:
            if self.views.ready and self.views.count > self._seen:
                self._begin(odom_from_robot)
        elif self._stage is _Stage.COARSE:
            self._coarse()
        elif self._stage is _Stage.RESCORE:
            self._rescore()
        else:
            return self._refine(odom_from_robot)
        return None

    def _begin(self, odom_from_robot: Pose2) -> None:
        cfg = self._config
        self._seen = self.views.count
        self.searches += 1
        self._centre = odom_from_robot
        self._places = self._grid()
        self._base = self._map.cell(self._places)
        points = self.views.coarse(cfg.coarse_points)
        self._coarse_places = points.places_m - (odom_from_robot.x_m, odom_from_robot.y_m)
        self._coarse_levels = points.levels * np.int32(self._map.cells)
        self._far = np.flatnonzero(np.hypot(*self._coarse_places.T) > FRAME_M - CELL_M)
        self._angles: FloatArray = np.arange(cfg.headings, dtype=np.float64) * (math.tau / cfg.headings)
        self._scores = np.empty((cfg.headings, len(self._places)), np.float32)
        self._next = 0
        self._stage = _Stage.COARSE

    def _grid(self) -> FloatArray:
        """Places (K, 2) of the robot to try: half of the field where the other half is the same; near the prior."""
        step = self._config.place_step_m
        x_min, x_max, y_min, y_max = self._map.bounds_m
        if self._map.symmetric:
            x_min = -0.5 * step
        x = np.arange(x_min + 0.5 * step, x_max, step)
        y = np.arange(y_min + 0.5 * step, y_max, step)
        self._shape = (len(x), len(y))
        gx, gy = np.meshgrid(x, y, indexing="ij")
        return np.stack((gx.ravel(), gy.ravel()), axis=1)

    def _coarse(self) -> None:
        cfg = self._config
        last = min(self._next + cfg.headings_per_step, cfg.headings)
        likelihood, columns = self._map.log_likelihood, np.int32(self._map.columns)
        for k in range(self._next, last):
            c, s = math.cos(self._angles[k]), math.sin(self._angles[k])
            turned = self._coarse_places @ np.array([[c, s], [-s, c]])
            away = np.rint(turned / CELL_M).astype(np.int32)
            offset = away[:, 1] * columns + away[:, 0] + self._coarse_levels
            cells = self._base[:, None] + offset[None, :]
            if len(self._far):
                cells[:, self._far] = self._map.moved(self._base, away[self._far]) + self._coarse_levels[self._far]
            self._scores[k] = likelihood.take(cells).sum(axis=1)
        self._next = last
        if last == cfg.headings:
            self._pick()

    def _pick(self) -> None:
        """Keep the local maxima of the coarse scores, best first."""
        cfg = self._config
        scores = self._scores.reshape(cfg.headings, *self._shape)
        padded = np.full((cfg.headings + 2, self._shape[0] + 2, self._shape[1] + 2), -np.inf, np.float32)
        padded[1:-1, 1:-1, 1:-1] = scores
        padded[0, 1:-1, 1:-1], padded[-1, 1:-1, 1:-1] = scores[-1], scores[0]
        peak = np.ones(scores.shape, bool)
        for axis in range(3):
            for shift in (0, 2):
                window = [slice(1, -1)] * 3
                window[axis] = slice(shift, shift + scores.shape[axis])
                peak &= scores >= padded[tuple(window)]
        candidates = np.flatnonzero(peak)
        worth = scores.ravel()[candidates]
        if len(candidates) > cfg.kept:
            chosen = np.argpartition(-worth, cfg.kept - 1)[: cfg.kept]
            candidates, worth = candidates[chosen], worth[chosen]
        candidates = candidates[np.argsort(-worth, kind="stable")]
        heading, place = np.divmod(candidates, len(self._places))
        self._poses = self._from_robot(self._places[place], self._angles[heading])
        self._rescored = np.empty(len(self._poses))
        self._next = 0
        self._stage = _Stage.RESCORE

    def _from_robot(self, places_m: FloatArray, turns_rad: FloatArray) -> FloatArray:
        """Return `field_from_odom` (H, 3) that puts the robot's place at `places_m`, turned by `turns_rad`."""
        c, s = np.cos(turns_rad), np.sin(turns_rad)
        x, y = self._centre.x_m, self._centre.y_m
        return np.stack((places_m[:, 0] - c * x + s * y, places_m[:, 1] - s * x - c * y, turns_rad), axis=1)

    def _rescore(self) -> None:
        last = min(self._next + 80, len(self._poses))
        some = slice(self._next, last)
        self._rescored[some] = self.views.score(self._map, self._poses[some])
        if self.prior is not None:
            self._rescored[some] += self._best_prior(self._poses[some])
        self._next = last
        if last == len(self._poses):
            order = np.argsort(-self._rescored, kind="stable")[: self._config.refined]
            self._poses = self._poses[order]
            self._tilts = np.zeros((len(order), 2))
            self._next = 0
            self._stage = _Stage.REFINE

    def _best_prior(self, poses: FloatArray) -> FloatArray:
        assert self.prior is not None
        own = self.prior.log_density(poses)
        return np.maximum(own, self.prior.log_density(twin(poses))) if self._map.symmetric else own

    def _refine(self, odom_from_robot: Pose2) -> Found | None:
        if self._next < self._config.rounds:
            self._poses, self._tilts = refine(self._map, self.views, self._poses, self._tilts)
            self._next += 1
            return None
        self._stage = _Stage.GATHER
        return self._decide(odom_from_robot)

    # --- the verdict --------------------------------------------------------------------------------------------

    def _decide(self, odom_from_robot: Pose2) -> Found | None:
        cfg = self._config
        score, explained, information = self.views.judge(self._map, self._poses, self._tilts, odom_from_robot)
        if self.prior is not None:
            score = score + self._best_prior(self._poses)
        best = int(np.argmax(score))
        others = ~self._same(self._poses, self._poses[best], odom_from_robot)
        margin = float(score[best] - score[others].max()) if others.any() else math.inf
        self.last = (margin, float(explained[best]), self._poses[best])
        if margin < cfg.margin or explained[best] < cfg.found_share or self.views.points < cfg.min_points:
            return None
        covariance = np.linalg.inv(information[best] + 1e-9 * np.eye(5))[:3, :3]
        if max(covariance[0, 0], covariance[1, 1]) > cfg.found_sigma_m**2:
            return None
        pose, ambiguous = self._poses[best], self._map.symmetric
        if self.prior is not None and self._map.symmetric:
            pair = np.stack((pose, twin(pose[None])[0]))
            odds = self.prior.log_density(pair)
            pose = pair[int(np.argmax(odds))]
            ambiguous = abs(float(odds[0] - odds[1])) < cfg.twin_log_odds
        if pose is not self._poses[best]:
            turn = pose[2] - self._poses[best][2]
            c, s = math.cos(turn), math.sin(turn)
            r = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            covariance = r @ covariance @ r.T
        return Found(
            field_from_odom=Pose2(float(pose[0]), float(pose[1]), wrap_angle(float(pose[2]))),
            covariance=covariance,
            mirror_ambiguous=ambiguous,
            explained=float(explained[best]),
            margin=margin,
        )

    def _same(self, poses: FloatArray, pose: FloatArray, at: Pose2) -> NDArray[np.bool_]:
        """Which poses (H, 3) put the robot where `pose` does, or where its twin does."""
        same = self._close(poses, pose, at)
        if self._map.symmetric:
            same |= self._close(twin(poses), pose, at)
        return same

    def _close(self, poses: FloatArray, pose: FloatArray, at: Pose2) -> NDArray[np.bool_]:
        def place(p: FloatArray) -> FloatArray:
            c, s = np.cos(p[..., 2]), np.sin(p[..., 2])
            return np.stack((p[..., 0] + c * at.x_m - s * at.y_m, p[..., 1] + s * at.x_m + c * at.y_m), axis=-1)

        away = np.linalg.norm(place(poses) - place(pose), axis=-1)
        turn = np.abs(wrap_angles(poses[:, 2] - pose[2]))
        return np.asarray((away < self._config.same_m) & (turn < self._config.same_rad))
