"""The command line as a stranger meets it: help, unknown verbs, errors with their mend, the doctor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robot.cli.main import main, verbs


def test_help_lists_every_verb_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in verbs():
        assert any(line.split()[:1] == [verb] and len(line.split()) > 3 for line in shown.splitlines()), verb


def test_an_unknown_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plya"]) == 2
    assert "unknown verb 'plya'" in capsys.readouterr().err


def test_errors_come_with_their_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["challenge", "--robot", "nonesuch"]) == 2
    said = capsys.readouterr().err
    assert "no such configuration file: nonesuch" in said
    assert "mend: give a path, or one of the shipped robots: default" in said


def test_the_doctor_finds_all_that_is_needed_here(tmp_path: Path) -> None:
    """In a process of its own: who imports MuJoCo first decides how it renders, and the doctor once got that wrong."""
    out = tmp_path / "findings.json"
    done = subprocess.run(
        [sys.executable, "-m", "robot", "doctor", "--json", str(out)], capture_output=True, text=True, check=False
    )
    findings = {f["name"]: f for f in json.loads(out.read_text())}
    assert done.returncode == 0, done.stdout + done.stderr
    assert findings["headless renderer"]["ok"]
    assert findings["detector"]["ok"]
