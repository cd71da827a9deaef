"""How the lines that an emulated chip ran are counted."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from firmware_bridge.emulation.coverage import line_table, missed_lines
from firmware_bridge.firmware.build import build_stm32f767
from tests.firmware_bench import need_target
from tests.helpers import PROJECT

LINES = {"a.c": {10: [0x0800_0000, 0x0800_0020], 11: [0x0800_0004], 12: [0x0800_0008]}, "b.h": {3: [0x0800_0100]}}


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("firmware_coverage", PROJECT / "tools" / "firmware_coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def test_a_line_has_run_when_any_of_its_code_has() -> None:
    blocks = [(0x0800_0020, 4), (0x0800_0000, 2), (0x0800_0002, 4)]  # the last one ends inside line 11
    assert missed_lines(LINES, blocks) == {"a.c": (3, [12]), "b.h": (1, [3])}
    assert missed_lines(LINES, []) == {"a.c": (3, [10, 11, 12]), "b.h": (1, [3])}


def test_blocks_that_begin_inside_longer_ones_hide_nothing() -> None:
    blocks = [(0x0800_0000, 0x200), (0x0800_0004, 2), (0x0800_0006, 2)]
    assert missed_lines(LINES, blocks) == {"a.c": (3, []), "b.h": (1, [])}


def test_too_little_is_said_and_fails(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.report("all", {"a.c": (100, [1, 2, 3, 4, 5])})
    assert "95.0%  ok" in capsys.readouterr().out
    assert not tool.report("all", {"a.c": (100, [1, 2, 3, 4, 5, 6]), "b.c": (10, [])})
    out = capsys.readouterr().out
    assert "94.5%  BELOW 95 %" in out
    assert "1 2 3 4 5 6" in out


def test_an_unknown_lane_is_refused(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["cores"]) == 2
    assert "no such lane: cores (core unicorn)" in capsys.readouterr().err


def test_the_line_table_knows_core_and_port() -> None:
    need_target("unicorn")
    lines = line_table(build_stm32f767())
    assert {"blk_core.c", "blk_link.c", "chip.c", "main.c", "startup.c"} <= set(lines)
    assert len(lines["chip.c"]) > 50
