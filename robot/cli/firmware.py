"""Build the microcontroller's firmware, and flash it.

Example: blackout firmware build
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
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


def run(args: Args) -> int:
    """Do it; returns the exit code."""
    print(f"core {revision()}, schema 0x{SCHEMA_HASH:08X}")
    if args.action == "flash":
        print(flash(build_stm32f767()))
        return 0
    print(f"library    {build_library()}")
    print(f"process    {build_host_pty()}")
    if shutil.which("arm-none-eabi-gcc") is None:
        print(f"stm32f767  not built, its compiler is missing: {ARM_APT_LINE}")
        return 0
    print(f"stm32f767  {build_stm32f767()}")
    print(f"mps2_an500 {build_mps2_an500()}")
    return 0
