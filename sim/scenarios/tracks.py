"""Trials of ball and robot tracks: rolling, kicked, bouncing and hidden balls, crossing robots, clutter.

The robot drives by a script (`sim.evaluation.wander`), blind to everything: what is tested is what it believes
meanwhile. The script does not depend on its beliefs, so a recording of the inputs can be judged again by a changed
estimator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from perception.camera.model import CameraModel
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.errors import SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2, wrap_angle
from robot.core.messages import Vec2
from sim.evaluation.wander import Leg
from sim.scenarios.trials import make_trial
from sim.setup import BallPush, RefereeTiming, SceneConfig, Source, TrialSetup, Waypoint
from sim.simulation import Simulation

START_S = 0.6
"""FORCE_START: from then on the robot may move."""

BALL_START_S = 1.2
"""When the ball starts to move, about; the robot has seen it at rest for a second by then."""

CLUTTERED_S = 3.0

Path = tuple[Waypoint, ...]
Legs = tuple[Leg, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackTrial:
    """One trial: the world, the robot's motion, and how long it lasts (seconds from the start)."""

    kind: str
    seed: int
    setup: TrialSetup
    legs: Legs
    duration_s: float


class TrackSimulation(Simulation):
    """A simulation that ends when the trial does, whatever the referee says."""

    def __init__(
        self, trial: TrackTrial, body: RobotBody, camera: CameraModel, *, render: bool = True, samples: int = 4
    ) -> None:
        super().__init__(trial.setup, body, camera, render=render, samples=samples)
        self._end_ns = round(trial.duration_s * NS_PER_S)

    @property
    def finished(self) -> bool:
        """True at the end of the trial."""
        return self.now_ns >= self._end_ns


def make_track_trial(kind: str, seed: int, field: FieldGeometry | None = None) -> TrackTrial:
    """Draw one trial of a kind (`KINDS`); the same seed gives the same trial.

    Raises:
        SimulationError: there is no such kind.
    """
    if kind not in KINDS:
        raise SimulationError(f"no kind of track trial named {kind!r}", hint=f"one of {', '.join(KINDS)}")
    base = make_trial(1, seed, field)
    base = replace(base, referee=RefereeTiming(stop_s=0.1, start_s=START_S))
    rng = np.random.default_rng((seed, int(Source.PLACEMENT), list(KINDS).index(kind)))
    return KINDS[kind](kind, seed, base, rng)


# --- parts ------------------------------------------------------------------------------------------------------


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _middle(rng: np.random.Generator) -> Pose2:
    """A pose from which a view of 3 m is free in every direction."""
    return Pose2(_u(rng, -1.5, 1.5), _u(rng, -0.4, 0.4), _u(rng, -math.pi, math.pi))


def _facing_wall(rng: np.random.Generator, field: FieldGeometry, near_m: float, far_m: float) -> Pose2:
    """A pose at some distance from a touch line's wall, looking at it, not head-on."""
    side = _sign(rng)
    *_, y_max = field.wall_bounds_m()
    return Pose2(_u(rng, -3.0, 3.0), side * (y_max - _u(rng, near_m, far_m)), side * math.pi / 2 + _u(rng, -0.35, 0.35))


def _ahead(pose: Pose2, range_m: float, bearing_rad: float) -> Vec2:
    return pose.transform((range_m * math.cos(bearing_rad), range_m * math.sin(bearing_rad)))


def _along(pose: Pose2, direction_rad: float, speed_m_s: float) -> Vec2:
    """A velocity of that direction in the robot's frame, in the field frame."""
    a = pose.theta_rad + direction_rad
    return speed_m_s * math.cos(a), speed_m_s * math.sin(a)


def _sway(rng: np.random.Generator, duration_s: float, speed_m_s: float = 0.3, omega: float = 0.35) -> Legs:
    """Gentle moves to and fro that keep what is ahead in view."""
    steps, t, turn = [], 0.0, _sign(rng)
    while t < duration_s - START_S:
        twist = Twist2(_u(rng, -speed_m_s, speed_m_s), _u(rng, -speed_m_s, speed_m_s), turn * _u(rng, 0.1, omega))
        steps.append(Leg(t, twist, "sway"))
        t, turn = t + _u(rng, 0.4, 0.7), -turn
    return tuple(steps)


def _standing(pose: Pose2) -> Path:
    return (Waypoint(0.0, pose),)


def _trial(
    kind: str,
    seed: int,
    base: TrialSetup,
    legs: Legs,
    duration_s: float,
    *,
    pose: Pose2,
    ball_m: Vec2,
    scene: SceneConfig,
) -> TrackTrial:
    setup = replace(base, robot_start=pose, ball_start_m=ball_m, scene=scene)
    return TrackTrial(kind=kind, seed=seed, setup=setup, legs=legs, duration_s=duration_s)


# --- kinds ------------------------------------------------------------------------------------------------------


def _resting(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    pose = _middle(rng)
    ball = _ahead(pose, _u(rng, 0.6, 2.5), _u(rng, -0.2, 0.2))
    return _trial(kind, seed, base, _sway(rng, 4.0, 0.8), 4.0, pose=pose, ball_m=ball, scene=SceneConfig())


def _rolling(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    pose, side = _middle(rng), _sign(rng)
    ball = _ahead(pose, _u(rng, 1.0, 2.2), side * _u(rng, 0.15, 0.35))
    direction = -side * math.pi / 2 + _u(rng, -0.8, 0.8)
    push = BallPush(t_s=BALL_START_S, velocity_m_s=_along(pose, direction, _u(rng, 0.4, 1.6)), rolling=True)
    scene = SceneConfig(pushes=(push,))
    return _trial(kind, seed, base, _sway(rng, 4.0), 4.0, pose=pose, ball_m=ball, scene=scene)


def _kicked(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    pose = _middle(rng)
    ball = _ahead(pose, _u(rng, 0.6, 1.3), _u(rng, -0.15, 0.15))
    push = BallPush(t_s=BALL_START_S, velocity_m_s=_along(pose, _u(rng, -0.25, 0.25), _u(rng, 1.5, 6.0)))
    scene = SceneConfig(pushes=(push,))
    return _trial(kind, seed, base, _sway(rng, 3.2), 3.2, pose=pose, ball_m=ball, scene=scene)


def _wall(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    pose = _facing_wall(rng, base.field, 1.2, 1.9)
    ball = _ahead(pose, _u(rng, 0.6, 0.9), _u(rng, -0.15, 0.15))
    push = BallPush(t_s=BALL_START_S, velocity_m_s=_along(pose, _u(rng, -0.3, 0.3), _u(rng, 1.5, 4.0)))
    scene = SceneConfig(pushes=(push,))
    return _trial(kind, seed, base, _sway(rng, 3.2), 3.2, pose=pose, ball_m=ball, scene=scene)


def _off_robot(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    pose, bearing = _middle(rng), _u(rng, -0.15, 0.15)
    ball = _ahead(pose, _u(rng, 0.6, 0.8), bearing + _u(rng, -0.1, 0.1))
    x, y = _ahead(pose, _u(rng, 1.4, 1.8), bearing)
    other = Pose2(x, y, _u(rng, -math.pi, math.pi))
    aim = math.atan2(y - ball[1], x - ball[0]) + _u(rng, -0.05, 0.05)
    speed = _u(rng, 1.5, 4.0)
    push = BallPush(t_s=BALL_START_S, velocity_m_s=(speed * math.cos(aim), speed * math.sin(aim)))
    scene = SceneConfig(pushes=(push,), others=(_standing(other),))
    return _trial(kind, seed, base, _sway(rng, 3.2), 3.2, pose=pose, ball_m=ball, scene=scene)


def _goal(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    side, line = _sign(rng), 0.5 * base.field.length_m
    heading = 0.0 if side > 0 else math.pi
    pose = Pose2(side * (line - _u(rng, 1.2, 1.8)), _u(rng, -0.5, 0.5), heading)
    pose = replace(pose, theta_rad=wrap_angle(math.atan2(-pose.y_m, side * line - pose.x_m) + _u(rng, -0.1, 0.1)))
    ball = _ahead(pose, _u(rng, 0.6, 0.8), _u(rng, -0.1, 0.1))
    aim = math.atan2(_u(rng, -0.4, 0.4) - ball[1], side * (line + 0.15) - ball[0])
    speed = _u(rng, 1.5, 3.5)
    push = BallPush(t_s=BALL_START_S, velocity_m_s=(speed * math.cos(aim), speed * math.sin(aim)))
    scene = SceneConfig(pushes=(push,))
    return _trial(kind, seed, base, _sway(rng, 3.2), 3.2, pose=pose, ball_m=ball, scene=scene)


def _occluded(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    """Another robot stops between us and the ball for 1.5 s and drives on; in half of them the ball rolls behind it."""
    pose, side = _middle(rng), _sign(rng)
    between = _u(rng, 0.6, 0.8)
    if rng.random() < 0.5:
        ball = _ahead(pose, _u(rng, 1.2, 1.7), 0.0)
        times = (1.2, 1.7, 3.2, 3.7)
        bearings = (side * 0.6, 0.0, 0.0, -side * 0.6)
        heading = pose.theta_rad + side * math.pi / 2
        spots = [_ahead(pose, between, b) for b in bearings]
        path = tuple(Waypoint(t, Pose2(x, y, heading)) for t, (x, y) in zip(times, spots, strict=True))
        scene = SceneConfig(others=(path,))
    else:
        reach = _u(rng, 1.3, 1.7)
        ball = _ahead(pose, reach, side * 0.35)
        other = Pose2(*_ahead(pose, between, 0.0), _u(rng, -math.pi, math.pi))
        push = BallPush(
            t_s=BALL_START_S, velocity_m_s=_along(pose, -side * math.pi / 2, _u(rng, 0.55, 0.9)), rolling=True
        )
        scene = SceneConfig(others=(_standing(other),), pushes=(push,))
    return _trial(kind, seed, base, _sway(rng, 4.2, 0.1, 0.12), 4.2, pose=pose, ball_m=ball, scene=scene)


def _blind(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    """Up to the ball until it leaves the picture below, a stop before it, and on for the last centimetres."""
    pose, range_m, aside = _middle(rng), _u(rng, 1.0, 1.4), _u(rng, -0.03, 0.03)
    ball = pose.transform((range_m, aside))
    speed = _u(rng, 0.4, 0.7)
    until = (range_m - 0.30) / speed + 0.15
    legs = (
        Leg(0.0, Twist2(speed, 0.0, 0.0), "approach"),
        Leg(until, Twist2(), "stop"),
        Leg(until + 0.5, Twist2(0.25, 0.0, 0.0), "creep"),
        Leg(until + 0.8, Twist2(), "stop"),
    )
    return _trial(kind, seed, base, legs, START_S + until + 1.4, pose=pose, ball_m=ball, scene=SceneConfig())


def _crossing(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    """Two robots pass each other across our view, the nearer one hides the farther for a moment; a third stands."""
    pose, side = _middle(rng), _sign(rng)
    near, far = _u(rng, 1.0, 1.3), _u(rng, 1.55, 1.9)
    begin, end = 1.0, _u(rng, 2.6, 3.4)

    def across(reach: float, way: float) -> Path:
        half = 0.28 * reach
        spots = [pose.transform((reach, way * half)), pose.transform((reach + _u(rng, -0.1, 0.1), -way * half))]
        heading = wrap_angle(pose.theta_rad - way * math.pi / 2)
        return tuple(Waypoint(t, Pose2(x, y, heading)) for t, (x, y) in zip((begin, end), spots, strict=True))

    third = Pose2(*_ahead(pose, _u(rng, 2.3, 2.7), _u(rng, -0.25, 0.25)), _u(rng, -math.pi, math.pi))
    ball = _ahead(pose, 0.6, _u(rng, -0.15, 0.15))
    scene = SceneConfig(others=(across(near, side), across(far, -side), _standing(third)))
    return _trial(kind, seed, base, _sway(rng, 4.0, 0.2, 0.15), 4.0, pose=pose, ball_m=ball, scene=scene)


def _cluttered(kind: str, seed: int, base: TrialSetup, rng: np.random.Generator) -> TrackTrial:
    """Lookalikes all around the field; the robot roams, mostly near a wall; a ball is there in half of the trials."""
    x_min, x_max, y_min, y_max = base.field.wall_bounds_m()
    pose = Pose2(_u(rng, x_min + 0.5, x_max - 0.5), _u(rng, y_min + 0.5, y_max - 0.5), _u(rng, -math.pi, math.pi))
    if rng.random() < 0.7:
        pose = _facing_wall(rng, base.field, 0.5, 2.5)
    ball = base.ball_start_m
    while math.dist(ball, (pose.x_m, pose.y_m)) < 0.35:
        ball = (_u(rng, x_min + 0.4, x_max - 0.4), _u(rng, y_min + 0.4, y_max - 0.4))
    legs: list[Leg] = []
    t = 0.0
    while t < CLUTTERED_S - START_S:
        twist = Twist2(_u(rng, -0.5, 0.8), _u(rng, -0.5, 0.5), _sign(rng) * _u(rng, 0.3, 2.5))
        legs.append(Leg(t, twist, "roam"))
        t += _u(rng, 0.5, 1.1)
    scene = SceneConfig(ball_in_play=bool(rng.random() < 0.5), lookalikes=60)
    return _trial(kind, seed, base, tuple(legs), CLUTTERED_S, pose=pose, ball_m=ball, scene=scene)


Maker = Callable[[str, int, TrialSetup, np.random.Generator], TrackTrial]
KINDS: dict[str, Maker] = {
    "resting": _resting,
    "rolling": _rolling,
    "kicked": _kicked,
    "wall": _wall,
    "off_robot": _off_robot,
    "goal": _goal,
    "occluded": _occluded,
    "blind": _blind,
    "crossing": _crossing,
    "cluttered": _cluttered,
}
"""What is known of each kind is in the docstring of its maker; `cluttered` is the one about false positives."""
