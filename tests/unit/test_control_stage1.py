"""Stage 1 on the kinematic bench: random starts, and each way in which the original robot failed."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest

from control.config import ControlConfig
from control.player import Player
from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Mode, RefereeCode, RefereeCommand, TargetMode
from tests.unit.control_bench import DIVISION_B, DT_S, TICK_NS, Bench, Camera, random_bench

X_WALL, Y_WALL = DIVISION_B.wall_bounds_m()[1], DIVISION_B.wall_bounds_m()[3]


def command(code: RefereeCode, seq: int = 0, stage: int = 1) -> RefereeCommand:
    return RefereeCommand(seq=seq, t_capture_ns=0, t_receive_ns=0, valid=True, code=code, stage=stage)


def test_random_starts():
    times = [random_bench(seed).play() for seed in range(20)]
    assert None not in times
    assert statistics.median(t for t in times if t is not None) < 9.0


@pytest.mark.slow
def test_a_hundred_and_twenty_random_starts_half_of_them_with_poor_sight():
    """All succeed; a worse camera costs time."""
    good = [random_bench(seed).play() for seed in range(1000, 1080)]
    poor_sight = Camera(max_range_m=2.5, miss_share=0.4)
    poor = [random_bench(seed, camera=poor_sight, beam_flicker=0.1).play() for seed in range(2000, 2040)]
    done = [t for t in good if t is not None]
    assert len(done) == len(good)
    assert statistics.median(done) < 7.5
    assert sum(t is not None for t in poor) >= len(poor) - 1


@pytest.mark.parametrize(
    ("ball", "robot"),
    [
        ((X_WALL - 0.0215, 0.3), Pose2(3.0, 1.0, 0.0)),
        ((X_WALL - 0.0215, 0.3), Pose2(4.6, -1.5, 1.5)),  # seen along the wall
        ((0.5, -Y_WALL + 0.03), Pose2(-1.0, -3.1, 0.0)),
        ((0.5, Y_WALL - 0.08), Pose2(2.5, 3.0, 3.0)),
        ((X_WALL - 0.03, Y_WALL - 0.03), Pose2(3.0, 3.0, 0.2)),  # in the corner
    ],
)
def test_a_ball_at_a_wall_is_held_and_nothing_is_rammed(ball, robot):
    bench = Bench(robot=robot, ball=ball, seed=3)
    assert bench.play(hold_s=10.0) is not None
    assert max(bench.wall_hits_m_s, default=0.0) < 0.45
    in_corner = ball[0] > X_WALL - 0.1 and ball[1] > Y_WALL - 0.1
    assert in_corner or sum(bench.wall_hits_m_s) * DT_S < 0.03, "pressed into the wall, metres"


def test_a_ball_that_is_kicked_away_on_contact_is_followed():
    for seed in range(10):
        bench = random_bench(seed, first_contact_kick_m_s=1.0)
        assert bench.play() is not None
        assert bench.history.count(("dock", "advance")) >= 2


def test_a_rolling_ball_is_taken():
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(2.0, -0.8), ball_velocity=(0.0, 0.5))
    grabbed = bench.play()
    assert grabbed is not None
    assert grabbed < 8.0


def test_a_phantom_that_vanishes_costs_seconds_only():
    def phantom(t_s: float) -> tuple[float, float] | None:
        return (2.5, 0.3) if t_s < 1.0 else None

    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(-3.0, -1.0), phantom=phantom)
    grabbed = bench.play()
    assert {("approach", "lost"), ("approach", "look"), ("approach", "coast")} & set(bench.history)
    assert grabbed is not None
    assert grabbed < 15.0


def test_a_phantom_that_stays_is_given_up_for_the_real_ball():
    """Something orange that is no ball: the robot drives over it twice, sees it unmoved, and leaves it alone."""
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(-2.5, 0.5), phantom=lambda t_s: (1.5, 0.0))
    assert bench.play() is not None
    assert bench.history.count(("dock", "miss")) == 2


def test_a_flickering_break_beam_neither_ends_a_search_nor_a_hold():
    bench = random_bench(5, beam_flicker=0.3)
    assert bench.play(hold_s=10.0) is not None
    assert ("hold", "regrip") not in bench.history


def test_a_break_beam_that_is_stuck_closed_does_not_fool_the_robot():
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(2.0, 0.3))
    honest = bench.world

    def stuck():
        world = honest()
        return replace(world, ball=replace(world.ball, in_dribbler=True))

    bench.world = stuck  # type: ignore[method-assign]
    assert bench.play(20.0) is not None, "the camera sees the ball elsewhere: it goes there"


def test_a_lost_ball_is_regripped_or_taken_again():
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(1.0, 0.2))
    assert bench.play() is not None
    bench.ball = bench.robot.transform((0.14, 0.0))
    again = bench.play(bench.t_s + 8.0)
    assert again is not None
    assert ("hold", "regrip") in bench.history
    bench.ball = bench.robot.transform((0.5, 0.25))
    assert bench.play(bench.t_s + 12.0) is not None
    assert ("back_off", "back") in bench.history


def test_a_robot_that_starts_with_the_ball_moves_once_and_stands():
    start = Pose2(0.3, -0.2, 1.0)
    bench = Bench(robot=start, ball=start.transform((RobotBody().ball_hold_x_m(), 0.0)))
    assert bench.play(15.0, hold_s=10.0) is not None
    assert bench.robot.distance_to(start) > 0.03
    assert ("hold", "hold") in bench.history


@pytest.mark.parametrize("code", [RefereeCode.STOP, RefereeCode.HALT])
def test_never_moves_under_stop_or_halt(code):
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(1.0, 0.0))
    for _ in range(300):
        target = bench.step(code)
        assert target.mode is TargetMode.STOP
    assert bench.robot == Pose2()
    assert all(c.twist_in_robot == Twist2() and c.dribbler_rad_s == 0.0 for c in bench.commands)


@pytest.mark.parametrize("code", [RefereeCode.STOP, RefereeCode.HALT])
def test_halt_in_full_drive_brakes_within_a_metre_and_a_new_start_plays_again(code):
    bench = Bench(robot=Pose2(-2.0, 0.0, 0.0), ball=(0.8, 0.0))
    while bench.twist.speed_m_s() < 1.8:
        bench.step()
    at = bench.robot
    for _ in range(150):
        bench.step(code)
    assert bench.robot.distance_to(at) < 1.0
    assert bench.commands[-1].stop
    assert bench.play(bench.t_s + 20.0) is not None


def test_other_modes_and_missing_inputs_stand_still():
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(1.0, 0.0))
    world = bench.world()
    go = command(RefereeCode.FORCE_START)
    player = Player(ControlConfig(), RobotBody(), FieldGeometry())

    def mode_of(*args, **changes):
        decision = player.decide(replace(world, **changes), *args, 0)
        return decision.target.mode, decision.plan.reason

    for mode in (Mode.BOOT, Mode.READY, Mode.SAFE_STOP):
        assert mode_of(go, (), mode) == (TargetMode.STOP, f"mode: {mode.value}")
    assert mode_of(None, (), Mode.ACTIVE)[0] is TargetMode.STOP
    assert mode_of(command(RefereeCode.FORCE_START, 7, stage=99), (), Mode.ACTIVE)[1] == "no play for stage 99"
    lost = replace(world.robot, valid=False)
    assert mode_of(command(RefereeCode.FORCE_START, 8), (), Mode.ACTIVE, robot=lost)[1] == "no robot state"
    broken = replace(world.robot, world_from_robot=Pose2(math.nan, 0.0, 0.0))
    assert mode_of(go, (), Mode.ACTIVE, robot=broken)[0] is TargetMode.STOP
    assert mode_of(go, (), Mode.ACTIVE)[0] is not TargetMode.STOP


def test_a_broken_ball_is_no_ball():
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(1.0, 0.0))
    for _ in range(60):
        bench.step()
    world = bench.world()
    nan = replace(world.ball, ball_in_world_m=(math.nan, 0.0), ball_in_robot_m=(math.nan, 0.0))
    decision = bench.player.decide(
        replace(world, ball=nan), command(RefereeCode.FORCE_START, 2), (), Mode.ACTIVE, bench.tick * TICK_NS
    )
    assert decision.target.pose_in_robot.is_finite()
    assert decision.target.twist_in_robot.is_finite()
    assert decision.plan.skill == "approach", "it drives on to where the ball was last"


def test_degraded_is_slower():
    def fastest(mode: Mode) -> float:
        bench = Bench(robot=Pose2(-2.0, 0.0, 0.0), ball=(0.8, 0.0), mode=mode)
        assert bench.play() is not None
        return max(c.twist_in_robot.speed_m_s() for c in bench.commands)

    assert fastest(Mode.DEGRADED) < 0.6 * fastest(Mode.ACTIVE)


def test_without_a_carpet_edge_it_still_finds_a_ball():
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(-3.9, 1.0), edges=False)
    assert bench.play() is not None


def test_walls_that_the_camera_takes_for_carpet_are_learnt_by_bumping_into_them():
    for seed in (14, 36, 38):  # balls that are far from the start
        bench = random_bench(seed, camera=Camera(sees_walls=False))
        grabbed = bench.play()
        assert grabbed is not None
        assert grabbed < 25.0


def test_one_glitch_of_the_carpet_edge_does_not_end_a_drive():
    def travels(glitch: bool) -> int:
        bench = Bench(robot=Pose2(-4.0, 0.5, 0.0), ball=(4.4, -2.9), seed=2)
        honest = bench.world

        def world():
            seen = honest()
            if not glitch or bench.free_range_tick % 10:
                return seen
            return replace(seen, free_range_m=tuple((b, 0.32) for b, _ in seen.free_range_m))

        bench.world = world  # type: ignore[method-assign]
        assert bench.play() is not None
        return bench.history.count(("search", "travel"))

    assert travels(glitch=True) <= travels(glitch=False) + 1


def test_the_same_inputs_give_the_same_commands():
    first, second = random_bench(11), random_bench(11)
    first.play()
    second.play()
    assert first.commands == second.commands
    assert first.truth == second.truth


def test_a_track_that_the_estimator_pushes_ahead_of_the_hull_does_not_hide_a_miss():
    """An unseen ball is never believed inside the robot: docking must count its own way from the last sight."""
    bench = Bench(robot=Pose2(0.0, 0.0, 0.0), ball=(1.0, 0.0))
    honest = bench.world

    def pushed():
        world = honest()
        x, y = world.ball.ball_in_robot_m
        ahead = max(x, RobotBody().ball_hold_x_m())
        in_world = world.robot.world_from_robot.transform((ahead, y))
        ball = replace(world.ball, ball_in_robot_m=(ahead, y), ball_in_world_m=in_world, in_dribbler=False)
        return replace(world, ball=ball)

    bench.world = pushed  # type: ignore[method-assign]
    while bench.history[-1:] != [("dock", "advance")]:
        bench.step()
    started = bench.t_s
    bench.ball = (-3.0, 2.0)
    while bench.history[-1][0] == "dock":
        bench.step()
    assert bench.t_s - started < 2.5
    assert ("dock", "miss") in bench.history
