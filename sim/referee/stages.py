"""Which referee a trial has."""

from __future__ import annotations

from robot.core.errors import SimulationError
from sim.referee.base import Referee
from sim.referee.stage1 import GrabReferee
from sim.referee.stage3 import CoordinatesReferee
from sim.setup import TrialSetup


def make_referee(setup: TrialSetup) -> Referee:
    """Return the referee of a trial's stage.

    Raises:
        SimulationError: nobody judges that stage, or stage 3 without a seed and a target.
    """
    if setup.stage == 1:
        return GrabReferee(setup.seed, setup.referee)
    if setup.stage == 3:
        if setup.seed_in_field_m is None or setup.target_in_field_m is None:
            raise SimulationError("stage 3 needs a seed and a target", hint="make_trial(3, seed) draws both")
        return CoordinatesReferee(setup.seed, setup.referee, setup.seed_in_field_m, setup.target_in_field_m)
    raise SimulationError(f"no referee for stage {setup.stage}", hint="stages 1 and 3 are there")
