"""What all stages share: the commands' order, the clock, standing still, and points from validations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from robot.core.clock import NS_PER_S
from robot.core.geometry import Pose2
from robot.core.messages import RefereeCode, RefereeCommand, Vec2
from sim.referee.score import TrialScore
from sim.setup import RefereeTiming

STILL_FOR_S = 10.0
STILL_SPEED_M_S = 0.02
STILL_OMEGA_RAD_S = 0.1
MOVED_M = 0.05
MOVED_RAD = 0.1
EARLY_SPEED_M_S = 0.1
EARLY_OMEGA_RAD_S = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """What the referee sees at one step: the truth, like the humans around the field."""

    t_ns: int
    robot: Pose2
    speed_m_s: float
    omega_rad_s: float
    ball_m: tuple[float, float, float]
    ball_touched: bool
    bar_touched: bool
    ball_at_bar: bool

    def is_still(self) -> bool:
        """The robot stands, as far as an eye can tell."""
        return self.speed_m_s < STILL_SPEED_M_S and abs(self.omega_rad_s) < STILL_OMEGA_RAD_S


class Validation(Protocol):
    """See `sim.referee.validation`."""

    @property
    def holds(self) -> bool:
        """Whether it is true so far."""
        ...

    def update(self, view: View) -> bool:
        """Look at one step; returns True when it is an event."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A validation that is worth points while it holds; `points` may be negative."""

    name: str
    points: float
    validation: Validation


class Referee:
    """Runs one trial: HALT, STOP, FORCE_START, HALT. Subclasses bring the rules and the ends.

    Points count from FORCE_START on only.
    """

    stage = 0
    time_limit_s = 60.0

    def __init__(
        self,
        seed: int,
        timing: RefereeTiming,
        rules: tuple[Rule, ...],
        seed_in_field_m: Vec2 | None = None,
        target_in_field_m: Vec2 | None = None,
    ) -> None:
        self._seed, self._timing, self._rules = seed, timing, rules
        self._seed_in_field_m, self._target_in_field_m = seed_in_field_m, target_in_field_m
        self._start_ns = round(timing.start_s * NS_PER_S)
        self._schedule = [
            (0, RefereeCode.HALT),
            (round(timing.stop_s * NS_PER_S), RefereeCode.STOP),
            (self._start_ns, RefereeCode.FORCE_START),
        ]
        self._said: list[RefereeCommand] = []
        self._seq = 0
        self._events: list[tuple[float, str]] = []
        self._start_pose: Pose2 | None = None
        self._moved = False
        self._still_since_ns = 0
        self._early = False
        self.end_ns: int | None = None

    def step(self, view: View) -> None:
        """Look at one step of the world."""
        while self._schedule and self._schedule[0][0] <= view.t_ns:
            t_ns, code = self._schedule.pop(0)
            self._say(t_ns, code)
        if view.t_ns < self._start_ns:
            if not self._early and (view.speed_m_s > EARLY_SPEED_M_S or abs(view.omega_rad_s) > EARLY_OMEGA_RAD_S):
                self._early = True
                self._event(view.t_ns, "moved before FORCE_START")
            return
        if self.end_ns is not None:
            return
        for rule in self._rules:
            if rule.validation.update(view):
                self._event(view.t_ns, rule.name)
        if self._start_pose is None:
            self._start_pose = view.robot
        turned = abs(math.remainder(view.robot.theta_rad - self._start_pose.theta_rad, math.tau))
        if not self._moved and (view.robot.distance_to(self._start_pose) > MOVED_M or turned > MOVED_RAD):
            self._moved = True
            self._still_since_ns = view.t_ns  # standing still counts from the first move on
            self._event(view.t_ns, "moved")
        if not view.is_still():
            self._still_since_ns = view.t_ns
        reason = self._end_reason(view)
        if reason:
            self.end_ns = view.t_ns
            self._event(view.t_ns, reason)
            self._say(view.t_ns, RefereeCode.HALT)

    def still_for_s(self, view: View) -> float:
        """Return for how long the robot has stood still after having moved; 0 when it never moved."""
        return (view.t_ns - self._still_since_ns) / NS_PER_S if self._moved else 0.0

    def _end_reason(self, view: View) -> str:
        """Return why the trial ends now, or an empty string. Stages add their own ends."""
        if view.t_ns - self._start_ns >= round(self.time_limit_s * NS_PER_S):
            return "time is up"
        return ""

    def _points(self) -> tuple[float, float]:
        """Return the points so far, and the most that there are."""
        points = sum(rule.points for rule in self._rules if rule.validation.holds)
        return points, sum(rule.points for rule in self._rules if rule.points > 0)

    def _succeeded(self, points: float, most: float) -> bool:
        """Return whether these points, at the end, are a success."""
        return points >= most

    def _event(self, t_ns: int, name: str) -> None:
        self._events.append((round((t_ns - self._start_ns) / NS_PER_S, 3), name))

    def _say(self, t_ns: int, code: RefereeCode) -> None:
        told = code is not RefereeCode.HALT
        self._said.append(
            RefereeCommand(
                seq=self._seq,
                t_capture_ns=t_ns,
                t_receive_ns=t_ns,
                valid=True,
                code=code,
                stage=self.stage,
                seed_in_field_m=self._seed_in_field_m if told else None,
                target_in_field_m=self._target_in_field_m if told else None,
            )
        )
        self._seq += 1

    def take_commands(self) -> list[RefereeCommand]:
        """Return the commands said since the last call."""
        said, self._said = self._said, []
        return said

    def finished(self, now_ns: int) -> bool:
        """True once the last HALT has had time to be heard."""
        return self.end_ns is not None and now_ns >= self.end_ns + round(self._timing.tail_s * NS_PER_S)

    def score(self, now_ns: int) -> TrialScore:
        """Return the score so far; final once `end_ns` is set."""
        points, most = self._points()
        end_ns = now_ns if self.end_ns is None else self.end_ns
        return TrialScore(
            stage=self.stage,
            seed=self._seed,
            points=points,
            max_points=most,
            success=self.end_ns is not None and self._succeeded(points, most),
            time_s=max(0.0, (end_ns - self._start_ns) / NS_PER_S),
            events=tuple(self._events),
        )
