"""Every wait of a skill ends by itself, also where the condition that it waits for never comes: the robot is held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.config import ControlConfig
from control.planning.memory import FieldMemory
from control.skills.skill import SKILLS, Notes, SkillStep, Status, View
from robot.core.geometry import Pose2
from robot.core.messages import BallState
from tests.unit.control_bench import DIVISION_B, TICK_NS, Bench

CONFIG = ControlConfig()


def held_view(ball_m: tuple[float, float] | None, notes: Notes) -> View:
    """What a robot at the origin sees that nothing moves; the ball is seen in every tick, if there is one."""
    bench = Bench(robot=Pose2(), ball=ball_m or (9.0, 9.0))
    world = bench.world()
    if ball_m is not None:
        seen = BallState(
            seq=0,
            t_capture_ns=0,
            t_receive_ns=0,
            valid=True,
            visible=True,
            sightings=50,
            ball_in_world_m=ball_m,
            ball_in_robot_m=ball_m,
        )
        world = replace(world, ball=seen)
    memory = FieldMemory(CONFIG.search)
    return View(world, 0, 0, CONFIG, bench.body, DIVISION_B, memory, notes)


def ends_after_s(skill: str, view: View, limit_s: float = 30.0) -> tuple[float, SkillStep]:
    """Step a skill while nothing changes but the time; returns when it ended, and how."""
    acting = SKILLS.create(skill)
    acting.enter(view)
    for tick in range(1, round(limit_s * 1e9 / TICK_NS)):
        step = acting.step(replace(view, t_now_ns=tick * TICK_NS, seq=tick))
        if step.status is not Status.RUNNING:
            return tick * TICK_NS / 1e9, step
    raise AssertionError(f"{skill} waits for ever")


@pytest.mark.parametrize(
    ("skill", "ball_m", "about_s", "state"),
    [
        ("approach", (2.0, 0.0), CONFIG.approach.timeout_s, "lost"),
        ("dock", (0.4, 0.0), 0.7, "stuck"),
        ("go_to", None, 10.0, "late"),
        ("back_off", None, 1.0 + 2.0 * 0.4 / 0.8 + CONFIG.hold.look_s, "lost"),
        ("hold", None, CONFIG.hold.lost_s + CONFIG.hold.regrip_s, "lost"),
    ],
)
def test_a_held_robot_gives_up_in_time(
    skill: str, ball_m: tuple[float, float] | None, about_s: float, state: str
) -> None:
    notes = Notes(hint_in_world_m=ball_m, goal_in_world=Pose2(1.0, 0.0, 0.0))
    seconds, step = ends_after_s(skill, held_view(ball_m, notes))
    assert (step.status, step.state) == (Status.FAILED, state)
    assert seconds == pytest.approx(about_s, abs=0.05)


def test_a_dock_that_makes_headway_for_ever_gives_up_too() -> None:
    """A ball that flees as fast as the robot comes: the gap still shrinks, by a centimetre now and then."""
    notes = Notes()
    acting = SKILLS.create("dock")
    acting.enter(held_view((0.6, 0.0), notes))
    for tick in range(1, 1000):
        ahead_m = 0.6 - 0.0003 * tick
        view = replace(held_view((ahead_m, 0.0), notes), t_now_ns=tick * TICK_NS, seq=tick)
        step = acting.step(view)
        if step.status is not Status.RUNNING:
            break
    assert (step.state, step.reason) == ("miss", "time is up")
    assert tick * TICK_NS / 1e9 == pytest.approx(CONFIG.dock.timeout_s, abs=0.05)
