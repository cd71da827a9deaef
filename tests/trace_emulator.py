"""A pytest plugin: `-p tests.trace_emulator` writes which code the emulated chip ran to $BLACKOUT_TRACE, as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from firmware_bridge.emulation.stm32f767 import EmulatedStm32


def pytest_configure() -> None:
    EmulatedStm32.traced = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    found = {str(elf): sorted(blocks) for elf, blocks in (EmulatedStm32.traced or {}).items()}
    Path(os.environ["BLACKOUT_TRACE"]).write_text(json.dumps(found), encoding="utf-8")
