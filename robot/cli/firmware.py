"""Build the microcontroller's firmware.

Example: blackout firmware build
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from firmware_bridge.firmware.build import build_host_pty, build_library, revision
from firmware_bridge.protocol.generated import SCHEMA_HASH


@dataclass(frozen=True)
class Args:
    """Flags of `blackout firmware`."""

    action: Annotated[Literal["build"], tyro.conf.Positional]
    """build: compile the core as a library and as a process on a pseudo-terminal, for this computer."""


def run(args: Args) -> int:
    """Do it; returns the exit code."""
    print(f"core {revision()}, schema 0x{SCHEMA_HASH:08X}")
    print(f"library  {build_library()}")
    print(f"process  {build_host_pty()}")
    return 0
