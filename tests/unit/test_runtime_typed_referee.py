"""What is typed at a terminal becomes commands, with what stage 3 lets the team type in."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from robot.core.clock import MonotonicClock
from robot.core.messages import RefereeCode
from robot.runtime.typed_referee import Commands
from tests.helpers import eventually


def test_typed_words_become_commands() -> None:
    commands = Commands(MonotonicClock(), stage=2)

    def typed() -> Iterator[str]:
        yield from ("start\n", "nonsense\n", " HALT \n")

    commands.listen(typed())
    assert eventually(lambda: len(commands._waiting) == 2, 2.0)
    taken = commands.take()
    assert [(c.code, c.seq, c.stage) for c in taken] == [(RefereeCode.FORCE_START, 0, 2), (RefereeCode.HALT, 1, 2)]
    assert commands.take() == ()


@pytest.mark.parametrize("moving", [False, True])
def test_a_mistyped_word_is_told_and_halts_a_robot_that_moves(moving: bool) -> None:
    commands, heard = Commands(MonotonicClock(), stage=1), list[str]()
    ended = threading.Event()

    def typed() -> Iterator[str]:
        yield from ("strat\n", "\n", "  \n", "Hlat\n")
        ended.set()

    commands.listen(typed(), said=heard.append, moving=lambda: moving)
    assert ended.wait(5.0)
    assert heard == [f"unknown word {word!r}: start, stop or halt" for word in ("strat", "hlat")]
    assert [c.code for c in commands.take()] == ([RefereeCode.HALT] * 2 if moving else [])


def test_the_places_of_stage_3_are_told_with_stop_and_start_and_not_with_halt() -> None:
    commands = Commands(MonotonicClock(), 3, (0.5, 1.0), (-2.0, 0.0))
    for code in (RefereeCode.STOP, RefereeCode.FORCE_START, RefereeCode.HALT):
        commands.say(code)
    told = [(c.stage, c.seed_in_field_m, c.target_in_field_m) for c in commands.take()]
    assert told == [(3, (0.5, 1.0), (-2.0, 0.0))] * 2 + [(3, None, None)]
