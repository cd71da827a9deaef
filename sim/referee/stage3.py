"""Stage 3, move to coordinates: minus the distance from the target at the end. No ball.

Ends after 60 s, or when the robot has stood still for 10 s after having moved.
"""

from __future__ import annotations

import math

from robot.core.messages import Vec2
from sim.referee.base import STILL_FOR_S, Referee, View
from sim.setup import RefereeTiming

NEAR_M = 0.25
"""A trial within this of its target counts as a success; the league knows the distance only."""


class CoordinatesReferee(Referee):
    """The referee of stage 3: the team types in a place near the robot's, without a heading, and the target."""

    stage = 3

    def __init__(self, seed: int, timing: RefereeTiming, seed_in_field_m: Vec2, target_in_field_m: Vec2) -> None:
        super().__init__(seed, timing, (), seed_in_field_m, target_in_field_m)
        self._target = target_in_field_m
        self._off_m = math.inf

    def _end_reason(self, view: View) -> str:
        self._off_m = math.dist((view.robot.x_m, view.robot.y_m), self._target)
        if self.still_for_s(view) >= STILL_FOR_S:
            return "still for 10 s"
        return super()._end_reason(view)

    def _points(self) -> tuple[float, float]:
        return -self._off_m, 0.0

    def _succeeded(self, points: float, most: float) -> bool:
        return most - points <= NEAR_M
