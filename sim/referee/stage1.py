"""Stage 1, grab a stationary ball: touched +1, touched by the dribbler +1, robot stopped with it at the end +1.

Ends after 60 s, or when the robot has stood still for 10 s after having moved.
"""

from __future__ import annotations

from sim.referee.base import STILL_FOR_S, Referee, Rule, View
from sim.referee.validation import AtEnd, Eventually
from sim.setup import RefereeTiming


class GrabReferee(Referee):
    """The referee of stage 1."""

    stage = 1

    def __init__(self, seed: int, timing: RefereeTiming) -> None:
        rules = (
            Rule("ball touched", 1.0, Eventually[View](lambda view: view.ball_touched)),
            Rule("ball touched by the dribbler", 1.0, Eventually[View](lambda view: view.bar_touched)),
            Rule("stopped with the ball", 1.0, AtEnd[View](lambda view: view.ball_at_bar and view.is_still())),
        )
        super().__init__(seed, timing, rules)

    def _end_reason(self, view: View) -> str:
        if self.still_for_s(view) >= STILL_FOR_S:
            return "still for 10 s"
        return super()._end_reason(view)
