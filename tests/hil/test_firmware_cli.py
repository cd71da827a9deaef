"""The verbs around the firmware: what they print, and how they end."""

from __future__ import annotations

import pytest

from robot.cli.main import main
from tests.firmware_bench import need_gcc


def test_monitor_shows_both_ends_and_never_arms(capsys: pytest.CaptureFixture[str]) -> None:
    need_gcc()
    assert main(["link", "monitor", "--port", "pty", "--seconds", "1"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("ready")
    assert "bad 0" in line


def test_a_missing_port_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "monitor", "--port", "/dev/not-there", "--seconds", "1"]) == 1
    assert "mend:" in capsys.readouterr().err


def test_build_names_what_it_built(capsys: pytest.CaptureFixture[str]) -> None:
    need_gcc()
    assert main(["firmware", "build"]) == 0
    out = capsys.readouterr().out
    assert "libblackout_firmware" in out
    assert "stm32f767" in out


def test_flash_without_a_probe_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pathlib import Path

    monkeypatch.setattr("robot.cli.firmware.build_stm32f767", lambda lockstep: Path("blackout.elf"))
    monkeypatch.setattr("firmware_bridge.firmware.flash.shutil.which", lambda _: None)
    assert main(["firmware", "flash"]) == 1
    assert "st-flash --connect-under-reset --reset write blackout.bin 0x08000000" in capsys.readouterr().err
