"""What tools say about the C code without a robot: analyzer, MISRA with written deviations, sanitizer, coverage."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.firmware.build import C_FLAGS, CORE, HERE, PORTS
from firmware_bridge.firmware.library import LIBRARY_VARIABLE
from tests.firmware_bench import need_gcc
from tests.helpers import PROJECT

STRICTER = ("-Wcast-qual", "-Wcast-align=strict", "-Wstrict-prototypes", "-Wundef", "-Wswitch-enum", "-fanalyzer")
COVERAGE_WANTED = 0.95


def sources(*folders: Path) -> list[str]:
    return [str(p) for folder in folders for p in sorted(folder.glob("*.c"))]


def test_gcc_finds_nothing_with_its_analyzer(tmp_path: Path) -> None:
    need_gcc()
    files = sources(CORE, PORTS / "host_library", PORTS / "host_pty")
    flags = [*C_FLAGS, *STRICTER, "-DBLK_LOCKSTEP=1", "-D_GNU_SOURCE", "-c"]
    done = subprocess.run(["gcc", *flags, *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def misra_rules(folder: Path) -> set[str]:
    if shutil.which("cppcheck") is None:
        pytest.skip("cppcheck is not installed: sudo apt-get install --no-install-recommends cppcheck")
    command = ["cppcheck", "--enable=warning,style,performance,portability", "--inconclusive", "--std=c11"]
    command += [
        "--platform=unix32",
        "--suppress=missingIncludeSystem",
        "--addon=misra",
        "-q",
        "--template={file}:{line} {id}",
    ]
    done = subprocess.run([*command, *sources(folder)], capture_output=True, text=True, check=False, timeout=250)
    return {line.rsplit(" ", 1)[1].removeprefix("misra-c2012-") for line in done.stderr.splitlines() if " " in line}


def deviations() -> set[str]:
    rows = re.findall(r"^\| ([\d., ]+) \|", (HERE / "misra.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {rule.strip() for row in rows for rule in row.split(",")}


@pytest.mark.slow
def test_cppcheck_reports_written_deviations_only() -> None:
    found = misra_rules(CORE)
    assert found <= deviations(), f"not in misra.md: {sorted(found - deviations())}"


@pytest.mark.slow
def test_the_misra_check_can_fail(tmp_path: Path) -> None:
    shutil.copytree(CORE, tmp_path / "core")
    with (tmp_path / "core" / "blk_kicker.c").open("a", encoding="utf-8") as stream:
        stream.write(
            "\nint blk_bad(int a);\nint blk_bad(int a)\n{\n    if (a) goto out;\n    a = 010;\nout:\n    return a;\n}\n"
        )
    assert misra_rules(tmp_path / "core") - deviations()


@pytest.mark.slow
def test_no_undefined_behaviour_and_95_percent_of_the_lines(tmp_path: Path) -> None:
    """All tests of the core once more, against a build that aborts on undefined behaviour and counts its lines."""
    need_gcc()
    library = tmp_path / "libchecked.so"
    flags = [f for f in C_FLAGS if f not in ("-O2", "-Werror")]
    flags += ["-O1", "-fPIC", "-shared", "-DBLK_LOCKSTEP=1", "--coverage", "-fprofile-abs-path"]
    flags += ["-fsanitize=undefined,float-cast-overflow,float-divide-by-zero", "-fno-sanitize-recover=all"]
    command = ["gcc", *flags, *sources(CORE, PORTS / "host_library"), "-o", str(library)]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if built.returncode != 0 and "ubsan" in built.stderr:
        pytest.skip("libubsan is not installed: sudo apt-get install libgcc-12-dev")
    assert built.returncode == 0, built.stderr
    suites = [
        "tests/hil/test_firmware_core.py",
        "tests/hil/test_firmware_goals.py",
        "tests/unit/test_protocol_differential.py",
        "tests/faults/test_link_faults.py",
    ]
    suites += ["tests/unit/test_link_state_machine.py", "tests/hil/test_firmware_golden.py::test_golden_hash[library]"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suites],
        cwd=PROJECT,
        env={**os.environ, LIBRARY_VARIABLE: str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = subprocess.run(
        ["gcov", "-n", *map(str, tmp_path.glob("*.gcda"))], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = covered = 0.0
    for file, percent, count in re.findall(r"File '([^']*)'\nLines executed:([\d.]+)% of (\d+)", report.stdout):
        if Path(file).is_relative_to(CORE):
            lines += int(count)
            covered += int(count) * float(percent) / 100.0
    assert lines > 300
    assert covered / lines >= COVERAGE_WANTED, report.stdout
