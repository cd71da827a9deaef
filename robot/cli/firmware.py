"""Build the microcontroller's firmware, and flash it.

Example: blackout firmware build
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from firmware_bridge.firmware.build import (
    ARM_APT_LINE,
    build_host_pty,
    build_library,
    build_mps2_an500,
    build_stm32f767,
    revision,
)
from firmware_bridge.firmware.flash import flash
from firmware_bridge.protocol.generated import SCHEMA_HASH


@dataclass(frozen=True)
class Args:
    """Flags of `blackout firmware`."""

    action: Annotated[Literal["build", "flash"], tyro.conf.Positional]
    """build: compile all targets whose compiler is here. flash: write the match build to an STM32F767 by its probe;
    without a probe, say what to type."""
    test_build: bool = False
    """flash: the build that obeys TICK, for `blackout hil --target PORT` and `pytest tests/hil --port PORT`. Never for
    a match."""


def run(args: Args) -> int:
    """Do it; returns the exit code."""
    print(f"core {revision()}, schema 0x{SCHEMA_HASH:08X}")
    if args.action == "flash":
        print(flash(build_stm32f767(lockstep=args.test_build)))
        return 0
    print(f"library         {build_library()}")
    print(f"process         {build_host_pty()}")
    if shutil.which("arm-none-eabi-gcc") is None:
        print(f"stm32f767       not built, its compiler is missing: {ARM_APT_LINE}")
        return 0
    for name, elf in (
        ("stm32f767", build_stm32f767()),
        ("stm32f767 test", build_stm32f767(lockstep=True)),
        ("mps2_an500 test", build_mps2_an500()),
    ):
        print(f"{name:15s} {elf}  {_sizes(elf)}")
    return 0


def _sizes(elf: Path) -> str:
    """Flash and RAM that it takes: what binutils' size calls text + data and data + bss."""
    size = shutil.which("arm-none-eabi-size")
    if size is None:
        return ""
    done = subprocess.run([size, str(elf)], capture_output=True, text=True, check=True)
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    return f"({(text + data) / 1024:.1f} kB flash, {(data + bss) / 1024:.1f} kB RAM)"
