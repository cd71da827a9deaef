"""Localisation by lines in a small world: found, seeded, tracked, carried away, and honest about the mirror."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from perception.estimation.ego.ekf import CAMERA as CAMERA_STATES
from perception.localisation.config import MarkingConfig, SearchConfig
from perception.localisation.view import goal_bearings, line_points
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Detection, Localisation, ObjectClass
from tests.estimation_world import CAMERA, frame
from tests.line_world import NO_SHUTTER, LineWorld

SPIN = Twist2(0.0, 0.0, 2.2)
STARTS = [Pose2(1.2, 0.7, 0.4), Pose2(-3.6, -2.2, 2.0), Pose2(0.1, 2.5, -1.9), Pose2(3.9, 1.4, -0.6)]


def test_places_move_with_the_camera_as_their_derivatives_say() -> None:
    batch = frame(0, 0, line_points_px=((100.0, 200.0), (500.0, 120.0), (320.0, 100.0), (600.0, 300.0)))

    def places(off: np.ndarray) -> np.ndarray:
        points = line_points(batch, CAMERA, MarkingConfig(max_range_m=9.0), (0.0, 0.0), off, Twist2())
        assert points is not None
        return points.places_m

    points = line_points(batch, CAMERA, MarkingConfig(max_range_m=9.0), (0.0, 0.0), np.zeros(3), Twist2())
    assert points is not None
    for k in range(3):
        step = np.eye(3)[k] * 1e-4
        assert points.by_tilt[:, :, k] == pytest.approx((places(step) - places(-step)) / 2e-4, abs=2e-3)


def test_rows_that_are_read_later_are_put_where_the_robot_was_then() -> None:
    batch = frame(0, 0, line_points_px=((320.0, 240.0), (320.0, 470.0)))
    still, turning = (
        line_points(batch, CAMERA, MarkingConfig(readout_s=0.02), (0.0, 0.0), np.zeros(3), twist)
        for twist in (Twist2(), Twist2(1.0, 0.0, 2.0))
    )
    assert still is not None
    assert turning is not None
    moved = turning.places_m - still.places_m
    assert moved[0] == pytest.approx((0.0, 0.0), abs=1e-4)  # the middle row belongs to the capture time
    late_s = 0.02 * (470.0 / 480.0 - 0.5)
    assert moved[1] == pytest.approx((late_s * 1.0, late_s * 2.0 * still.places_m[1, 0]), abs=1e-4)


def test_a_picture_full_of_goals_gives_no_more_work_than_four() -> None:
    boxes = [(100.0 + k, 100.0, 250.0 + 2 * k, 180.0) for k in range(100)]
    goals = tuple(Detection(object_class=ObjectClass.GOAL, score=0.9, box_px=box) for box in boxes)
    few, all_ = (goal_bearings(frame(0, 0, detections=some), CAMERA, 0.0, 0.4) for some in (goals[:4], goals))
    assert len(few) == 4
    assert [goal.left_rad for goal in all_] == [goal.left_rad for goal in few]


@pytest.mark.parametrize("start", STARTS)
def test_found_from_nowhere_up_to_the_mirror_and_then_tracked(start: Pose2) -> None:
    world = LineWorld(pose=start)
    world.drive(0.3, Twist2())
    assert world.state().localisation is Localisation.ODOMETRY
    world.drive(3.2, SPIN)
    assert world.knows()
    assert world.state().mirror_ambiguous
    world.drive(0.8, Twist2(0.4, 0.0, 0.3))
    assert world.knows(within_m=0.03, within_rad=math.radians(1.0))


def test_the_camera_that_stands_off_its_calibration_is_noticed() -> None:
    world = LineWorld(pose=STARTS[0])
    world.drive(4.0, SPIN)
    x, p = world.estimator.belief(world.t_ns).covariance, world.estimator._robot.ego.x[CAMERA_STATES]
    assert p[0] == pytest.approx(math.radians(0.3), abs=math.radians(0.08))
    assert x[8, 8] < 0.25 * 0.004**2


def test_a_seed_without_a_heading_tells_the_twins_apart() -> None:
    start = Pose2(-2.0, 1.3, 2.5)
    world = LineWorld(pose=start)
    world.drive(0.2, Twist2())
    world.estimator.seed(Pose2(start.x_m + 0.3, start.y_m - 0.35), 0.3, math.pi, world.t_ns)
    assert world.state().localisation is Localisation.ODOMETRY  # a heading that nobody knows is no pose
    world.drive(3.2, SPIN)
    assert world.knows()
    assert not world.state().mirror_ambiguous


@pytest.mark.parametrize("late_s", [0.0, 5.0])
def test_a_vague_seed_that_comes_late_is_no_seed_at_the_odometrys_origin(late_s: float) -> None:
    world = LineWorld(pose=Pose2(-2.0, -1.3, 0.0))
    world.blind = True
    world.drive(4.0, Twist2(1.0, 0.0, 0.0))
    world.estimator.seed(world.pose, 0.3, math.pi, world.t_ns - int(late_s * 1e9))
    world.blind = False
    world.drive(3.2, SPIN)
    assert world.knows()
    assert not world.state().mirror_ambiguous
    assert world.error()[0] < 0.1


def test_a_seed_at_the_centre_cannot_tell_the_twins_apart_and_says_so() -> None:
    world = LineWorld(pose=Pose2(0.1, -0.05, 1.0))
    world.drive(0.2, Twist2())
    world.estimator.seed(Pose2(0.0, 0.0), 0.3, math.pi, world.t_ns)
    world.drive(3.2, SPIN)
    assert world.knows()
    assert world.state().mirror_ambiguous


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_late_seed_turns_the_pose_to_the_right_twin(side: float) -> None:
    world = LineWorld(pose=STARTS[1])
    world.drive(3.2, SPIN)
    assert world.state().mirror_ambiguous
    world.pose = world.pose if side > 0 else Pose2(-world.pose.x_m, -world.pose.y_m, world.pose.theta_rad + math.pi)
    world.estimator.seed(Pose2(world.pose.x_m, world.pose.y_m), 0.3, math.pi, world.t_ns)
    world.drive(0.5, SPIN)
    assert world.knows(within_m=0.03)
    assert not world.state().mirror_ambiguous


def test_carried_away_it_says_lost_and_is_found_again() -> None:
    world = LineWorld(pose=STARTS[0])
    world.drive(0.1, Twist2())
    world.estimator.seed(world.pose, 0.02, 0.02, world.t_ns)
    world.drive(1.0, SPIN)
    assert world.knows(within_m=0.03)
    assert not world.state().mirror_ambiguous
    world.carry_to(Pose2(-2.5, 2.0, -1.0))
    world.drive(0.45, SPIN)
    assert world.state().localisation is Localisation.LOST
    assert world.state().covariance[0][0] > 1.0  # and nobody is told that it is known to a centimetre
    world.drive(4.0, SPIN)
    # Which half a hand has put it down in nothing tells: the side that was known is known no more.
    assert world.knows()
    assert world.state().mirror_ambiguous


def test_a_slide_that_is_found_out_does_not_cost_the_side() -> None:
    world = LineWorld(pose=STARTS[0])
    world.drive(0.1, Twist2())
    world.estimator.seed(world.pose, 0.02, 0.02, world.t_ns)
    world.drive(1.0, SPIN)
    world.carry_to(Pose2(world.pose.x_m + 0.2, world.pose.y_m + 0.12, world.pose.theta_rad + 0.12))
    world.drive(4.0, SPIN)
    assert world.knows(within_m=0.05)
    assert not world.state().mirror_ambiguous


def test_without_lines_in_sight_nothing_is_claimed() -> None:
    world = LineWorld(pose=STARTS[2], blind=True)
    world.drive(3.0, SPIN)
    assert world.state().localisation is Localisation.ODOMETRY
    assert not world.state().mirror_ambiguous


def test_points_that_lie_anywhere_do_not_place_the_robot() -> None:
    world = LineWorld(pose=STARTS[2], false_share=1.0, goals=False)
    world.drive(4.0, SPIN)
    assert world.state().localisation is Localisation.ODOMETRY


def test_one_line_in_sight_is_not_enough_for_a_pose() -> None:
    """Standing still before a touch line: many places look like this."""
    world = LineWorld(pose=Pose2(2.2, 1.6, math.pi / 2))
    world.drive(4.0, Twist2())
    assert world.state().localisation is not Localisation.TRACKING or world.knows()


def test_the_same_inputs_give_the_same_bits() -> None:
    def states() -> list[object]:
        world = LineWorld(pose=STARTS[3])
        seen = []
        for _ in range(26):
            world.drive(0.1, SPIN)
            seen.append(world.state())
        return seen

    assert states() == states()


def test_tracking_is_honest() -> None:
    """NEES over runs from seeds: hardly ever above its 95 % bound, and not for a covariance that is merely huge."""
    values = []
    for k, start in enumerate(STARTS):
        world = LineWorld(pose=start, seed=k + 1)
        world.drive(0.6, Twist2())
        world.estimator.seed(world.pose, 0.02, 0.02, world.t_ns)
        for twist in (SPIN, Twist2(0.8, 0.2, 1.0), Twist2(-0.8, -0.2, -1.0)):
            for _ in range(10):
                world.drive(0.1, twist)
                state = world.state()
                pose, truth = state.world_from_robot, world.pose
                turn = math.remainder(pose.theta_rad - truth.theta_rad, math.tau)
                error = np.array([pose.x_m - truth.x_m, pose.y_m - truth.y_m, turn])
                values.append(float(error @ np.linalg.solve(np.array(state.covariance), error)))
    too_large = np.mean([v > 9.348 for v in values])
    assert too_large < 0.05, too_large
    assert np.median(values) > 0.1, np.median(values)


def test_a_switched_off_search_leaves_seeds_to_the_filter() -> None:
    config = replace(NO_SHUTTER, search=SearchConfig(enabled=False))
    world = LineWorld(pose=STARTS[0], config=config)
    world.drive(0.2, Twist2())
    world.drive(1.5, SPIN)
    assert world.state().localisation is Localisation.ODOMETRY
    world.estimator.seed(world.pose, 0.05, 0.05, world.t_ns)
    world.drive(0.5, SPIN)
    assert world.knows(within_m=0.03)
