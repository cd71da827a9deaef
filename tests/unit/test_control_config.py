from __future__ import annotations

import pytest

import control.player  # noqa: F401 - registers plays and skills
from control.config import ApproachConfig, ControlConfig, MotionLimits, SearchConfig
from control.plays.play import PLAYS
from control.registry import Registry
from control.skills.skill import SKILLS, Status
from robot.core.config import from_dict, to_dict
from robot.core.errors import ConfigError


def test_defaults_survive_a_round_trip():
    config = ControlConfig()
    assert from_dict(ControlConfig, to_dict(config), where="test") == config


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"motion": {"max_speed_m_s": -1.0}}, "max_speed_m_s"),
        ({"motion": {"max_jerk_m_s3": float("nan")}}, "max_jerk_m_s3"),
        ({"motion": {"profile_share": 1.5}}, "share"),
        ({"motion": {"max_speed": 1.0}}, "max_speed_m_s"),
        ({"search": {"look_s": []}}, "look_s"),
        ({"search": {"look_ranges_m": [3.0, 0.0]}}, "look_ranges_m"),
        ({"search": {"hop_min_m": 9.0}}, "hop_max_m"),
        ({"approach": {"pre_dock_m": 0.2}}, "pre_dock_m"),
        ({"dock": {"speed_m_s": 0.0}}, "speed_m_s"),
        ({"dock": {"speed_m_s": 600.0}}, "speed_m_s should be at most 10, .*SI units"),  # mm/s
        ({"approach": {"pre_dock_m": 450.0}}, "pre_dock_m should be at most 20"),  # mm
        ({"approach": {"turn_first_rad": 30.0}}, "turn_first_rad should be at most 6.283"),  # degrees
        ({"dock": {"timeout_s": 4000.0}}, "timeout_s should be at most 600"),  # ms
        ({"search": {"look_ranges_m": [5.0, 3000.0]}}, "look_ranges_m should be at most 20"),
    ],
)
def test_bad_values_are_refused_by_name(table, words):
    with pytest.raises(ConfigError, match=words):
        from_dict(ControlConfig, table, where="test")


def test_zero_is_allowed_where_it_means_off():
    assert MotionLimits(wall_margin_m=0.0).wall_margin_m == 0.0
    assert ApproachConfig(retry_offset_rad=0.0).retry_offset_rad == 0.0
    with pytest.raises(ValueError, match="hint_look_s"):
        SearchConfig(hint_look_s=0.0)


def test_all_files_are_registered_under_their_own_names():
    assert {"search", "approach", "dock", "hold", "back_off", "go_to"} <= set(SKILLS.names())
    assert "stage1" in PLAYS
    for name in SKILLS.names():
        assert SKILLS.create(name).name == name


def test_every_transition_of_stage_1_names_a_skill_and_every_failure_has_a_successor():
    table = type(PLAYS.create("stage1")).table  # type: ignore[attr-defined]
    for (skill, status), following in table.items():
        assert skill in SKILLS
        assert following in SKILLS
        assert status is not Status.RUNNING
    for skill in ("approach", "dock", "hold", "back_off"):
        assert (skill, Status.FAILED) in table


def test_a_name_is_taken_once_and_unknown_names_list_the_known():
    registry: Registry[object] = Registry("thing")
    registry.register("a")(object)
    with pytest.raises(ValueError, match="two things"):
        registry.register("a")(object)
    with pytest.raises(KeyError, match="there are: a"):
        registry.create("b")
