"""Stages are scored as the rules say: each point alone, each end, and nothing for a broken rule."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from robot.core.errors import SimulationError
from robot.core.geometry import Pose2
from robot.core.messages import RefereeCode
from sim.referee.base import Referee, View
from sim.referee.stage1 import GrabReferee
from sim.referee.stage3 import CoordinatesReferee
from sim.referee.stages import make_referee
from sim.scenarios.trials import make_trial
from sim.setup import RefereeTiming

STEP_S = 0.01
START_S = RefereeTiming().start_s


def play(until_s: float, at, referee: Referee | None = None) -> Referee:  # type: ignore[no-untyped-def]
    """Feed `at(seconds since FORCE_START) -> dict of View fields` every 10 ms until the trial is over."""
    referee = referee or GrabReferee(1, RefereeTiming())
    for k in range(round((START_S + until_s) / STEP_S) + 1):
        t = k * STEP_S - START_S
        given = {
            "robot": Pose2(), "speed_m_s": 0.0, "omega_rad_s": 0.0, "ball_m": (1.0, 0.0, 0.0215),
            "ball_touched": False, "bar_touched": False, "ball_at_bar": False,
        } | at(t)  # fmt: skip
        referee.step(View(t_ns=round((t + START_S) * 1e9), **given))
    return referee


def driving(t: float, until_s: float = 3.0) -> dict[str, object]:
    """Drive 0.5 m/s for a while after FORCE_START, then stand."""
    moving = 0.0 <= t < until_s
    return {"robot": Pose2(0.5 * min(max(t, 0.0), until_s)), "speed_m_s": 0.5 if moving else 0.0}


def test_all_three_points_and_the_early_end() -> None:
    referee = play(20.0, lambda t: driving(t) | dict.fromkeys(("ball_touched", "bar_touched", "ball_at_bar"), t > 2.9))
    score = referee.score(0)
    assert (score.points, score.max_points, score.success) == (3.0, 3.0, True)
    assert score.time_s == pytest.approx(13.0, abs=0.05)  # the ten still seconds count
    assert [c.code for c in referee.take_commands()] == [
        RefereeCode.HALT, RefereeCode.STOP, RefereeCode.FORCE_START, RefereeCode.HALT,
    ]  # fmt: skip
    assert score.events[-1][1] == "still for 10 s"


def test_touch_by_the_body_alone_is_one_point() -> None:
    score = play(20.0, lambda t: driving(t) | {"ball_touched": 1.0 < t < 1.1}).score(0)
    assert (score.points, score.success) == (1.0, False)


def test_dribbler_touch_without_keeping_the_ball_is_two_points() -> None:
    touch = {"ball_touched": True, "bar_touched": True, "ball_at_bar": True}
    score = play(20.0, lambda t: driving(t) | (touch if 1.0 < t < 1.5 else {})).score(0)
    assert (score.points, score.success) == (2.0, False)


def test_time_is_up_at_60_s_and_a_moving_robot_has_not_stopped_with_the_ball() -> None:
    held = {"ball_touched": True, "bar_touched": True, "ball_at_bar": True}
    moving = play(61.0, lambda t: {"robot": Pose2(0.0, 0.0, math.sin(t)), "omega_rad_s": 1.0} | held)
    assert moving.score(0).points == 2.0
    assert moving.score(0).time_s == pytest.approx(60.0, abs=0.02)
    assert moving.score(0).events[-1][1] == "time is up"
    stopped = play(61.0, lambda t: driving(t, 55.0) | held)
    assert stopped.score(0).points == 3.0
    assert stopped.score(0).time_s == pytest.approx(60.0, abs=0.02)


def test_a_robot_that_never_moved_is_not_stopped_after_10_s() -> None:
    referee = play(30.0, lambda t: {})
    assert referee.end_ns is None
    assert not referee.finished(10**12)


def test_turning_on_the_spot_is_moving_too() -> None:
    referee = play(30.0, lambda t: {"robot": Pose2(0.0, 0.0, 0.2 if t > 5.0 else 0.0)})
    assert referee.end_ns is not None
    assert referee.score(0).time_s == pytest.approx(15.0, abs=0.05)


def test_a_pause_shorter_than_10_s_does_not_end_the_trial() -> None:
    def pausing(t: float) -> dict[str, object]:
        return {"robot": Pose2(t), "speed_m_s": 0.0 if t % 10.0 < 9.5 else 0.5}

    assert play(40.0, pausing).end_ns is None


@pytest.mark.parametrize("motion", [{"speed_m_s": 0.5}, {"omega_rad_s": -2.0}])
def test_nothing_counts_before_force_start_and_moving_then_is_noted(motion: dict[str, float]) -> None:
    early = {"ball_touched": True, "bar_touched": True, **motion}
    referee = play(20.0, lambda t: early if t < 0.0 else driving(t))
    score = referee.score(0)
    assert score.points == 0.0
    assert any(name == "moved before FORCE_START" for _, name in score.events)


def test_points_do_not_change_after_the_end() -> None:
    referee = play(20.0, driving)
    assert referee.end_ns is not None
    play(5.0, lambda t: {"ball_touched": True}, referee)
    assert referee.score(0).points == 0.0
    assert referee.finished(referee.end_ns + round(0.31e9))
    assert not referee.finished(referee.end_ns + round(0.29e9))


def coordinates() -> CoordinatesReferee:
    return CoordinatesReferee(1, RefereeTiming(), (0.3, 0.1), (1.5, 0.2))


def test_stage_3_is_minus_the_distance_from_the_target() -> None:
    referee = play(20.0, driving, coordinates())  # driving ends at (1.5, 0)
    score = referee.score(0)
    assert score.points == pytest.approx(-0.2)
    assert (score.stage, score.max_points, score.success) == (3, 0.0, True)
    assert score.time_s == pytest.approx(13.0, abs=0.05)
    far = play(20.0, lambda t: driving(t, until_s=2.0), coordinates()).score(0)
    assert far.points == pytest.approx(-math.hypot(0.5, 0.2))
    assert not far.success


def test_stage_3_counts_the_distance_when_time_is_up() -> None:
    score = play(70.0, lambda t: driving(t) | {"omega_rad_s": 0.5}, coordinates()).score(0)
    assert (score.time_s, score.events[-1][1]) == (60.0, "time is up")
    assert score.points == pytest.approx(-0.2)
    assert not play(10.0, driving, coordinates()).score(0).success  # nobody has ended it


def test_stage_3_tells_seed_and_target_from_stop_on() -> None:
    halt, stop, start, end = play(20.0, driving, coordinates()).take_commands()
    for command in (stop, start):
        assert (command.stage, command.seed_in_field_m, command.target_in_field_m) == (3, (0.3, 0.1), (1.5, 0.2))
    for command in (halt, end):
        assert (command.seed_in_field_m, command.target_in_field_m) == (None, None)


def test_a_trial_gets_the_referee_of_its_stage() -> None:
    assert isinstance(make_referee(make_trial(1, 1)), GrabReferee)
    assert isinstance(make_referee(make_trial(3, 1)), CoordinatesReferee)
    with pytest.raises(SimulationError, match="needs a seed and a target"):
        make_referee(replace(make_trial(3, 1), target_in_field_m=None))
    with pytest.raises(SimulationError, match="no referee for stage 2"):
        make_referee(replace(make_trial(1, 1), stage=2))
