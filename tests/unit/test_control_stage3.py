"""Stage 3 on the kinematic bench: when the place is found is the bench's affair, what is done then the play's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from robot.core.geometry import Pose2
from robot.core.messages import Localisation, RefereeCode, RefereeCommand, RobotState, Vec2, WorldModel
from tests.unit.control_bench import DIVISION_B, DT_S, Bench


@dataclass
class PlaceBench(Bench):
    """A robot that finds its place after turning by `found_after_rad`; until then its world frame is odometry's.

    `belief` may change what it believes from then on; no ball is on the field.
    """

    target: Vec2 | None = (2.0, 1.0)
    found_after_rad: float = 1.0
    belief: Callable[[RobotState, float], RobotState] = lambda state, t_s: state

    def __post_init__(self) -> None:
        super().__post_init__()
        self.start, self.turned_rad, self.found_s = self.robot, 0.0, math.inf

    def referee(self, code: RefereeCode) -> RefereeCommand:
        return replace(super().referee(code), stage=3, seed_in_field_m=(0.3, 0.0), target_in_field_m=self.target)

    def world(self) -> WorldModel:
        self.turned_rad += abs(self.twist.omega_rad_s) * DT_S
        if self.turned_rad >= self.found_after_rad:
            self.found_s = min(self.found_s, self.t_s)
        world, odom = super().world(), self.start.inverse() @ self.robot
        robot = replace(world.robot, odom_from_robot=odom)
        if self.t_s >= self.found_s:
            robot = self.belief(replace(robot, localisation=Localisation.TRACKING), self.t_s - self.found_s)
        else:
            robot = replace(robot, world_from_robot=odom)
        return replace(world, robot=robot, ball=replace(world.ball, valid=False))

    def run(self, seconds: float) -> PlaceBench:
        for _ in range(round(seconds / DT_S)):
            self.step()
        return self

    @property
    def skills(self) -> list[str]:
        names = [skill for skill, _ in self.history]
        return [name for name, before in zip(names, ["", *names], strict=False) if name != before]

    @property
    def off_m(self) -> float:
        assert self.target is not None
        return math.dist((self.robot.x_m, self.robot.y_m), self.target)

    @property
    def stands(self) -> bool:
        return self.twist.speed_m_s() < 0.01 and abs(self.twist.omega_rad_s) < 0.01


@pytest.mark.parametrize("start", [Pose2(-3.0, -2.0, 2.5), Pose2(4.3, 2.8, 0.1), Pose2(1.8, 1.1, -1.0)])
def test_the_robot_finds_its_place_drives_to_the_target_and_stands(start: Pose2) -> None:
    bench = PlaceBench(robot=start, ball=(0.0, 0.0)).run(9.0)
    assert bench.skills == ["find_place", "go_to", "stand"]
    assert bench.off_m < 0.02
    assert bench.stands


def test_it_looks_where_it_drives() -> None:
    bench = PlaceBench(robot=Pose2(-3.0, -2.0, 2.5), ball=(0.0, 0.0)).run(9.0)
    fast = [
        pose for pose, _, _ in bench.truth if bench.target and 1.0 < math.dist((pose.x_m, pose.y_m), bench.target) < 2.5
    ]
    aside = [math.remainder(math.atan2(1.0 - p.y_m, 2.0 - p.x_m) - p.theta_rad, math.tau) for p in fast]
    assert fast
    assert max(map(abs, aside)) < 0.2


def test_it_waits_for_the_start() -> None:
    bench = PlaceBench(robot=Pose2(), ball=(0.0, 0.0))
    for _ in range(100):
        bench.step(RefereeCode.STOP)
    assert bench.robot == Pose2()


def test_a_pose_that_is_lost_on_the_way_is_looked_for_again() -> None:
    def lost(state: RobotState, t_s: float) -> RobotState:
        return replace(state, localisation=Localisation.LOST) if 0.8 < t_s < 2.0 else state

    bench = PlaceBench(robot=Pose2(-3.0, -2.0, 0.0), ball=(0.0, 0.0), belief=lost).run(12.0)
    assert bench.skills == ["find_place", "go_to", "find_place", "go_to", "stand"]
    assert bench.off_m < 0.02


def test_a_pose_that_gets_better_while_standing_is_used() -> None:
    def late(state: RobotState, t_s: float) -> RobotState:
        wrong = Pose2(0.2, 0.0, 0.0) @ state.world_from_robot
        return replace(state, world_from_robot=wrong) if t_s < 6.0 else state

    bench = PlaceBench(robot=Pose2(-1.0, -1.0, 0.0), ball=(0.0, 0.0), belief=late)
    assert bench.run(6.0).off_m == pytest.approx(0.2, abs=0.03)
    assert bench.run(6.0).off_m < 0.02


@pytest.mark.parametrize("gets_sure", [True, False])
def test_an_unsure_place_at_the_target_is_looked_at_from_all_sides_once(gets_sure: bool) -> None:
    """Lines of one direction leave the robot 0.1 m off along them; after half a turn it sees others."""
    bench = PlaceBench(robot=Pose2(-1.0, -1.0, 0.0), ball=(0.0, 0.0))

    def unsure(state: RobotState, t_s: float) -> RobotState:
        if gets_sure and bench.turned_rad > 1.0 + math.pi + 1.5:
            return state
        wrong = Pose2(0.1, 0.0, 0.0) @ state.world_from_robot
        return replace(state, world_from_robot=wrong, covariance=((4e-4, 0.0, 0.0), (0.0, 1e-6, 0.0), (0.0, 0.0, 1e-6)))

    bench.belief = unsure
    bench.run(16.0)
    assert bench.skills == ["find_place", "go_to", "look_round", "go_to", "stand"]
    assert bench.off_m < 0.02 if gets_sure else bench.off_m == pytest.approx(0.1, abs=0.02)
    assert bench.stands


def test_a_pose_that_wavers_ends_in_standing_too() -> None:
    def wavers(state: RobotState, t_s: float) -> RobotState:
        return replace(state, world_from_robot=Pose2(0.1 * (int(t_s) % 2), 0.0, 0.0) @ state.world_from_robot)

    bench = PlaceBench(robot=Pose2(1.0, 0.0, 0.0), ball=(0.0, 0.0), belief=wavers).run(20.0)
    before = bench.robot
    assert bench.run(10.0).robot.distance_to(before) < 0.005
    assert bench.off_m < 0.15


def test_an_ambiguous_pose_is_looked_at_for_a_whole_turn_and_then_used() -> None:
    bench = PlaceBench(
        robot=Pose2(0.1, 0.0, 0.0), ball=(0.0, 0.0), belief=lambda state, _: replace(state, mirror_ambiguous=True)
    ).run(12.0)
    turning_s = next(k for k, (pose, _, _) in enumerate(bench.truth) if pose.distance_to(Pose2(0.1)) > 0.02) * DT_S
    assert turning_s > math.tau / bench.config.coordinates.turn_rate_rad_s
    assert bench.off_m < 0.02


def test_a_place_that_is_not_found_is_looked_for_from_elsewhere_without_ramming_walls() -> None:
    bench = PlaceBench(robot=Pose2(3.9, 2.6, 0.7), ball=(0.0, 0.0), found_after_rad=1e9).run(30.0)
    assert bench.skills == ["find_place"]
    assert {"turn", "move"} == {state for _, state in bench.history}
    assert bench.robot.distance_to(Pose2(3.9, 2.6)) > 1.0
    assert not bench.wall_hits_m_s


def test_a_target_behind_the_wall_is_approached_as_far_as_there_is_floor() -> None:
    x_max = DIVISION_B.wall_bounds_m()[1]
    bench = PlaceBench(robot=Pose2(2.0, 0.0, 0.0), ball=(0.0, 0.0), target=(x_max + 1.0, 0.5)).run(10.0)
    assert bench.robot.x_m == pytest.approx(x_max - bench.body.radius_m, abs=0.03)
    assert bench.robot.y_m == pytest.approx(0.5, abs=0.03)
    assert max(bench.wall_hits_m_s, default=0.0) < 0.3
    assert bench.stands


def test_without_a_target_the_robot_stands() -> None:
    bench = PlaceBench(robot=Pose2(1.0, 0.0, 0.0), ball=(0.0, 0.0), target=None).run(5.0)
    assert bench.skills == ["find_place", "stand"]
    assert bench.stands
