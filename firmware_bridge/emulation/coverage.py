"""Which source lines of an ELF have run, by the blocks that the emulator saw and the compiler's line table."""

from __future__ import annotations

import bisect
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from firmware_bridge.firmware.build import ARM_APT_LINE
from robot.core.errors import LinkError

Lines = dict[str, dict[int, list[int]]]
"""File name -> line number -> addresses of its code."""
_ROW = re.compile(r"^(\S+\.[ch])\s+(\d+)\s+0x([0-9a-f]+)")


def line_table(elf: Path) -> Lines:
    """Read the line table; code that the linker threw away (address 0) is left out.

    Raises:
        LinkError: arm-none-eabi-objdump is missing.
    """
    objdump = shutil.which("arm-none-eabi-objdump")
    if objdump is None:
        raise LinkError("arm-none-eabi-objdump is not installed", hint=ARM_APT_LINE)
    done = subprocess.run([objdump, "--dwarf=decodedline", str(elf)], capture_output=True, text=True, check=True)
    lines: Lines = defaultdict(lambda: defaultdict(list))
    for text in done.stdout.splitlines():
        row = _ROW.match(text)
        if row is not None and int(row[3], 16) >= 0x0800_0000:
            lines[Path(row[1]).name][int(row[2])].append(int(row[3], 16))
    return lines


def missed_lines(lines: Lines, blocks: Iterable[tuple[int, int]]) -> dict[str, tuple[int, list[int]]]:
    """Return for each file how many lines have code, and the numbers of those of which none has run.

    Args:
        lines: from `line_table`.
        blocks: (address, size) of all that ran.
    """
    ends: dict[int, int] = {}
    for address, size in blocks:
        ends[address] = max(ends.get(address, 0), address + size)
    starts = sorted(ends)

    def ran(address: int) -> bool:
        # Blocks may begin inside others: look at the few that begin before this address.
        at = bisect.bisect_right(starts, address)
        return any(ends[start] > address for start in starts[max(0, at - 16) : at])

    return {
        name: (len(rows), sorted(n for n, addresses in rows.items() if not any(map(ran, addresses))))
        for name, rows in sorted(lines.items())
    }
