"""How many lines of the firmware its tests run: the core as a library (gcov), and the STM32F767's ELF under Unicorn.

    python tools/firmware_coverage.py            # both; exit 1 when one is below 95 %
    python tools/firmware_coverage.py core

The library is also built to abort on undefined behaviour, so that its tests are a sanitizer run at the same time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from firmware_bridge.emulation.coverage import line_table, missed_lines  # noqa: E402
from firmware_bridge.firmware.build import C_FLAGS, CORE, PORTS  # noqa: E402
from firmware_bridge.firmware.library import LIBRARY_VARIABLE  # noqa: E402

WANTED = 0.95
CORE_SUITES = (
    "tests/hil/test_firmware_core.py",
    "tests/hil/test_firmware_hardware.py",
    "tests/hil/test_firmware_goals.py",
    "tests/hil/test_firmware_golden.py::test_golden_hash[library-session]",
    "tests/hil/test_firmware_golden.py::test_golden_hash[library-handshake]",
    "tests/hil/test_firmware_golden.py::test_golden_hash[library-watchdog]",
    "tests/hil/test_firmware_golden.py::test_golden_hash[library-damage]",
    "tests/hil/test_firmware_golden.py::test_golden_hash[library-hardware]",
    "tests/hil/test_firmware_golden.py::test_the_lockstep_protocol_itself_changes_nothing",
    "tests/faults/test_link_faults.py",
    "tests/unit/test_link_state_machine.py",
    "tests/unit/test_protocol_differential.py",
)
EMULATOR_SUITES = (
    "tests/hil/test_firmware_unicorn.py",
    "tests/hil/test_firmware_golden.py::test_golden_hash[unicorn-session]",
    "tests/hil/test_firmware_golden.py::test_golden_hash[unicorn-hardware]",
)

Missed = dict[str, tuple[int, list[int]]]


class ToolError(Exception):
    """A tool is missing or a test failed; the text says which."""


def pytest(suites: tuple[str, ...], *flags: str, **environment: str) -> None:
    """Run tests in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *flags, *suites]
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError(f"the tests failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def core(folder: Path) -> Missed:
    """Lines of the core that its tests leave out, by gcov."""
    library = folder / "libchecked.so"
    flags = [f for f in C_FLAGS if f not in ("-O2", "-Werror")]
    flags += ["-O1", "-fPIC", "-shared", "-DBLK_LOCKSTEP=1", "--coverage", "-fprofile-abs-path"]
    flags += ["-fsanitize=undefined,float-cast-overflow,float-divide-by-zero", "-fno-sanitize-recover=all"]
    sources = [str(p) for part in (CORE, PORTS / "host_library") for p in sorted(part.glob("*.c"))]
    run(["gcc", *flags, *sources, "-o", str(library)], folder)
    pytest(CORE_SUITES, **{LIBRARY_VARIABLE: str(library)})
    run(["gcov", *map(str, sorted(folder.glob("*.gcda")))], folder)
    missed: Missed = {}
    for report in sorted(folder.glob("*.gcov")):
        text = report.read_text(encoding="utf-8")
        source = re.search(r":\s+0:Source:(.*)", text)
        if source is not None and Path(source[1]).is_relative_to(CORE):
            rows = re.findall(r"^\s*([\d#=*]+)\*?:\s*(\d+):", text, re.MULTILINE)
            missed[report.name.removesuffix(".gcov")] = (len(rows), [int(n) for count, n in rows if count[0] in "#="])
    return missed


def unicorn(folder: Path) -> Missed:
    """Lines of port and core that the emulated chip did not run, by the blocks that it ran.

    A line counts as run when it did in one of the two builds: the match build in free run, the test build in lockstep.
    """
    trace = folder / "trace.json"
    pytest(EMULATOR_SUITES, "-p", "tests.trace_emulator", BLACKOUT_TRACE=str(trace))
    ours = {p.name for p in (*CORE.rglob("*.[ch]"), *PORTS.rglob("*.[ch]"))}  # not the compiler's own library
    both: Missed = {}
    for elf, blocks in json.loads(trace.read_text(encoding="utf-8")).items():
        for name, (count, missed) in missed_lines(line_table(Path(elf)), map(tuple, blocks)).items():
            if name not in ours:
                continue
            more = both.get(name)
            both[name] = (max(count, more[0]), sorted({*missed} & {*more[1]})) if more else (count, missed)
    if not both:
        raise ToolError("the emulator ran nothing: is arm-none-eabi-gcc here, and unicorn?")
    return both


def run(command: list[str], folder: Path) -> None:
    """Run a tool in a folder."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError(f"{command[0]} failed:\n{done.stderr[-3000:]}")


def report(title: str, missed: Missed) -> bool:
    """Print a table; true when it reaches what is wanted."""
    print(f"{title}\n{'file':24s} {'lines':>6s} {'run':>7s}  not run")
    total = sum(count for count, _ in missed.values())
    out = sum(len(lines) for _, lines in missed.values())
    for name, (count, lines) in missed.items():
        print(f"{name:24s} {count:6d} {100.0 * (count - len(lines)) / count:6.1f}%  {' '.join(map(str, lines))}")
    share = (total - out) / total
    print(f"{'all':24s} {total:6d} {100.0 * share:6.1f}%  {'ok' if share >= WANTED else 'BELOW 95 %'}\n")
    return share >= WANTED


def main(argv: list[str]) -> int:
    """Measure what is named; 1 when it is too little, 2 when it could not be measured."""
    lanes = {"core": (core, "C core as a library, gcov"), "unicorn": (unicorn, "STM32F767 ELF under Unicorn")}
    good = True
    if unknown := [name for name in argv if name not in lanes]:
        print(f"no such lane: {unknown[0]} ({' '.join(lanes)})", file=sys.stderr)
        return 2
    for name in argv or [*lanes]:
        measure, title = lanes[name]
        with tempfile.TemporaryDirectory() as folder:
            try:
                good = report(title, measure(Path(folder))) and good
            except ToolError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
