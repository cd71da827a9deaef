"""The command watchdog on every target, a motor bench in the loop: the wheels brake 100 ms after the last command.

In virtual time, which is the sum of the control cycles, so that a busy machine changes nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.firmware.target import Firmware
from firmware_bridge.hil import open_target
from firmware_bridge.protocol.generated import FaultBit, Parameter, StateFlag, Telemetry
from tests.firmware_bench import MS, STAND_STILL, TARGETS, MotorBench, RawHost, need_target

LIMIT_MS, CYCLES_MS = 100, 2
DRIVES_FORWARD = 2  # a wheel whose duty is positive when the robot drives forward


def brakes_in_time(firmware: Firmware) -> None:
    """Drive, fall silent, and look at what the wheels' duty does in each millisecond."""
    host = RawHost(firmware, MotorBench())
    host.shake_hands()
    host.set(Parameter.TELEMETRY_PERIOD_MS, 1.0)
    host.drive(300, 1.5)
    assert host.bench.twist[0] == pytest.approx(1.5, abs=0.06)
    last = host.command(1.5)  # taken at the beginning of the next cycle
    quiet_since = len(host.outputs)
    host.run(600)
    duty = np.array([o.wheel_duty for o in host.outputs[quiet_since:]])[:, DRIVES_FORWARD]
    drives = duty[: LIMIT_MS - 1]
    assert drives.min() > 0.0, "until then it drives on"
    brakes = int(np.argmax(duty < drives.min() - 0.05))
    assert LIMIT_MS - 1 <= brakes <= LIMIT_MS + CYCLES_MS, f"braked after {brakes} ms"
    assert abs(host.bench.twist[0]) < 0.02, "and it comes to a stand"
    assert host.outputs[-1].wheel_duty == STAND_STILL
    # The device says the same of itself, in its own time.
    told = [m for m in host.messages if isinstance(m, Telemetry) and m.host_stamp_ns == last.host_stamp_ns]
    armed_us = max(m.hold_us for m in told if m.flags & StateFlag.ARMED)
    assert LIMIT_MS * 1000 - 2000 <= armed_us < LIMIT_MS * 1000 + CYCLES_MS * 1000
    first = next(m for m in told if m.flags & StateFlag.BRAKING)
    assert first.hold_us <= (LIMIT_MS + CYCLES_MS) * 1000
    assert first.faults & FaultBit.COMMAND_TIMEOUT
    assert host.health().watchdog_trips == 1
    assert last.host_stamp_ns == 10**12 + 300 * MS


@pytest.mark.parametrize("target", TARGETS)
def test_the_wheels_brake_100_ms_after_the_last_command(target: str) -> None:
    need_target(target)
    with open_target(target) as firmware:
        brakes_in_time(firmware)
