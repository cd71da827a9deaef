"""A scripted driver for localisation trials: looks around, drives up to 2 m/s, looks around again. Open loop.

The twists are drawn before the trial so that a robot that follows them roughly stays clear of the walls, as a person
with a remote control would steer it. While driving nothing but the clock is used, so the motion does not depend on
how well the robot is localised, and one recording serves all cases of the evaluation.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from control.player import Decision
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2, exponential_map
from robot.core.messages import (
    Mode,
    MotionTarget,
    Plan,
    RefereeCode,
    RefereeCommand,
    TargetMode,
    TeamMessage,
    WorldModel,
)

_ACCEL_M_S2 = 3.0
_STEP_S = 0.02
_INSIDE_M = 0.2
"""Planned paths stay this far inside the lines: the real one differs by some centimetres a second."""

LOOKS = ("spin", "steps", "arc", "drive, then spin")
TOP_SPEED_M_S = 2.0


@dataclass(frozen=True, slots=True)
class Leg:
    """A twist in the robot frame that is asked for from `start_s` on, seconds since FORCE_START."""

    start_s: float
    twist: Twist2
    name: str


@dataclass(slots=True)
class _Ghost:
    """Where a robot that follows the plan would be: its velocity follows at limited acceleration."""

    pose: Pose2
    vx: float = 0.0
    vy: float = 0.0

    def path(self, twist: Twist2, duration_s: float) -> Iterator[Pose2]:
        """Drive and yield the poses on the way."""
        for _ in range(round(duration_s / _STEP_S)):
            dx, dy = twist.vx_m_s - self.vx, twist.vy_m_s - self.vy
            share = min(1.0, _ACCEL_M_S2 * _STEP_S / max(math.hypot(dx, dy), 1e-9))
            self.vx, self.vy = self.vx + share * dx, self.vy + share * dy
            self.pose = self.pose @ exponential_map(Twist2(self.vx, self.vy, twist.omega_rad_s), _STEP_S)
            yield self.pose


class Planner:
    """Draws a script leg by leg, for a robot that starts at `start`."""

    def __init__(self, rng: np.random.Generator, field: FieldGeometry, start: Pose2) -> None:
        self._rng = rng
        x_min, x_max, y_min, y_max = field.wall_bounds_m()
        half_x, half_y = 0.5 * field.length_m, 0.5 * field.width_m
        m = _INSIDE_M
        self._x = (max(x_min, -half_x) + m, min(x_max, half_x) - m)
        self._y = (max(y_min, -half_y) + m, min(y_max, half_y) - m)
        self._ghost = _Ghost(start)
        self.t_s = 0.0
        self.legs: list[Leg] = []

    def look(self, kind: str) -> None:
        """Add a look around, a full turn in one of the ways of `LOOKS`."""
        rate = float(self._rng.uniform(1.5, 2.6)) * self._side()
        if kind == "drive, then spin":
            self.drive(1.0, 0.8)
            kind = "spin"
        if kind == "steps":
            for _ in range(9):
                self._add(Twist2(0.0, 0.0, math.copysign(4.5, rate)), 0.15, kind)
                self._add(Twist2(0.0, 0.0, math.copysign(0.5, rate)), 0.2, kind)
        elif kind == "arc":
            turn = Twist2(0.35, 0.0, rate)
            duration_s = math.tau / abs(rate)
            if self._is_clear(turn, duration_s):
                self._add(turn, duration_s, kind)
            else:
                self._add(Twist2(0.0, 0.0, rate), duration_s, "spin")
        else:
            self._add(Twist2(0.0, 0.0, rate), math.tau / abs(rate), kind)

    def drive(self, top_speed_m_s: float, duration_s: float | None = None) -> None:
        """Add a drive somewhere ahead, or half a second of turning on the spot where no drive is clear of the walls."""
        rng = self._rng
        for _ in range(40):
            speed = float(rng.uniform(0.4, 1.0)) * top_speed_m_s
            aside = float(rng.uniform(-0.6, 0.6))
            turn = float(rng.uniform(-1.0, 1.0)) * min(1.5, 1.5 / speed)
            lasts_s = float(rng.uniform(0.6, 1.4)) if duration_s is None else duration_s
            twist = Twist2(speed * math.cos(aside), speed * math.sin(aside), turn)
            if self._is_clear(twist, lasts_s):
                self._add(twist, lasts_s, "drive")
                return
        self._add(Twist2(0.0, 0.0, 2.0 * self._side()), 0.5, "turn")

    def carried_to(self, pose: Pose2) -> bool:
        """The robot is put elsewhere, in motion; False (and nothing done) when it could not stop before a wall."""
        trial = _Ghost(pose, self._ghost.vx, self._ghost.vy)
        if not all(map(self._inside, trial.path(Twist2(), 0.8))):
            return False
        self._ghost = _Ghost(pose, self._ghost.vx, self._ghost.vy)
        return True

    def _is_clear(self, twist: Twist2, duration_s: float) -> bool:
        ghost = _Ghost(self._ghost.pose, self._ghost.vx, self._ghost.vy)
        return all(map(self._inside, ghost.path(twist, duration_s))) and all(
            map(self._inside, ghost.path(Twist2(), 0.8))
        )

    def _inside(self, pose: Pose2) -> bool:
        # Who starts outside of the bounds may move inwards, or stay.
        x, y = self._ghost.pose.x_m, self._ghost.pose.y_m
        in_x = min(self._x[0], x) - 1e-6 <= pose.x_m <= max(self._x[1], x) + 1e-6
        return in_x and min(self._y[0], y) - 1e-6 <= pose.y_m <= max(self._y[1], y) + 1e-6

    def _add(self, twist: Twist2, duration_s: float, name: str) -> None:
        self.legs.append(Leg(self.t_s, twist, name))
        for _ in self._ghost.path(twist, duration_s):
            pass
        self.t_s += duration_s

    def _side(self) -> float:
        return 1.0 if self._rng.random() < 0.5 else -1.0


class Wanderer:
    """Decides as `control.player.Player` does; pass it to the pipeline in its place."""

    def __init__(self, legs: tuple[Leg, ...]) -> None:
        self._legs = legs
        self._starts_s = [leg.start_s for leg in legs]
        self._start_ns: int | None = None
        self._seq = 0

    def decide(
        self,
        world: WorldModel,
        referee: RefereeCommand | None,
        team: tuple[TeamMessage, ...],
        mode: Mode,
        t_now_ns: int,
    ) -> Decision:
        """Return the motion of this tick; stands until FORCE_START and whenever the mode forbids motion."""
        told = referee is not None and referee.code is RefereeCode.FORCE_START
        if not (told and mode in (Mode.ACTIVE, Mode.DEGRADED)):
            return self._decision(t_now_ns, "stand", TargetMode.STOP, Twist2())
        if self._start_ns is None:
            self._start_ns = t_now_ns
        t_s = (t_now_ns - self._start_ns) / NS_PER_S
        leg = self._legs[max(0, bisect.bisect_right(self._starts_s, t_s) - 1)]
        return self._decision(t_now_ns, leg.name, TargetMode.TWIST, leg.twist)

    def _decision(self, t_ns: int, state: str, target_mode: TargetMode, twist: Twist2) -> Decision:
        seq, self._seq = self._seq, self._seq + 1
        target = MotionTarget(
            seq=seq,
            t_capture_ns=t_ns,
            t_receive_ns=t_ns,
            valid=True,
            mode=target_mode,
            twist_in_robot=twist,
            max_speed_m_s=2.0 * TOP_SPEED_M_S,
            max_omega_rad_s=8.0,
            max_accel_m_s2=_ACCEL_M_S2,
        )
        plan = Plan(
            seq=seq, t_capture_ns=t_ns, t_receive_ns=t_ns, valid=True, play="wander", skill="script", state=state
        )
        return Decision(plan=plan, target=target)
