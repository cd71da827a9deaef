"""One script of bytes and sensor values, one hash of all that the firmware answers: equal on every target.

A changed hash means that the firmware behaves differently, on purpose or not. When it is on purpose, print the new one
with `python -m tests.hil.test_firmware_golden` and say in the commit why it changed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import pytest

from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from firmware_bridge.firmware.target import Firmware
from firmware_bridge.hil import open_target
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.protocol.generated import (
    SCHEMA_HASH,
    Command,
    CommandFlag,
    Estop,
    Goal,
    GoalKind,
    HealthRequest,
    Hello,
    Parameter,
    ParamSet,
    Rearm,
)
from firmware_bridge.transport.lockstep import LockstepFirmware
from tests.firmware_bench import need_gcc

GOLDEN = "72c5f03bd4fda56de5af10ce7416e41a588eb189882916f980e74a4fdb884074"
MS = 1_000_000
TICKS = 3300


def wave(angle: float) -> float:
    """A sine that no C library's last bit can change."""
    return round(math.sin(angle), 4)


def script() -> Iterator[tuple[bytes, SensorInputs]]:
    """What the host sends and what the sensors say in each millisecond: every message and every state once."""
    encoder = FrameEncoder()
    for ms in range(TICKS):
        out = b""
        if ms == 5:
            out += encoder.encode(Hello(SCHEMA_HASH, 9, 1, 0, 0, b"golden"))
            out += encoder.encode(ParamSet(Parameter.WHEEL_KP, 0.045))
        if ms == 1200:
            out += encoder.encode(Estop(3))
        if ms == 1600:
            out += encoder.encode(Rearm(1, 1 ^ 0xFFFFFFFF))
        if ms % 500 == 499:
            out += encoder.encode(HealthRequest())
        if ms % 10 == 0 and ms >= 3000:  # a goal of each kind, and a second one of the last
            kind = (GoalKind.POSE, GoalKind.ROTATE, GoalKind.ORBIT)[min((ms - 3000) // 80, 2)]
            limits = (1.5, 6.0, 3.0, 30.0, 200.0, 0.0)
            way = (0.3, -0.2, 2.0) if kind == GoalKind.ORBIT else (0.4, 0.1, -1.0)
            goal = Goal(ms // 10, int(CommandFlag.ARM), kind, ms // 250, *way, *limits, 100, 10**12 + ms * MS)
            out += encoder.encode(goal)
        elif ms % 10 == 0 and ms > 5 and not 2200 <= ms < 2500:  # the watchdog has its turn too
            flags = (
                CommandFlag.ARM | (CommandFlag.STOP if 900 < ms < 1000 else 0) | (CommandFlag.CHIP if ms > 2000 else 0)
            )
            speeds = (1.5 * wave(ms / 300), 0.8 * wave(1.5 + ms / 200), 3.0 * wave(ms / 150))
            kick = 4.0 if ms % 800 > 400 else 0.0
            out += encoder.encode(Command(ms // 10, flags, *speeds, 300.0, kick, 100, 10**12 + ms * MS))
        if ms == 2700:
            out += b"\x05noise\x00" + bytes((0x11, 0x22)) * 90
        ticks = [round(400.0 * wave(ms / 400 + i)) for i in range(4)]
        yield (
            out,
            SensorInputs(
                wheel_ticks=(ticks[0], ticks[1], ticks[2], ticks[3]),
                gyro_z_rad_s=3.0 * wave(1.5 + ms / 150),
                accel_x_m_s2=wave(ms / 30),
                accel_y_m_s2=wave(1.5 + ms / 30),
                battery_v=24.0 - ms / 1000,
                kicker_v=min(ms * 0.2, 181.0),
                dribbler_rad_s=min(ms * 0.5, 290.0),
                break_beam=ms % 300 > 150,
            ),
        )


def play(firmware: Firmware) -> tuple[str, int]:
    """Play the script; returns the hash over actuator values and all sent frames but HELLO (it names the build)."""
    digest = hashlib.sha256()
    decoder = FrameDecoder()
    frames = 0
    for data, sensors in script():
        if data:
            firmware.receive(data)
        out = firmware.step(sensors)
        digest.update(repr(out).encode())
        for message in decoder.feed(firmware.transmit()):
            frames += 1
            if not isinstance(message, Hello):
                digest.update(message.pack())
    counters = decoder.counters
    assert (counters.crc_errors, counters.cobs_errors, counters.length_errors, counters.sequence_gaps) == (0, 0, 0, 0)
    return digest.hexdigest(), frames


@pytest.mark.parametrize("name", ["library", "pty"])
def test_golden_hash(name: str) -> None:
    need_gcc()
    with open_target(name) as firmware:
        digest, frames = play(firmware)
    assert frames > TICKS // 5
    assert digest == GOLDEN, f"the firmware on '{name}' behaves differently: {digest}"


def test_lockstep_begins_afresh_each_time() -> None:
    need_gcc()
    with open_target("pty") as firmware:
        first = [firmware.step(SensorInputs(battery_v=23.0)) for _ in range(20)]
        said = firmware.transmit()
        again = LockstepFirmware(firmware._transport)  # type: ignore[attr-defined]
        assert [again.step(SensorInputs(battery_v=23.0)) for _ in range(20)] == first
        assert again.transmit() == said


if __name__ == "__main__":
    import sys

    sys.stdout.write(play(FirmwareLibrary())[0] + "\n")
