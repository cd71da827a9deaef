"""Pitch and roll of the camera from the directions of straight lines on the floor alone.

All lines of a field run along one of two perpendicular directions. A line in the picture spans a plane with the
camera; where that plane meets the floor is the line, and its direction depends on the camera's rotation only, not on
its height or place (vanishing points: Caprile and Torre 1990). With a gyro's heading for each picture, every line
seen at any time must have the same direction modulo a quarter turn, so that even pictures with a single line count.
No tape measure, no map, no pose: three numbers (pitch, roll, the field's heading in the odometry frame) and a slow
drift of the gyro explain all lines, or a bumped camera shows.

Shifts are in the sense of `CameraMounting`: pitch positive looks lower, roll positive lowers the right side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.camera.lens import undistort
from perception.camera.model import ROBOT_FROM_OPTICAL, CameraModel, yaw_pitch_roll
from perception.estimation.ego.trail import DeadReckoning
from robot.core.geometry import FloatArray, Pose2
from robot.core.messages import Vec2

_ELSEWHERE_RAD = math.radians(0.7)
"""Two shifts further apart than this are two explanations."""

QUARTER = 0.5 * math.pi
SegmentPx = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class LineView:
    """What one picture shows of the lines, and how the robot stood then.

    `segments_px` are straight pieces (u, v, u, v), `points_px` centres of lines; `odom_from_robot` is the pose by
    wheels and gyro, `tilt_rad` the body's (pitch, roll) and `tilt_sigma_rad` its doubt, `turn_rate_rad_s` the turn
    rate (a rolling shutter shears the picture with it), `breaks` how often dead reckoning was interrupted until then.
    """

    t_ns: int
    segments_px: tuple[SegmentPx, ...]
    points_px: tuple[Vec2, ...] = ()
    odom_from_robot: Pose2 = Pose2()
    tilt_rad: Vec2 = (0.0, 0.0)
    tilt_sigma_rad: float = 0.0
    turn_rate_rad_s: float = 0.0
    breaks: int = 0

    @classmethod
    def seen(
        cls, t_ns: int, segments_px: tuple[SegmentPx, ...], points_px: tuple[Vec2, ...], motion: DeadReckoning
    ) -> LineView:
        """Return what was seen at `t_ns`, with the robot's motion then."""
        return cls(
            t_ns=t_ns,
            segments_px=segments_px,
            points_px=points_px,
            odom_from_robot=motion.odom_from_robot,
            tilt_rad=motion.tilt.angles_rad,
            tilt_sigma_rad=motion.tilt.sigma_rad,
            turn_rate_rad_s=motion.turn_rate_rad_s,
            breaks=motion.breaks,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AttitudeConfig:
    """Noise and search of the fit.

    `end_px` is the noise across a segment at each of its ends, `floor_rad` what every direction may be off by anyhow
    (repeated in all pictures of one line: finder, lens, uneven floor), `shutter_s` the readout over the whole
    picture, as far as it is unknown. The search covers `reach_rad` to each side. `drift_sigma_rad_s` is the gyro's.
    Segments shorter than `min_length_px` say little and are left out; `gate_sigmas` is where an outlier stops
    counting (arcs of the circle, edges of robots).
    """

    end_px: float = 0.7
    floor_rad: float = math.radians(0.5)
    shutter_s: float = 0.015
    reach_rad: float = math.radians(6.0)
    step_rad: float = math.radians(1.0)
    drift_sigma_rad_s: float = 0.01
    content: float = 3.0
    """Mean squared residual (sigmas) up to which the camera file explains the lines: then there is no wide search."""

    min_length_px: float = 40.0
    max_segments: int = 100_000
    gate_sigmas: float = 4.0
    repeats: float = 6.0
    """Pictures of one drive see the same lines again and again; so many of them count as one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attitude:
    """The result: shifts of pitch and roll against the camera file, and the field's heading in the odometry frame.

    `covariance` (3, 3) is over (pitch, roll, heading), radians; `inliers` of `segments` agree; `cost` is the mean
    squared residual of those in sigmas (about 1 when all is well), `before` the same without any shift. `margin` is
    how much worse the next best explanation is (another shift, or none at all), as a squared number of sigmas.
    """

    pitch_rad: float
    roll_rad: float
    heading_rad: float
    drift_rad_s: float
    covariance: FloatArray
    inliers: int
    segments: int
    cost: float
    before: float
    margin: float

    def sigma_rad(self) -> tuple[float, float]:
        """Return one sigma of pitch and of roll."""
        return math.sqrt(self.covariance[0, 0]), math.sqrt(self.covariance[1, 1])


class Lines:
    """All segments as normals of their planes (optical frame), with what turns them into headings."""

    def __init__(self, views: Sequence[LineView], camera: CameraModel, config: AttitudeConfig) -> None:
        k = camera.intrinsics
        self.camera = camera
        self.config = config
        self.known: Heading | None = None
        rows = [(i, *s) for i, view in enumerate(views) for s in view.segments_px]
        table = np.array(rows, dtype=float).reshape(-1, 5)
        ends = table[:, 1:].reshape(-1, 2, 2)
        long = np.hypot(*(ends[:, 1] - ends[:, 0]).T) >= config.min_length_px
        chosen = np.flatnonzero(long)
        chosen = chosen[:: max(1, -(-len(chosen) // config.max_segments))]
        self.view, ends = table[chosen, 0].astype(int), ends[chosen]
        rays = []
        across = ends[:, 1] - ends[:, 0]
        across = np.stack((-across[:, 1], across[:, 0]), axis=1) / np.maximum(np.hypot(*across.T), 1e-9)[:, None]
        for end in (0, 1):
            for off in (0.0, 1.0):
                point = ends[:, end] + off * across
                x, y = undistort((point[:, 0] - k.cx) / k.fx, (point[:, 1] - k.cy) / k.fy, k.distortion)
                rays.append(np.stack((x, y, np.ones_like(x)), axis=1))
        self.normal = np.cross(rays[0], rays[2])
        self._moved = (np.cross(rays[1], rays[2]), np.cross(rays[0], rays[3]))
        self.heading = np.array([view.odom_from_robot.theta_rad for view in views])[self.view]
        self.time_s = np.array([(view.t_ns - views[-1].t_ns) * 1e-9 for view in views])[self.view]
        tilts = np.array([view.tilt_rad for view in views]).reshape(-1, 2)
        self._level = np.stack([_turn(0.0, p, r) for p, r in tilts])[self.view] if len(tilts) else np.zeros((0, 3, 3))
        self.sigma = self._sigma(views, ends)

    def __len__(self) -> int:
        return len(self.view)

    def direction(self, pitch: float, roll: float, normal: FloatArray | None = None) -> FloatArray:
        """Return the heading (N,) of each line in the odometry frame, modulo half a turn, under a shifted camera."""
        m = self.camera.mounting
        turn = _turn(m.yaw_rad, m.pitch_rad + pitch, m.roll_rad + roll) @ _ROBOT_FROM_OPTICAL
        planes = np.einsum("nij,jk,nk->ni", self._level, turn, self.normal if normal is None else normal)
        return np.asarray(np.arctan2(-planes[:, 0], planes[:, 1]) + self.heading)

    def directions(self, pitch: FloatArray, roll: FloatArray) -> FloatArray:
        """Return the same for many shifts (G,) at once: (G, N)."""
        m = self.camera.mounting
        turns = np.stack([_turn(m.yaw_rad, m.pitch_rad + p, m.roll_rad + r) for p, r in zip(pitch, roll, strict=True)])
        planes = (turns @ _ROBOT_FROM_OPTICAL) @ self.normal.T
        level = self._level.transpose(1, 2, 0)
        x, y = (sum(level[i, j] * planes[:, j] for j in range(3)) for i in range(2))
        return np.asarray(np.arctan2(-x, y) + self.heading)

    def _sigma(self, views: Sequence[LineView], ends: FloatArray) -> FloatArray:
        c = self.config
        base = self.direction(0.0, 0.0)
        variance = np.full(len(self), c.floor_rad**2)
        for moved in self._moved:
            variance += (c.end_px * half_turn(self.direction(0.0, 0.0, moved) - base)) ** 2
        step = 1e-3
        by_pitch = half_turn(self.direction(step, 0.0) - base) / step
        by_roll = half_turn(self.direction(0.0, step) - base) / step
        tilt = np.array([view.tilt_sigma_rad for view in views])[self.view]
        variance += tilt**2 * (by_pitch**2 + by_roll**2)
        rate = np.abs(np.array([view.turn_rate_rad_s for view in views]))[self.view]
        span = np.abs(ends[:, 0, 1] - ends[:, 1, 1]) / self.camera.intrinsics.height_px
        variance += (rate * c.shutter_s * (0.25 + span)) ** 2
        return np.asarray(np.sqrt(variance))


Heading = tuple[float, float]
"""The field's heading in the odometry frame at the last view, and one sigma of it (rad)."""


def fit_attitude(
    views: Sequence[LineView],
    camera: CameraModel,
    config: AttitudeConfig | None = None,
    heading: Heading | None = None,
) -> Attitude | None:
    """Fit pitch and roll to the directions of all lines of some views.

    Args:
        views: in the order of time; the more headings, the better pitch and roll can be told apart.
        camera: as it was calibrated.
        config: noise and search.
        heading: what is known of the field's heading; then even a robot that stands still can tell a tilt.

    Returns:
        None where fewer than four segments are long enough.
    """
    config = config or AttitudeConfig()
    if not views:
        return None
    lines = Lines(views, camera, config)
    lines.known = heading
    if len(lines) < 4:
        return None
    before = float(_costs(lines, np.zeros(1), np.zeros(1))[0]) / len(lines)
    starts = [(0.0, 0.0)]
    if before > config.content:
        # The robust cost has more than one valley: start in the best few cells of a grid, too.
        count = max(1, round(config.reach_rad / config.step_rad))
        steps = np.linspace(-config.reach_rad, config.reach_rad, 2 * count + 1)
        pitch, roll = (axis.ravel() for axis in np.meshgrid(steps, steps))
        order = np.argsort(_costs(lines, pitch, roll), kind="stable")[:2]
        starts += [(float(pitch[i]), float(roll[i])) for i in order]
    fits = [_refine(lines, p, r) for p, r in starts]
    best = min(fits, key=lambda fit: fit[0])
    lowest, theta, covariance, inliers, cost = best
    rivals = [total for total, other, *_ in fits if np.abs(other[:2] - theta[:2]).max() > _ELSEWHERE_RAD]
    if np.abs(theta[:2]).max() > _ELSEWHERE_RAD:
        rivals.append(before * len(lines))
    repeats = _repeats(lines)
    return Attitude(
        pitch_rad=float(theta[0]),
        roll_rad=float(theta[1]),
        heading_rad=float(math.remainder(theta[2], QUARTER)),
        drift_rad_s=float(theta[3]),
        covariance=covariance,
        inliers=inliers,
        segments=len(lines),
        cost=cost,
        before=before,
        margin=(min(rivals) - lowest) / repeats if rivals else math.inf,
    )


def heading_given(lines: Lines, pitch_rad: float, roll_rad: float) -> tuple[float, float] | None:
    """Return the field's heading in the odometry frame at the last view, and its sigma, for a camera that is known.

    Much surer than together with pitch and roll. None where fewer than four segments are long enough.
    """
    if len(lines) < 4:
        return None
    direction = lines.direction(pitch_rad, roll_rad)
    heading = heading_of(direction, lines.sigma**-2.0)
    for _ in range(4):
        off = quarter_turn(direction - heading)
        robust = (1.0 + (off / lines.sigma / lines.config.gate_sigmas) ** 2) ** -2 / lines.sigma**2
        heading += float((robust * off).sum() / robust.sum())
    return math.remainder(heading, QUARTER), math.sqrt(_repeats(lines) / float(robust.sum()))


def _repeats(lines: Lines) -> float:
    """Return how many segments say what one would say alone."""
    return max(1.0, min(lines.config.repeats, len(np.unique(lines.view)) / 2.0))


def heading_of(direction: FloatArray, weight: FloatArray) -> float:
    """Return the weighted mean of headings that repeat every quarter turn."""
    return float(np.angle((weight * np.exp(4j * direction)).sum())) / 4.0


def _costs(lines: Lines, pitch: FloatArray, roll: FloatArray) -> FloatArray:
    """Return the robust costs (G,) of shifts, each with the best heading for it."""
    direction = lines.directions(pitch, roll)
    turned = np.exp(4j * direction)
    total = turned @ lines.sigma**-2.0
    if lines.known is not None:
        total = total + _repeats(lines) * lines.known[1] ** -2.0 * np.exp(4j * lines.known[0])
    heading = np.angle(total)[:, None] / 4.0
    off = quarter_turn(direction - heading) / lines.sigma
    return np.asarray(np.minimum(off**2, lines.config.gate_sigmas**2).sum(axis=1))


def _refine(lines: Lines, pitch: float, roll: float) -> tuple[float, FloatArray, FloatArray, int, float]:
    """Gauss-Newton on Geman-McClure weights; returns (robust cost, parameters, covariance (3, 3), inliers, cost)."""
    config = lines.config
    theta = np.array([pitch, roll, heading_of(lines.direction(pitch, roll), lines.sigma**-2.0), 0.0])
    prior = np.diag([1e-6, 1e-6, 1e-6, config.drift_sigma_rad_s**-2])
    step = 1e-3
    known, expected = 0.0, 0.0
    if lines.known is not None:
        # All segments together count `repeats` times too much; so must this.
        known, expected = _repeats(lines) * lines.known[1] ** -2.0, lines.known[0]
        theta[2] = expected
        prior[2, 2] += known
    normal = prior
    for _ in range(12):
        base = lines.direction(theta[0], theta[1])
        off = quarter_turn(base - theta[2] - theta[3] * lines.time_s)
        rows = np.stack(
            (
                half_turn(lines.direction(theta[0] + step, theta[1]) - base) / step,
                half_turn(lines.direction(theta[0], theta[1] + step) - base) / step,
                -np.ones(len(lines)),
                -lines.time_s,
            ),
            axis=1,
        )
        scaled = off / lines.sigma
        robust = (1.0 + (scaled / config.gate_sigmas) ** 2) ** -2 / lines.sigma**2
        normal = np.einsum("ni,n,nj->ij", rows, robust, rows) + prior
        pull = rows.T @ (robust * off)
        pull[2] += known * math.remainder(theta[2] - expected, QUARTER)
        pull[3] += prior[3, 3] * theta[3]
        move = -np.linalg.solve(normal, pull)
        theta = theta + np.clip(move, -0.05, 0.05)
        if np.abs(move).max() < 1e-4:
            break
    off = quarter_turn(lines.direction(theta[0], theta[1]) - theta[2] - theta[3] * lines.time_s) / lines.sigma
    good = np.abs(off) < config.gate_sigmas
    cost = float((off[good] ** 2).mean()) if good.any() else math.inf
    far = np.abs(theta[:2]).max() > 1.5 * config.reach_rad
    total = math.inf if far else float(np.minimum(off**2, config.gate_sigmas**2).sum())
    covariance = np.linalg.inv(normal)[:3, :3] * max(1.0, cost) * _repeats(lines)
    return total, theta, covariance, int(good.sum()), cost


_ROBOT_FROM_OPTICAL = np.array(ROBOT_FROM_OPTICAL).reshape(3, 3)


def _turn(yaw: float, pitch: float, roll: float) -> FloatArray:
    return np.array(yaw_pitch_roll(yaw, pitch, roll)).reshape(3, 3)


def half_turn(angle: FloatArray) -> FloatArray:
    """Return angles between minus and plus a quarter turn: lines have no front."""
    return np.asarray(angle - math.pi * np.round(angle / math.pi))


def quarter_turn(angle: FloatArray) -> FloatArray:
    """Return angles within an eighth of a turn to each side: lines of a field repeat every quarter."""
    return np.asarray(angle - QUARTER * np.round(angle / QUARTER))
