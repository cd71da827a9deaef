"""The lanes of tools/check-firmware.sh, for real; and that each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.firmware.build import HERE
from tests.helpers import PROJECT

SCRIPT = Path("tools") / "check-firmware.sh"
LANES = ("gcc", "tidy", "cppcheck", "fuzz", "proof", "coverage")


def check(lane: str, root: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one lane; skip where its tool is missing."""
    done = subprocess.run(
        [str(root / SCRIPT), "--out", str(out), lane],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if f"{lane}: skipped" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
    return done


@pytest.mark.slow
@pytest.mark.parametrize("lane", LANES)
def test_nothing_outside_the_deviation_list(lane: str, tmp_path: Path) -> None:
    """The whole lane: 30 s of fuzzing, the proof of all three parts, 95 % of the lines of core and F767 port."""
    done = check(lane, PROJECT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / f"{lane}.txt").read_text("utf-8")[-3000:]
    assert f"{lane}: ok" in done.stdout
    assert (tmp_path / f"{lane}.txt").exists(), "a report is written in any case"
    assert done.stdout.splitlines()[-1].startswith("check-firmware: ok, 0 skipped")


NULL_POINTER = "int *p = 0; if (a > 3) { return *p; } return a;"
WRONG_MEMSET = "char b[8]; memset(b, sizeof b, 0); return b[a & 7];"
GOTO = "if (a) goto out; a = 010; out: return a;"


@pytest.mark.slow
@pytest.mark.parametrize(("lane", "body"), [("gcc", NULL_POINTER), ("tidy", WRONG_MEMSET), ("cppcheck", GOTO)])
def test_the_lane_finds_a_bad_function(lane: str, body: str, tmp_path: Path) -> None:
    source = workshop(tmp_path) / "blk_kicker.c"
    with source.open("a", encoding="utf-8") as stream:
        stream.write(f"\nint blk_bad(int a);\nint blk_bad(int a)\n{{\n    {body}\n}}\n")
    done = check(lane, tmp_path, tmp_path / "out")
    assert done.returncode == 1, done.stdout
    assert f"{lane}: FAILED" in done.stdout


BUFFER = ("blk_framing.c", "if (decoder->used < sizeof decoder->buffer) {", "if (decoder->used < 300u) {")
TABLE = ("blk_link.c", "if (request.id >= BLK_PARAM_COUNT) {", "if (request.id > BLK_PARAM_COUNT) {")
MATRIX = ("blk_wheels.c", "c = (k + 1) % 3", "c = k + 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lane", "module", "mutation"),
    [("fuzz", "", BUFFER), ("proof", "framing", BUFFER), ("proof", "link", TABLE), ("proof", "params", MATRIX)],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_lane_finds_a_missing_bound(lane: str, module: str, mutation: tuple[str, str, str], tmp_path: Path) -> None:
    file, old, new = mutation
    source = workshop(tmp_path) / file
    text = source.read_text(encoding="utf-8")
    assert text.count(old) == 1
    source.write_text(text.replace(old, new), encoding="utf-8")
    if module == "framing":  # it has no accepted alarms, and an empty list must not accept them all
        (source.parent.parent / "deviations.md").write_text("", encoding="utf-8")
    done = check(lane, tmp_path, tmp_path / "out", PROOF_MODULES=module)
    assert done.returncode == 1, done.stdout


def workshop(folder: Path) -> Path:
    """A copy of the firmware and its checks that may be broken; returns the folder of its core."""
    copy = folder / "firmware_bridge" / "firmware"
    for part in ("core", "checks", "ports"):
        shutil.copytree(HERE / part, copy / part)
    for name in ("deviations.md", "misra.md"):
        shutil.copy(HERE / name, copy)
    (folder / "tools").mkdir()
    shutil.copy(PROJECT / SCRIPT, folder / SCRIPT)
    return copy / "core"


def test_an_unknown_lane_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(PROJECT / SCRIPT), "--out", str(tmp_path), "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such lane" in done.stderr


def test_a_lane_without_its_tool_says_what_to_install(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("bash", "mkdir", "dirname", "sed", "tee", "cat"):
        (bare / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        [str(bare / "bash"), str(PROJECT / SCRIPT), "--out", str(tmp_path / "out"), "fuzz", "proof"],
        env={"PATH": str(bare)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "apt-get install --no-install-recommends frama-c-base" in done.stdout
    assert "check-firmware: ok, 2 skipped" in done.stdout
