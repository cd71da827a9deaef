"""`blackout play` at its edges: what is typed, where it records, and a board that does not answer."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from robot.cli import play as verb
from robot.core.messages import RefereeCode
from robot.recording.reader import Recording
from robot.runtime import onboard
from robot.runtime.onboard import PlayOptions, PlayReport, play
from robot.runtime.robot_config import Robot
from tests.unit.test_runtime_onboard import Board, robot, video  # noqa: F401 - fixtures

# --- what is typed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"start\nhalt\n", ["start", "halt"]),
        (b"start\nhalt", ["start", "halt"]),  # the end of the input ends the line
    ],
)
def test_typed_lines_are_read_to_the_last_word(monkeypatch: pytest.MonkeyPatch, text: bytes, lines: list[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: reading))
    assert list(verb._typed()) == lines
    os.close(reading)


def test_a_terminal_that_cannot_be_read_is_the_end_of_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a terminal gives EIO, which ended the thread that listens with a traceback; a folder gives EISDIR."""
    folder = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: folder))
    assert list(verb._typed()) == []
    os.close(folder)


BACKGROUND = """
import os
from robot.cli.play import _typed
from robot.runtime.realtime import StopFlag

reader = os.fork()  # this process leads the terminal's session, and its group is the one in the foreground
if reader == 0:
    os.setpgid(0, 0)
    with StopFlag().installed():
        os._exit(0 if list(_typed()) == [] else 2)
_, status = os.waitpid(reader, os.WUNTRACED)
if os.WIFSTOPPED(status):
    os.kill(reader, 9)
os._exit(0 if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 1)
"""


def test_play_in_the_background_of_a_terminal_is_not_stopped_by_it() -> None:
    """`blackout play --start &`: the first read of the keyboard stopped the whole process, control loop and all."""
    leader, terminal = pty.fork()
    if leader == 0:
        os.execv(sys.executable, [sys.executable, "-c", BACKGROUND])
    _, status = os.waitpid(leader, 0)
    os.close(terminal)
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) == 0


# --- where it records -----------------------------------------------------------------------------------------------


def test_no_run_is_recorded_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a clock battery every start of the robot has the same date."""
    recordings = []

    def only_note(robot: Robot, options: PlayOptions, **_: object) -> PlayReport:  # noqa: F811
        assert options.recording is not None
        options.recording.parent.mkdir(parents=True)
        recordings.append(options.recording)
        return PlayReport()

    monkeypatch.setattr(verb, "play", only_note)
    monkeypatch.setattr(verb.time, "strftime", lambda _: "play-19700101-000003")
    for _ in range(3):
        assert verb.run(verb.Args(record=tmp_path)) == 0
    names = [path.parent.name for path in recordings]
    assert names == ["play-19700101-000003", "play-19700101-000003-2", "play-19700101-000003-3"]


# --- a board that does not answer -----------------------------------------------------------------------------------


class SilentBoard(Board):
    """There is a port, and nobody at its other end."""

    def read_available(self) -> bytes:
        return b""


@pytest.mark.parametrize("kind", [SilentBoard, Board])
def test_a_board_that_does_not_answer_is_told_once(
    robot: Robot,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Board],
) -> None:
    board = kind()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    monkeypatch.setattr(onboard, "_BOOT_S", 0.8)
    heard: list[str] = []
    play(robot, PlayOptions(vision="inline", start=True, seconds=1.5), said=heard.append)
    told = [line for line in heard if "blackout link monitor --port" in line]
    if kind is SilentBoard:
        assert len(told) == 1
        assert "no answer from the microcontroller" in told[0]
    else:
        assert not told
        assert "mode active" in heard


# --- who starts it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [None, "halt"])
def test_what_is_typed_before_the_robot_is_ready_outranks_the_flag(
    robot: Robot,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    typed: str | None,
) -> None:
    """With --start a halt that came while the link was still coming up was followed by the start."""
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    heard: list[str] = []
    lines = iter([typed] if typed else [])
    play(robot, PlayOptions(vision="inline", start=True, seconds=2.0), lines=lines, said=heard.append)
    assert "mode ready" in heard
    assert ("mode active" in heard) is (typed is None), heard


def test_stage_3_is_told_its_places_before_the_start(
    robot: Robot,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    board = Board()
    monkeypatch.setattr(onboard, "open_transport", board.open)
    heard: list[str] = []
    options = PlayOptions(
        vision="inline",
        stage=3,
        start=True,
        seed_in_field_m=(0.5, 1.0),
        target_in_field_m=(-2.0, 0.0),
        seconds=2.0,
        recording=tmp_path / "run.mcap",
    )
    play(robot, options, said=heard.append)
    commands = [c for tick in Recording(tmp_path / "run.mcap").ticks() for c in tick.batch.referee]
    assert [c.code for c in commands] == [RefereeCode.STOP, RefereeCode.FORCE_START]
    assert {(c.seed_in_field_m, c.target_in_field_m) for c in commands} == {((0.5, 1.0), (-2.0, 0.0))}
    assert any(line.startswith("plan find_place: turn") for line in heard), heard
