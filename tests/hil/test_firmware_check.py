"""The lanes of tools/check-firmware.sh: clang-tidy, libFuzzer, Frama-C; and that each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_bridge.firmware.build import HERE
from tests.helpers import PROJECT

SCRIPT = Path("tools") / "check-firmware.sh"


def check(lane: str, root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run one lane, short; skip where its tool is missing."""
    done = subprocess.run(
        [str(root / SCRIPT), "--out", str(out), lane],
        env={**os.environ, "FUZZ_SECONDS": os.environ.get("FUZZ_SECONDS", "5"), "PROOF_MODULES": "framing"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.strip())
    return done


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["tidy", "fuzz", "proof"])
def test_nothing_outside_the_deviation_list(lane: str, tmp_path: Path) -> None:
    done = check(lane, PROJECT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / f"{lane}.txt").stat().st_size > 0 or lane == "tidy"


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["fuzz", "proof"])
def test_the_lane_finds_a_missing_bound(lane: str, tmp_path: Path) -> None:
    for part in ("core", "checks"):
        shutil.copytree(HERE / part, tmp_path / "firmware_bridge" / "firmware" / part)
    shutil.copy(HERE / "deviations.md", tmp_path / "firmware_bridge" / "firmware")
    (tmp_path / "tools").mkdir()
    shutil.copy(PROJECT / SCRIPT, tmp_path / SCRIPT)
    source = tmp_path / "firmware_bridge" / "firmware" / "core" / "blk_framing.c"
    text = source.read_text(encoding="utf-8")
    guard = "if (decoder->used < sizeof decoder->buffer) {"
    assert text.count(guard) == 1
    source.write_text(text.replace(guard, "if (decoder->used < 300u) {"), encoding="utf-8")
    assert check(lane, tmp_path, tmp_path / "out").returncode == 1


def test_an_unknown_lane_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(PROJECT / SCRIPT), "--out", str(tmp_path), "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such lane" in done.stderr
