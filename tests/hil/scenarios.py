"""Scripts for the firmware, one a scenario: what the host sends and what the sensors say in each millisecond.

They are open loop and free of any library's last bit, so that every target must answer with the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from firmware_bridge.firmware.library import SensorInputs
from firmware_bridge.link.framing import FrameEncoder
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
    ParamGet,
    ParamSet,
    Rearm,
)
from firmware_bridge.transport.faulty import FaultRates, FaultyStream

MS = 1_000_000
Script = Iterator[tuple[bytes, SensorInputs]]
ARM, STOP, CHIP = int(CommandFlag.ARM), int(CommandFlag.STOP), int(CommandFlag.CHIP)


def wave(angle: float) -> float:
    """A sine that no C library's last bit can change."""
    return round(math.sin(angle), 4)


class Voice:
    """Says what a host says, with its own numbering."""

    def __init__(self) -> None:
        self._encode = FrameEncoder().encode
        self.say = self._encode

    def hello(self, schema_hash: int = SCHEMA_HASH) -> bytes:
        """The handshake."""
        return self._encode(Hello(schema_hash, 9, 1, 0, 0, b"golden"))

    def twist(self, ms: int, vx: float = 0.0, vy: float = 0.0, omega: float = 0.0, **more: float) -> bytes:
        """A COMMAND of this millisecond."""
        values = {"flags": ARM, "dribbler_rad_s": 0.0, "kick_speed_m_s": 0.0, "valid_for_ms": 100, **more}
        command = Command(ms // 10, vx_m_s=vx, vy_m_s=vy, omega_rad_s=omega, host_stamp_ns=10**12 + ms * MS, **values)  # type: ignore[arg-type]
        return self._encode(command)

    def goal(self, ms: int, kind: GoalKind, number: int, way: tuple[float, float, float], flags: int = ARM) -> bytes:
        """A GOAL of this millisecond."""
        limits = (1.5, 6.0, 3.0, 30.0, 200.0, 0.0)
        return self._encode(Goal(ms // 10, flags, kind, number, *way, *limits, 100, 10**12 + ms * MS))


def moving(ms: int, **more: object) -> SensorInputs:
    """A robot on the move, its battery, kicker and dribbler alive."""
    ticks = [round(400.0 * wave(ms / 400 + i)) for i in range(4)]
    values: dict[str, object] = {
        "wheel_ticks": (ticks[0], ticks[1], ticks[2], ticks[3]),
        "gyro_z_rad_s": 3.0 * wave(1.5 + ms / 150),
        "accel_x_m_s2": wave(ms / 30),
        "accel_y_m_s2": wave(1.5 + ms / 30),
        "battery_v": 24.0 - ms / 1000,
        "current_a": 8.0 + 6.0 * wave(ms / 90),
        "kicker_v": min(ms * 0.2, 181.0),
        "dribbler_rad_s": min(ms * 0.5, 290.0),
        "break_beam": ms % 300 > 150,
        **more,
    }
    return SensorInputs(**values)  # type: ignore[arg-type]


def session() -> Script:
    """A life: handshake, driving, kicks, stop, latched stop and release, noise on the wire, a goal of each kind."""
    voice = Voice()
    for ms in range(3300):
        out = b""
        if ms == 5:
            out += voice.hello() + voice.say(ParamSet(Parameter.WHEEL_KP, 0.045))
        if ms == 1200:
            out += voice.say(Estop(3))
        if ms == 1600:
            out += voice.say(Rearm(1, 1 ^ 0xFFFFFFFF))
        if ms % 500 == 499:
            out += voice.say(HealthRequest())
        if ms % 10 == 0 and ms >= 3000:  # a goal of each kind, and a second one of the last
            kind = (GoalKind.POSE, GoalKind.ROTATE, GoalKind.ORBIT)[min((ms - 3000) // 80, 2)]
            out += voice.goal(ms, kind, ms // 250, (0.3, -0.2, 2.0) if kind == GoalKind.ORBIT else (0.4, 0.1, -1.0))
        elif ms % 10 == 0 and ms > 5 and not 2200 <= ms < 2500:  # the watchdog has its turn too
            flags = ARM | (STOP if 900 < ms < 1000 else 0) | (CHIP if ms > 2000 else 0)
            speeds = (1.5 * wave(ms / 300), 0.8 * wave(1.5 + ms / 200), 3.0 * wave(ms / 150))
            kick = 4.0 if ms % 800 > 400 else 0.0
            out += voice.twist(ms, *speeds, flags=flags, dribbler_rad_s=300.0, kick_speed_m_s=kick)
        if ms == 2700:
            out += b"\x05noise\x00" + bytes((0x11, 0x22)) * 90
        yield out, moving(ms)


def handshake() -> Script:
    """Commands to deaf ears, a host of another version, then the right one; all parameters read, some set."""
    voice = Voice()
    for ms in range(500):
        out = b""
        if ms == 100:
            out += voice.hello(SCHEMA_HASH ^ 1)
        if ms == 200:
            out += voice.hello()
        if ms in (20, 150):
            out += voice.say(HealthRequest())
        if 250 <= ms < 250 + len(Parameter):
            out += voice.say(ParamGet(ms - 250)) + voice.say(ParamSet(ms - 250, 0.5))
        if ms == 300:
            out += voice.say(ParamGet(999)) + voice.say(ParamSet(Parameter.WATCHDOG_MS, 1000.0))
        if ms % 10 == 0 and (ms < 200 or ms > 400):
            out += voice.twist(ms, 1.0)
        yield out, moving(ms)


def watchdog() -> Script:
    """Commands that end: for good, for a moment, and by their own short life; a late one and a repeated one."""
    voice = Voice()
    for ms in range(1200):
        out = voice.hello() if ms == 2 else b""
        if ms % 10 == 0 and ms > 5 and not (300 <= ms < 480 or 600 <= ms < 660 or 800 <= ms < 1000):
            out += voice.twist(ms, 1.5 * wave(ms / 200), valid_for_ms=40 if ms > 500 else 100)
        if ms == 700:
            out += voice.twist(500, 3.0)
        if ms % 100 == 99:
            out += voice.say(HealthRequest())
        yield out, moving(ms)


def damage() -> Script:
    """Driving over a bad cable: flipped, lost and doubled bytes, blackouts; what the device counted at the end."""
    voice = Voice()
    cable = FaultyStream(
        FaultRates(flip=3e-3, drop=3e-3, duplicate=3e-3, blackout=5e-4, blackout_bytes=60), np.random.default_rng(17)
    )
    for ms in range(1500):
        out = b""
        if ms % 100 == 3:
            out += voice.hello()
        if ms % 4 == 0:
            out += voice.twist(10 * ms // 4, wave(ms / 100), wave(ms / 70)) + voice.say(ParamGet(ms % 50))
        yield cable(out) if ms < 1400 else b"\0" * (ms == 1400) + out, moving(ms)
    yield b"\0" + voice.say(HealthRequest()), moving(1500)


def hardware() -> Script:
    """What breaks around the chip: a jump of an encoder, values that are none, too much current, an empty battery."""
    voice = Voice()
    for ms in range(3000):
        out = voice.hello() if ms == 2 else b""
        if ms in (600, 900, 1300):
            out += voice.say(Rearm(1, 1 ^ 0xFFFFFFFF))
        if ms % 10 == 0 and ms > 5:
            out += voice.twist(ms, wave(ms / 100), 0.0, 2.0)
        if ms % 250 == 249:
            out += voice.say(HealthRequest())
        more: dict[str, object] = {"battery_v": 24.0 if ms < 1500 else 17.0}
        if ms == 200:
            more["wheel_ticks"] = (5000, 0, 0, 0)
        if ms == 400:
            more["accel_y_m_s2"] = math.inf
        if 700 <= ms < 720 or 1000 <= ms < 1100:
            more["current_a"] = 40.0 if ms < 1000 else 60.0
        yield out, moving(ms, **more)


SCENARIOS: dict[str, Callable[[], Script]] = {f.__name__: f for f in (session, handshake, watchdog, damage, hardware)}
