from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from control.config import ApproachConfig, SearchConfig
from control.planning.approach_line import approach_heading
from control.planning.free_range import clear_distance_m
from control.planning.keep_in import keep_in
from control.planning.memory import FieldMemory
from control.planning.viewpoint import free_way_m, next_viewpoint, open_side, spin_sign, unseen_bearings
from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2, wrap_angle
from robot.core.messages import BallState, Localisation, RobotState, WorldModel

BODY, CONFIG, APPROACH = RobotBody(), SearchConfig(), ApproachConfig()
HALF_X, HALF_Y = 4.8, 3.3
TICK_NS = 10_000_000


def robot_state(pose: Pose2, localisation: Localisation = Localisation.ODOMETRY) -> RobotState:
    return RobotState(
        seq=0,
        t_capture_ns=0,
        t_receive_ns=0,
        valid=True,
        world_from_robot=pose,
        twist_in_robot=Twist2(),
        covariance=((0.0,) * 3,) * 3,
        localisation=localisation,
    )


def wall_range(pose: Pose2, bearing: float) -> float:
    c, s = math.cos(pose.theta_rad + bearing), math.sin(pose.theta_rad + bearing)
    tx = (math.copysign(HALF_X, c) - pose.x_m) / c if abs(c) > 1e-9 else math.inf
    ty = (math.copysign(HALF_Y, s) - pose.y_m) / s if abs(s) > 1e-9 else math.inf
    return min(tx, ty)


def view(pose: Pose2, t_ns: int, age_ns: int = 0, seen_from: Pose2 | None = None) -> WorldModel:
    edge = tuple((float(b), wall_range(seen_from or pose, float(b))) for b in np.linspace(-0.45, 0.45, 24))
    ball = BallState(seq=0, t_capture_ns=0, t_receive_ns=0)
    return WorldModel(
        seq=0,
        t_capture_ns=t_ns,
        t_receive_ns=t_ns,
        valid=True,
        robot=robot_state(pose),
        ball=ball,
        free_range_m=edge,
        free_range_age_ns=age_ns,
    )


def look_around(memory: FieldMemory, x: float, y: float, t0_ns: int = 0, turn: float = math.tau) -> Pose2:
    steps = int(abs(turn) / 0.1)
    pose = Pose2(x, y, 0.0)
    for i in range(steps + 1):
        pose = Pose2(x, y, wrap_angle(math.copysign(0.1 * i, turn)))
        memory.update(view(pose, t0_ns + 5 * i * TICK_NS), t0_ns + 5 * i * TICK_NS)
    return pose


def test_clear_distance_is_the_nearest_edge_in_the_corridor():
    edge = [(math.atan2(y, 2.0), math.hypot(2.0, y)) for y in np.linspace(-1, 1, 41)]
    assert clear_distance_m(edge, 0.0, 0.09) == pytest.approx(2.0)
    assert clear_distance_m([*edge, (0.05, 1.0)], 0.0, 0.09) == pytest.approx(1.0, abs=0.01)
    assert clear_distance_m([*edge, (0.2, 1.0)], 0.0, 0.09) == pytest.approx(2.0), "0.2 m beside the way"
    assert clear_distance_m(edge, 1.2, 0.09) is None, "the camera does not look there"
    assert clear_distance_m([], 0.0, 0.09) is None


def test_a_full_turn_sees_all_carpet_in_range_and_no_wall_is_taken_for_carpet():
    memory = FieldMemory(CONFIG)
    pose = look_around(memory, 2.5, 0.5)
    points = np.array([[2.5, 2.5], [0.5, 0.5], [4.5, 0.5], [2.5, -1.5]])
    carpet, looked = memory.state_at(points)
    assert (carpet > 0).all()
    assert looked.all()
    outside, _ = memory.state_at(np.array([[5.1, 0.5], [2.5, 3.6]]))
    assert (outside < 0).all()
    far, far_looked = memory.state_at(np.array([[-3.2, 0.5]]))
    assert far[0] > 0
    assert not far_looked[0], "that far away a ball is not surely seen"
    assert unseen_bearings(memory, pose) == []


def test_a_picture_is_placed_where_the_robot_was_when_it_was_taken():
    """While spinning the pose moves 15 degrees until a picture arrives: it must not be smeared by that."""
    memory = FieldMemory(CONFIG)
    for i in range(50):
        pose = Pose2(3.0, 0.0, 0.024 * i)
        then = Pose2(3.0, 0.0, 0.024 * max(0, i - 10))
        memory.update(view(pose, i * TICK_NS, min(i, 10) * TICK_NS, then), i * TICK_NS)
    carpet, _ = memory.state_at(np.array([[4.6, 0.0], [5.1, 0.0]]))
    assert carpet[0] > 0
    assert carpet[1] < 0
    walls = memory.wall_points((4.8, 0.0), 1.5)
    assert len(walls) > 5
    assert abs(walls[:, 0] - HALF_X).max() < 0.06


def test_half_a_turn_leaves_the_other_half_and_the_shorter_way_is_taken():
    memory = FieldMemory(CONFIG)
    pose = look_around(memory, 0.0, 0.0, turn=math.pi)
    left = unseen_bearings(memory, pose)
    assert left
    behind = [wrap_angle(b + pose.theta_rad) for b in left]
    assert all(-2.9 < b < -0.3 for b in behind), "what lies to the right of the start was not seen"
    assert spin_sign(left, -1.0) == 1.0
    assert spin_sign([0.3, 0.6], -1.0) == 1.0
    assert spin_sign([-0.3, -0.6], 1.0) == -1.0
    assert spin_sign([2.9, -3.0], 1.0) == 1.0, "no turning back for a few degrees"
    assert spin_sign([], -1.0) == -1.0


def test_the_next_viewpoint_lies_on_the_field_towards_what_was_not_seen():
    memory = FieldMemory(CONFIG)
    pose = look_around(memory, 3.0, 0.5)
    first = next_viewpoint(memory, pose, CONFIG)
    assert first is not None
    x, y = first
    assert x < 1.5, "the unseen part of the field lies towards -x"
    assert abs(y) < HALF_Y - 0.5
    assert CONFIG.hop_min_m <= math.dist((x, y), (3.0, 0.5)) <= CONFIG.hop_max_m + 0.01
    look_around(memory, x, y, 10**10)
    second = next_viewpoint(memory, Pose2(x, y, 0.0), CONFIG)
    assert second is not None
    assert second[0] < x


def test_everything_seen_gives_no_viewpoint_until_the_looks_are_forgotten():
    memory = FieldMemory(CONFIG)
    for i, x in enumerate(np.arange(-4.0, 4.1, 1.0)):
        for y in (-1.5, 1.5):
            pose = look_around(memory, float(x), y, (2 * i + (y > 0)) * 10**11)
    assert next_viewpoint(memory, pose, CONFIG) is None
    memory.forget_looks(2.0)
    assert next_viewpoint(memory, pose, CONFIG) is not None


def test_free_way_ends_at_walls_and_at_what_stopped_the_robot():
    memory = FieldMemory(CONFIG)
    pose = look_around(memory, 2.5, 0.0)
    assert free_way_m(memory, pose, 0.0, 5.0) == pytest.approx(2.3, abs=0.25)
    assert free_way_m(memory, pose, math.pi, 3.0) == pytest.approx(3.0)
    memory.block((1.0, 0.0), 0.3)
    assert free_way_m(memory, pose, math.pi, 3.0) == pytest.approx(1.2, abs=0.25)


def test_without_a_carpet_edge_unknown_ground_counts():
    memory = FieldMemory(CONFIG)
    blind = view(Pose2(), 0)
    for i in range(70):
        pose = Pose2(0.0, 0.0, wrap_angle(0.1 * i))
        memory.update(
            WorldModel(seq=0, t_capture_ns=0, t_receive_ns=0, robot=robot_state(pose), ball=blind.ball), 5 * i * TICK_NS
        )
    assert not memory.has_edges
    assert unseen_bearings(memory, pose) == []
    assert next_viewpoint(memory, pose, CONFIG) is not None


def wall_along_x(y: float) -> np.ndarray:
    return np.column_stack([np.linspace(-0.8, 0.8, 41), np.full(41, y)])


def test_a_ball_at_a_wall_is_taken_towards_the_wall():
    config = ApproachConfig()
    ball = (0.0, 0.0)
    wall = wall_along_x(0.0215)
    along = approach_heading(ball, (-1.0, -0.2), 0.0, wall, BODY, config)
    assert math.radians(40) < along < math.radians(90), "turned towards the wall, no more than needed"
    straight = approach_heading(ball, (0.0, -1.0), math.pi / 2, wall, BODY, config)
    assert straight == pytest.approx(math.pi / 2)
    assert approach_heading(ball, (-1.0, -0.3), 0.3, np.zeros((0, 2)), BODY, config) == pytest.approx(0.3)


def test_a_ball_in_a_corner_is_taken_along_the_diagonal():
    corner = np.vstack([wall_along_x(0.0215), wall_along_x(0.0215)[:, ::-1]])
    corner = corner[(corner <= 0.03).all(axis=1)]
    heading = approach_heading((0.0, 0.0), (-1.0, -0.1), 0.1, corner, BODY, ApproachConfig())
    assert heading == pytest.approx(math.pi / 4, abs=0.15)
    unseen = corner[np.hypot(*corner.T) > 0.12]
    heading = approach_heading((0.0, 0.0), (-1.0, -0.1), 0.1, unseen, BODY, ApproachConfig())
    assert heading == pytest.approx(math.pi / 4, abs=0.4), "never from behind a wall, however much room there is"


def test_goals_are_kept_inside_the_walls_only_when_the_frame_is_the_fields():
    field = FieldGeometry()
    goal = Pose2(9.0, -9.0, 1.0)
    assert keep_in(goal, robot_state(Pose2()), field, 0.1) == goal
    inside = keep_in(goal, robot_state(Pose2(), Localisation.TRACKING), field, 0.1)
    assert (inside.x_m, inside.y_m, inside.theta_rad) == pytest.approx((4.7, -3.2, 1.0))


def test_a_ball_in_front_of_a_wall_makes_no_wall_towards_it():
    """The ball hides carpet: the edge jumps from the wall to the ball and back, and nothing stands in between."""
    memory = FieldMemory(CONFIG)
    pose = Pose2(4.0, 0.0, 0.0)  # the wall 0.8 m ahead, the ball 0.45 m ahead
    for i in range(20):
        world = view(pose, 4 * i * TICK_NS)
        edge = tuple((b, 0.45 if abs(b) < 0.06 else r) for b, r in world.free_range_m)
        memory.update(replace(world, free_range_m=edge), 4 * i * TICK_NS)
    between = memory.wall_points((4.62, 0.0), 0.08)
    assert len(between) == 0
    assert len(memory.wall_points((4.8, 0.2), 0.1)) > 0
    assert (
        approach_heading((4.45, 0.0), (4.0, 0.0), 0.0, memory.wall_points((4.45, 0.0), 0.8, 0.09), BODY, APPROACH) == 0
    )


def test_a_wall_that_was_bumped_into_is_known_along_its_length_and_for_good():
    memory = FieldMemory(CONFIG)
    pose = look_around(memory, 2.5, 0.0)
    memory.block_wall((4.0, 0.0), (-1.0, 0.0))
    for heading in (0.0, 0.3, -0.3):
        assert free_way_m(memory, pose, heading, 2.2) < 1.8
    assert free_way_m(memory, pose, math.pi, 2.0) == 2.0
    look_around(memory, 2.5, 0.0, 10**11)
    assert free_way_m(memory, pose, 0.0, 2.2) < 1.8, "pictures that show floor there do not open it again"


def test_the_first_turn_goes_to_the_side_with_more_floor():
    assert open_side([(0.3, 2.0), (-0.3, 5.0)], 1.0) == -1.0
    assert open_side([(0.3, 5.0), (-0.3, 2.0)], -1.0) == 1.0
    assert open_side([(0.3, 3.0), (-0.3, 3.1)], -1.0) == -1.0
    assert open_side([], 1.0) == 1.0


def test_areas_are_those_of_what_was_not_looked_at():
    memory = FieldMemory(CONFIG)
    look_around(memory, 0.0, 0.0)
    near, far, outside = memory.unseen_areas_m2(np.array([[0.0, 0.0], [4.0, 2.5], [9.0, 9.0]]), 1.0)
    assert near < 0.3
    assert 0.5 < far <= math.pi + 0.5
    assert outside == 0.0
