"""Plays beyond stage 1: the one of the documentation, tables with holes, long stops, and a robot that is shut in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control.plays.play import PLAYS, Play
from control.skills.skill import SKILLS
from robot.core.geometry import Pose2
from robot.core.messages import Mode, RefereeCode
from tests.unit.control_bench import Bench

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-skill.md"


@pytest.fixture
def documented() -> Iterator[dict[str, Any]]:
    """The guide's skill and play, as a reader would type them."""
    names: dict[str, Any] = {}
    skill, play, _ = (part.split("```")[0] for part in GUIDE.read_text(encoding="utf-8").split("```python\n")[1:])
    exec(compile(skill, "turn_round.py", "exec", dont_inherit=True), names)
    exec(compile(play, "stage9.py", "exec", dont_inherit=True), names)
    yield names
    SKILLS._factories.pop("turn_round")
    PLAYS._factories.pop("stage9")


def prepared(bench: Bench, play: Play | None = None) -> Bench:
    """Stand under STOP for half a second, then start; with `play` in place of stage 1."""
    for _ in range(50):
        bench.step(RefereeCode.STOP)
    bench.step()
    if play is not None:
        bench.player._play = play
    return bench


def test_the_guides_skill_and_play_do_what_they_say_and_the_end_of_a_play_is_standing(
    documented: dict[str, Any],
) -> None:
    """A table without a successor raised KeyError, which ended the whole run."""
    bench = prepared(Bench(robot=Pose2(), ball=(2.0, 0.5)), documented["Stage9"]())
    for _ in range(1000):
        bench.step()
    assert {"turn_round", "search"} <= {skill for skill, _ in bench.history}
    assert bench.decision is not None
    assert bench.decision.plan.state == "over"
    assert bench.decision.plan.reason == "nothing follows on search (done)"
    assert bench.commands[-1].stop
    assert bench.twist.speed_m_s() < 0.01
    bench.player._play.interrupt = lambda view: "search"  # type: ignore[union-attr, method-assign]
    bench.step()
    assert bench.decision.plan.skill == "search"
    assert bench.decision.plan.state != "over", "an interrupt begins again what had ended"


def until(bench: Bench, skill: str, state: str) -> None:
    for _ in range(3000):
        if bench.history[-1] == (skill, state):
            return
        bench.step()
    raise AssertionError(bench.history)


@pytest.mark.parametrize("held_s", [0.5, 5.0])
def test_a_dock_that_was_held_up_is_no_miss(held_s: float) -> None:
    """Five seconds of SAFE_STOP on the last straight counted as `time is up`: a miss, the ball half way to a mark."""
    bench = prepared(Bench(robot=Pose2(), ball=(1.5, 0.0), seed=1))
    until(bench, "dock", "advance")
    bench.mode = Mode.SAFE_STOP
    for _ in range(round(held_s * 100)):
        bench.step()
    bench.mode = Mode.ACTIVE
    assert bench.play() is not None
    assert not {("dock", "miss"), ("dock", "stuck")} & set(bench.history)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_robot_that_believes_itself_shut_in_looks_around_and_goes_on(seed: int) -> None:
    """Pushes of others are taken for walls, for good. It stood for ever then, with the ball behind its back."""
    bench = prepared(Bench(robot=Pose2(), ball=(-1.5, 0.4), seed=seed))
    bench.player._memory._blocked[:] = True
    assert bench.play(limit_s=30.0) is not None
