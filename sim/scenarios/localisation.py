"""Localisation trials: a robot anywhere, a scripted motion, and in the middle a hand that carries it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perception.camera.model import CameraModel
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import Vec2
from sim.evaluation.wander import LOOKS, TOP_SPEED_M_S, Leg, Planner
from sim.scenarios.trials import draw_placement, draw_seed, make_trial
from sim.setup import RefereeTiming, Source, TrialSetup, generator
from sim.simulation import Simulation

START_S = 0.6
"""FORCE_START, seconds from the start of the trial: the robot stands until then."""

AFTER_S = 5.0
"""How long a trial goes on after the kidnapping."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalisationTrial:
    """One trial.

    Attributes:
        setup: world, sensors, camera, venue.
        legs: the motion.
        kidnap_s: when the robot is carried away, seconds from the start; it goes on moving as it did, in its frame.
        kidnap_to: where to, field frame.
        end_s: length of the trial.
        seed_in_field_m: a place near the start (`draw_seed`), for the seeded case.
    """

    setup: TrialSetup
    legs: tuple[Leg, ...]
    kidnap_s: float
    kidnap_to: Pose2
    end_s: float
    seed_in_field_m: Vec2


def make_localisation_trial(seed: int, field: FieldGeometry | None = None) -> LocalisationTrial:
    """Draw one trial; poses, venue, light, physics and sensors are as in `sim.scenarios.trials.make_trial`."""
    setup = make_trial(1, seed, field)
    timing = RefereeTiming(stop_s=0.1, start_s=START_S)
    rng = generator(seed, Source.WANDER)
    kidnap_s = float(rng.uniform(5.0, 5.6))
    start = setup.robot_start
    planner = Planner(rng, setup.field, start)
    planner.look(LOOKS[int(rng.integers(len(LOOKS)))])
    while planner.t_s < kidnap_s:
        planner.drive(TOP_SPEED_M_S)
    kidnap_s = planner.t_s
    kidnap_to, _ = draw_placement(rng, setup.field)
    while not planner.carried_to(kidnap_to):
        kidnap_to, _ = draw_placement(rng, setup.field)
    while planner.t_s < kidnap_s + 0.8:
        planner.drive(TOP_SPEED_M_S)
    planner.look("spin")
    while planner.t_s < kidnap_s + AFTER_S:
        planner.drive(TOP_SPEED_M_S)
    return LocalisationTrial(
        setup=replace(setup, referee=timing),
        legs=tuple(planner.legs),
        kidnap_s=START_S + kidnap_s,
        kidnap_to=kidnap_to,
        end_s=START_S + kidnap_s + AFTER_S,
        seed_in_field_m=draw_seed(rng, start),
    )


class KidnapSimulation(Simulation):
    """A simulation in which the robot is carried away at `trial.kidnap_s`, and that ends at `trial.end_s`."""

    def __init__(
        self, trial: LocalisationTrial, body: RobotBody, camera: CameraModel, *, render: bool = True, samples: int = 4
    ) -> None:
        super().__init__(trial.setup, body, camera, render=render, samples=samples)
        self._trial = trial
        self._kidnapped = False

    def advance_to_ns(self, t_ns: int) -> None:
        """Simulate up to `t_ns`; the kidnapping takes no time."""
        at_ns = round(self._trial.kidnap_s * NS_PER_S)
        if not self._kidnapped and t_ns >= at_ns:
            super().advance_to_ns(at_ns)
            self._world.carry_robot(self._trial.kidnap_to)
            self._kidnapped = True
        super().advance_to_ns(t_ns)

    @property
    def finished(self) -> bool:
        """True at the end of the trial."""
        return self.now_ns >= round(self._trial.end_s * NS_PER_S)
