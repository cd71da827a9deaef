"""QEMU's Cortex-M7 board in free run (in lockstep it plays the golden scenarios and the watchdog with the others)."""

from __future__ import annotations

import os
import time

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.emulation.qemu import QemuMps2
from firmware_bridge.firmware.build import build_mps2_an500
from firmware_bridge.link.link import Link, LinkState
from robot.core.errors import LinkError
from tests.firmware_bench import need_target

SILENT_S = 20.0


def test_free_run_shakes_hands_and_loses_nothing_and_leaves_no_process() -> None:
    """No rates here: QEMU's clock runs as the host lets it."""
    need_target("qemu")
    transport = QemuMps2(build_mps2_an500(lockstep=False))
    link, frames = Link(LinkConfig(lost_after_ms=5000)), 0
    start = time.monotonic()
    while frames < 20 and time.monotonic() - start < SILENT_S:
        transport.write(link.on_tick(time.monotonic_ns(), None))
        time.sleep(0.01)
        frames += len(link.on_bytes(transport.read_available(), time.monotonic_ns()))
    health = link.health(time.monotonic_ns())
    pid = transport.pid
    transport.close()
    assert frames >= 20
    assert link.state is LinkState.READY
    assert (health.crc_errors, health.cobs_errors, health.length_errors, health.sequence_gaps) == (0, 0, 0, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(LinkError, match="closed"):
        transport.read_available()


def test_a_missing_qemu_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("firmware_bridge.emulation.qemu.shutil.which", lambda _: None)
    with pytest.raises(LinkError, match="not installed") as caught:
        QemuMps2(tmp_path)  # type: ignore[arg-type]
    assert "qemu-system-arm" in caught.value.hint
