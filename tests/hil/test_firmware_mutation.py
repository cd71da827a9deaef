"""Tests of the tests: break the firmware in one place, and the test that guards that place must fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.firmware import build, library
from tests.faults import test_link_faults as link_faults
from tests.firmware_bench import RawHost, need_gcc
from tests.hil import test_firmware_core as core
from tests.hil import test_firmware_goals as goals
from tests.hil import test_firmware_hardware as hardware

MUTATIONS: list[tuple[str, str, str, Callable[[RawHost], None]]] = [
    (
        "blk_core.c",
        "age_us >= (uint64_t)slot->now.valid_for_ms * 1000u",
        "age_us >= (uint64_t)slot->now.valid_for_ms * 1100u",
        lambda host: core.test_watchdog_brakes_at_its_time_to_the_millisecond(host, 100, 100),
    ),
    (
        "blk_core.c",
        "(slot->now.flags & BLK_COMMAND_FLAG_ARM) != 0u",
        "true",
        core.test_a_command_without_the_arm_flag_does_not_move_it,
    ),
    (
        "blk_core.c",
        "wanted && core->estop_cause == BLK_ESTOP_CAUSE_NONE",
        "wanted",
        core.test_estop_latches_until_the_right_key,
    ),
    (
        "blk_link.c",
        "rearm.boot_id_inverted == ~core->boot_id",
        "true",
        core.test_estop_latches_until_the_right_key,
    ),
    (
        "blk_link.c",
        "bool good = core->host_ok;",
        "bool good = true;",
        core.test_boots_stopped_and_obeys_nobody_before_the_handshake,
    ),
    ("blk_link.c", "hash == BLK_SCHEMA_HASH;", "true;", core.test_another_schema_is_never_obeyed),
    ("blk_link.c", "if (repeated || came_late", "if (came_late", core.test_repeated_and_old_commands_are_dropped),
    (
        "blk_link.c",
        "return delay_us - slot->fastest_us > (int64_t)lifetime_us;",
        "return false;",
        core.test_a_command_that_was_held_up_is_dropped,
    ),
    (
        "blk_link.c",
        "good && blk_finite(values[i])",
        "good",
        lambda host: core.test_numbers_that_cannot_be_meant_are_refused(host, float("nan")),
    ),
    (
        "blk_link.c",
        "core->state != BLK_STOPPED",
        "false",
        core.test_parameters_are_checked_and_never_change_while_armed,
    ),
    ("blk_kicker.c", "(armed && asked", "(asked", core.test_no_kick_and_no_charging_unarmed),
    (
        "blk_kicker.c",
        "rested && charged && k->ball",
        "charged && k->ball",
        core.test_kicks_when_the_ball_breaks_the_beam_and_rests_between,
    ),
    ("blk_kicker.c", "rested && charged", "rested", core.test_kick_needs_charge_and_is_limited),
    ("blk_kicker.c", "k->beam_s * 1000.0f >", "1000.0f * 1000.0f >", core.test_break_beam_is_debounced),
    ("blk_wheels.c", "if (!held) {", "if (true) {", hardware.test_no_windup_against_a_wall),
    ("blk_wheels.c", "    stay_near_the_wheels(w);", "", hardware.test_no_windup_against_a_wall),
    ("blk_wheels.c", "back_emf + limit", "back_emf + 9.0f", hardware.test_no_windup_against_a_wall),
    ("blk_goal.c", "accel * (distance - 0.5f * knee)", "9.0f * distance", goals.test_arrives_without_overshoot),
    ("blk_goal.c", "goal->number != g->now.number", "true", goals.test_the_same_number_goes_on_to_the_same_place),
    ("blk_link.c", "core->goal.active = false;", "", goals.test_the_latest_wins),
    (
        "blk_core.c",
        "if (go && core->goal.active) {",
        "if (core->goal.active) {",
        goals.test_the_watchdog_brakes_on_the_way_to_a_goal,
    ),
    (
        "blk_core.c",
        "core->current_high_s > CURRENT_HIGH_S",
        "false",
        hardware.test_a_short_circuit_latches_a_stop_that_does_not_even_brake,
    ),
    (
        "blk_core.c",
        "core->state = BLK_STOPPED; /* no bridge",
        "/* no bridge",
        hardware.test_a_short_circuit_latches_a_stop_that_does_not_even_brake,
    ),
    (
        "blk_core.c",
        "core->state = BLK_STOPPED; /* no bridge",
        "core->state = core->state == BLK_ARMED ? BLK_STOPPED : core->state; /* no bridge",
        hardware.test_a_short_circuit_ends_a_brake_that_is_under_way,
    ),
    (
        "blk_core.c",
        "core->current_share - dt_s",
        "core->current_share + dt_s",
        hardware.test_too_much_current_costs_torque_and_nothing_else,
    ),
    (
        "blk_link.c",
        "delay_us - slot->fastest_us > (int64_t)lifetime_us",
        "false",
        lambda _: link_faults.test_a_cable_that_becomes_slow_never_drives_the_robot(),
    ),
    (
        "blk_link.c",
        "        core->host_ok = false;\n",
        "",
        core.test_numbers_that_look_old_for_long_ask_for_a_new_handshake,
    ),
    ("blk_core.c", "core->battery_empty_s > BATTERY_EMPTY_S", "false", hardware.test_empty_battery_latches_a_stop),
    (
        "blk_core.c",
        "finite = finite && blk_finite(values[i]);",
        "",
        hardware.test_a_sensor_that_is_not_a_number_stops_it,
    ),
]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the firmware that may be broken; the library is built from it while the test runs."""
    need_gcc()
    for part in ("core", "ports"):
        shutil.copytree(build.HERE / part, tmp_path / part)
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "CORE", tmp_path / "core")
    monkeypatch.setattr(build, "PORTS", tmp_path / "ports")
    monkeypatch.setattr(build, "build_folder", lambda: tmp_path)
    # Warnings are not the point here: a mutation may leave a variable unused. Neither is speed of the result.
    monkeypatch.setattr(build, "C_FLAGS", ("-std=c11", "-O1", "-fno-math-errno", "-ffp-contract=off", "-w"))
    library.load_library.cache_clear()
    yield tmp_path / "core"
    library.load_library.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(("file", "old", "new", "guard"), MUTATIONS, ids=[f"{m[0]}:{m[1][:40]}" for m in MUTATIONS])
def test_the_guard_notices(workshop: Path, file: str, old: str, new: str, guard: Callable[[RawHost], None]) -> None:
    source = workshop / file
    text = source.read_text(encoding="utf-8")
    assert text.count(old) == 1, "the mutation no longer fits the source: adapt it"
    source.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(AssertionError):
        guard(RawHost())


def test_the_unbroken_copy_passes(workshop: Path) -> None:
    for *_, guard in MUTATIONS[:4]:
        guard(RawHost())
