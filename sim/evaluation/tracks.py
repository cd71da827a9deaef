"""Judges ball and robot tracks by the truth: errors, consistency, false boxes, identities. For reports only."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from perception.camera.model import CameraModel
from robot.core.clock import NS_PER_S
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2, wrap_angle
from robot.core.messages import BoxPx, ObjectClass, Vec2, WorldModel
from sim.setup import CameraErrors

MATCH_ROBOT_M = 0.35
"""A robot track further than this from every robot shows nothing that is there."""

WRONG_BALL_M = 0.5
"""A believed ball further than this, and more than a quarter of its range, from the ball is not the ball."""

NEES_95 = 5.991
"""95 % quantile of chi-square with two degrees of freedom."""

_SEEN_NS = 150_000_000


class Thing(Enum):
    """What a ball's box really showed."""

    BALL = "ball"
    FIELD = "something on the field"
    OUTSIDE = "something outside the field"


@dataclass(frozen=True, slots=True)
class TruthAt:
    """What was true at one time, field frame."""

    t_ns: int
    robot: Pose2
    ball_m: Vec2 | None
    ball_velocity_m_s: Vec2
    tilt_rad: Vec2
    omega_rad_s: float
    others: tuple[Pose2, ...]


class TruthLine:
    """The truth over a trial, interpolated."""

    def __init__(self, samples: Sequence[TruthAt]) -> None:
        self._samples = samples
        self._times = [s.t_ns for s in samples]

    def at(self, t_ns: int) -> TruthAt:
        """Return the truth at a time; the ends hold."""
        k = min(max(bisect.bisect_right(self._times, t_ns), 1), len(self._times) - 1)
        a, b = self._samples[k - 1], self._samples[k]
        share = min(1.0, max(0.0, (t_ns - a.t_ns) / max(1, b.t_ns - a.t_ns)))

        def mix(p: Vec2, q: Vec2) -> Vec2:
            return p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])

        def pose(p: Pose2, q: Pose2) -> Pose2:
            turn = share * wrap_angle(q.theta_rad - p.theta_rad)
            return Pose2(*mix((p.x_m, p.y_m), (q.x_m, q.y_m)), wrap_angle(p.theta_rad + turn))

        return TruthAt(
            t_ns,
            pose(a.robot, b.robot),
            mix(a.ball_m, b.ball_m) if a.ball_m is not None and b.ball_m is not None else None,
            a.ball_velocity_m_s,
            mix(a.tilt_rad, b.tilt_rad),
            a.omega_rad_s,
            tuple(pose(p, q) for p, q in zip(a.others, b.others, strict=True)),
        )


class BoxJudge:
    """Says what a box really showed, by the true camera and the true poses."""

    def __init__(self, camera: CameraModel, errors: CameraErrors, geometry: FieldGeometry) -> None:
        from sim.camera.onboard import true_camera

        self._camera = true_camera(camera, errors)
        self._walls_m = geometry.wall_bounds_m()

    def judge(self, box_px: BoxPx, truth: TruthAt) -> Thing:
        """Return what a ball's box showed.

        The rolling shutter shifts rows of a turning camera by up to half of its readout: so much is allowed for.
        """
        turn_px = 0.012 * abs(truth.omega_rad_s) * self._camera.intrinsics.fx
        if truth.ball_m is not None:
            x, y = truth.robot.inverse().transform(truth.ball_m)
            distance_m = math.hypot(x - self._camera.mounting.x_m, y, self._camera.mounting.height_m)
            size_px = 2.0 * BALL_RADIUS_M * self._camera.intrinsics.fx / max(distance_m, 0.05)
            u, v = self._camera.project(np.array([[x, y, BALL_RADIUS_M]]), truth.tilt_rad)[0]
            left, top, right, bottom = box_px
            if (
                x > 0.0
                and left - turn_px - 0.5 * size_px - 4.0 <= u <= right + turn_px + 0.5 * size_px + 4.0
                and top - 0.5 * size_px - 4.0 <= v <= bottom + 0.5 * size_px + 4.0
            ):
                return Thing.BALL
        foot = np.array([[0.5 * (box_px[0] + box_px[2]) - 0.5, box_px[3] - 0.5]])
        place = self._camera.ground_points(foot, truth.tilt_rad)[0]
        if not np.isfinite(place).all():
            return Thing.OUTSIDE
        fx, fy = truth.robot.transform((float(place[0]), float(place[1])))
        x_min, x_max, y_min, y_max = self._walls_m
        return Thing.FIELD if x_min < fx < x_max and y_min < fy < y_max else Thing.OUTSIDE


@dataclass
class BallScore:
    """The ball of one trial, tick by tick."""

    kind: str
    seed: int
    ticks: int = 0
    """Ticks in which a ball was there and had been seen at least twice."""

    believed: int = 0
    wrong: int = 0
    """Ticks with a belief that is not the ball (`WRONG_BALL_M`), or with a belief while there was no ball."""

    errors_m: list[float] = field(default_factory=list)
    """While it is seen (within the last 0.15 s)."""

    unseen_errors_m: list[float] = field(default_factory=list)
    """While it is not: hidden, below the picture, missed."""

    speed_errors_m_s: list[float] = field(default_factory=list)
    nees: list[float] = field(default_factory=list)
    velocity_nees: list[float] = field(default_factory=list)
    identities: set[int] = field(default_factory=set)
    detected: Counter[str] = field(default_factory=Counter)
    """Ball boxes of the detector, by what they really showed."""

    used: Counter[str] = field(default_factory=Counter)
    """Boxes that fed or founded a track, by what they really showed (`Thing`), and by whether the track was a ball."""

    longest_loss_s: float = 0.0
    _lost_ns: int | None = None

    def add_tick(self, world: WorldModel, truth: TruthAt, known: bool) -> None:
        """Judge the belief of one tick; `known`: the ball has been seen."""
        ball = world.ball
        if truth.ball_m is None:
            self.wrong += ball.valid
            return
        if not known:
            return
        self.ticks += 1
        true = truth.robot.inverse().transform(truth.ball_m)
        away = math.dist(ball.ball_in_robot_m, true)
        good = ball.valid and away <= max(WRONG_BALL_M, 0.25 * math.hypot(*true))
        if good:
            self._lost_ns = None
        else:
            self._lost_ns = truth.t_ns if self._lost_ns is None else self._lost_ns
            self.longest_loss_s = max(self.longest_loss_s, (truth.t_ns - self._lost_ns) / NS_PER_S)
        if not ball.valid:
            return
        self.believed += 1
        self.wrong += not good
        (self.errors_m if ball.age_ns <= _SEEN_NS else self.unseen_errors_m).append(away)
        self.identities.add(ball.track_id)
        # Relative to the robot: the error of its own heading must not count as the ball's.
        turn = world.robot.world_from_robot.theta_rad - truth.robot.theta_rad
        c, s = math.cos(turn), math.sin(turn)
        vx, vy = truth.ball_velocity_m_s
        velocity = (c * vx - s * vy, s * vx + c * vy)
        slip = np.array(ball.velocity_in_world_m_s) - velocity
        self.speed_errors_m_s.append(float(np.hypot(*slip)))
        off = np.array(
            world.robot.world_from_robot.rotate((ball.ball_in_robot_m[0] - true[0], ball.ball_in_robot_m[1] - true[1]))
        )
        self.nees.append(float(off @ np.linalg.solve(np.array(ball.covariance_m2), off)))
        self.velocity_nees.append(float(slip @ np.linalg.solve(np.array(ball.velocity_covariance_m2_s2), slip)))

    def add_box(self, thing: Thing, confirmed: bool) -> None:
        """Note a box that fed or founded a track."""
        self.used[f"{thing.name.lower()} {'ball' if confirmed else 'tentative'}"] += 1

    @property
    def outside_used(self) -> int:
        """How many boxes of things outside the field a track that counts as the ball was founded on or moved by."""
        return self.used["outside ball"]


@dataclass
class RobotScore:
    """The robot tracks of one trial."""

    seen: int = 0
    """Robot-ticks: a robot that stood in view, not hidden, within 3 m."""

    tracked: int = 0
    switches: int = 0
    false: int = 0
    ticks: int = 0
    errors_m: list[float] = field(default_factory=list)
    speed_errors_m_s: list[float] = field(default_factory=list)
    nees: list[float] = field(default_factory=list)
    _names: dict[int, int] = field(default_factory=dict)

    def add_tick(self, world: WorldModel, truth: TruthAt, velocities: Sequence[Vec2], in_view: Sequence[bool]) -> None:
        """Judge one tick: nearest tracks to robots, identities as in CLEAR MOT (Bernardin, Stiefelhagen 2008)."""
        self.ticks += 1
        field_from_world = truth.robot @ world.robot.world_from_robot.inverse()
        tracks = [o for o in world.objects if o.object_class is ObjectClass.ROBOT]
        places = [field_from_world.transform(o.position_in_world_m) for o in tracks]
        pairs = sorted(
            (math.dist(place, (pose.x_m, pose.y_m)), i, k)
            for i, place in enumerate(places)
            for k, pose in enumerate(truth.others)
        )
        taken: dict[int, int] = {}
        for distance, i, k in pairs:
            if distance > MATCH_ROBOT_M or i in taken or k in taken.values():
                continue
            taken[i] = k
            name = tracks[i].track_id
            if k in self._names and self._names[k] != name:
                self.switches += 1
            self._names[k] = name
            self.errors_m.append(distance)
            vx, vy = velocities[k]
            believed = field_from_world.rotate(tracks[i].velocity_in_world_m_s)
            self.speed_errors_m_s.append(math.dist(believed, (vx, vy)))
            pose = truth.others[k]
            off = np.array(field_from_world.inverse().rotate((places[i][0] - pose.x_m, places[i][1] - pose.y_m)))
            self.nees.append(float(off @ np.linalg.solve(np.array(tracks[i].covariance_m2), off)))
        self.false += len(tracks) - len(taken)
        for k, visible in enumerate(in_view):
            self.seen += visible
            self.tracked += visible and k in taken.values()


def share_inside(values: Sequence[float]) -> float:
    """Return the share of NEES values (two degrees of freedom) below the 95 % quantile.

    One-sided: a covariance that allows for a calibration error of unknown size is larger than most errors, as it
    should be; what matters is how often the error is larger than it says.
    """
    return float(np.mean(np.array(values) <= NEES_95)) if values else math.nan
