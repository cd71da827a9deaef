"""One hash of all that the firmware answers to a scenario: equal on every target.

A changed hash means that the firmware behaves differently, on purpose or not. When it is on purpose, print the new ones
with `python -m tests.hil.test_firmware_golden` and say in the commit why they changed.
"""

from __future__ import annotations

import hashlib
import time

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from firmware_bridge.firmware.target import Firmware
from firmware_bridge.hil import open_target
from firmware_bridge.link.framing import FrameDecoder
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.protocol.generated import AnyMessage, Health, Hello, StateFlag, Telemetry
from firmware_bridge.transport.library import LibraryTransport
from firmware_bridge.transport.lockstep import LockstepFirmware
from firmware_bridge.transport.pty import FirmwareProcess, PtyTransport
from firmware_bridge.transport.serial_port import SerialTransport
from robot.core.errors import LinkError
from tests.firmware_bench import TARGETS, need_gcc, need_target
from tests.hil.scenarios import SCENARIOS, Script

GOLDEN = {
    "session": "72c5f03bd4fda56de5af10ce7416e41a588eb189882916f980e74a4fdb884074",
    "handshake": "2179d12a7a8278018a9fa89baedf8754cb5957761defba19a16be352cea74ba5",
    "watchdog": "263806d7ed094c187a980924003332c6869d4043255d4a4b926aec7f087e9ba8",
    "damage": "c1b7d35f011603f6671feb5e35526abeb51681633e9734b43c6e50ea3844d9f7",
    "hardware": "9fd16c98dee8597a9b607617a7a8734bd89c31f675a92ccb6916f429bf594b00",
}


def play(firmware: Firmware, script: Script) -> tuple[str, list[AnyMessage]]:
    """Play a script; returns the hash over actuator values and all sent frames but HELLO (it names the build)."""
    digest = hashlib.sha256()
    decoder = FrameDecoder()
    messages: list[AnyMessage] = []
    for data, sensors in script:
        if data:
            firmware.receive(data)
        out = firmware.step(sensors)
        digest.update(repr(out).encode())
        for message in decoder.feed(firmware.transmit()):
            messages.append(message)
            if not isinstance(message, Hello):
                digest.update(message.pack())
    counters = decoder.counters
    assert (counters.crc_errors, counters.cobs_errors, counters.length_errors, counters.sequence_gaps) == (0, 0, 0, 0)
    return digest.hexdigest(), messages


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("target", TARGETS)
def test_golden_hash(target: str, scenario: str) -> None:
    need_target(target)
    with open_target(target) as firmware:
        digest, _ = play(firmware, SCENARIOS[scenario]())
    assert digest == GOLDEN[scenario], f"in '{scenario}' the firmware on '{target}' behaves differently"


def test_the_scenarios_reach_what_they_are_about() -> None:
    """A hash of nothing would agree everywhere."""
    need_gcc()
    said = {name: play(FirmwareLibrary(), script())[1] for name, script in SCENARIOS.items()}
    flags = {name: {m.flags for m in messages if isinstance(m, Telemetry)} for name, messages in said.items()}
    last = {name: [m for m in messages if isinstance(m, Health)][-1] for name, messages in said.items()}
    for flag in (StateFlag.ARMED, StateFlag.ESTOP, StateFlag.BRAKING, StateFlag.BREAK_BEAM, StateFlag.KICK_READY):
        assert any(f & flag for f in flags["session"]), flag
    assert last["session"].kicks > 0
    assert last["handshake"].rejected >= 15
    assert last["watchdog"].watchdog_trips >= 3
    assert last["watchdog"].stale_commands >= 1
    bad = last["damage"].crc_errors + last["damage"].cobs_errors + last["damage"].length_errors
    assert bad > 20
    assert last["damage"].sequence_gaps > 20
    causes = {m.estop_cause for m in said["hardware"] if isinstance(m, Health)}
    assert causes == {0, 2, 3, 4}, "battery, sensor, current, and free between them"


def test_the_lockstep_protocol_itself_changes_nothing() -> None:
    """The library moved by TICK frames says what it says when it is called directly."""
    need_gcc()
    library = FirmwareLibrary(5)

    def let_it_read() -> None:
        library.step(SensorInputs())  # in lockstep only what has arrived is worked on

    for scenario in ("session", "hardware"):
        firmware = LockstepFirmware(LibraryTransport(library), wait=let_it_read, patience=3)
        assert play(firmware, SCENARIOS[scenario]())[0] == GOLDEN[scenario]


class Drip(LibraryTransport):
    """A port that brings one byte at every other look, as QEMU's does."""

    _waiting = b""
    _dry = False

    def read_available(self) -> bytes:
        self._waiting += super().read_available()
        self._dry = not self._dry
        if self._dry:
            return b""
        byte, self._waiting = self._waiting[:1], self._waiting[1:]
        return byte


def test_an_answer_that_comes_byte_by_byte_is_waited_for() -> None:
    """Waits between bytes were counted: QEMU under load gave up on 1 start in 20."""
    need_gcc()
    library = FirmwareLibrary(5)

    def let_it_read() -> None:
        library.step(SensorInputs())

    firmware = LockstepFirmware(Drip(library), wait=let_it_read, patience=5)
    assert play(firmware, SCENARIOS["handshake"]())[0] == GOLDEN["handshake"]


def test_a_board_is_released_from_lockstep() -> None:
    need_gcc()
    transport = PtyTransport(LinkConfig(port="pty"))
    try:
        firmware = LockstepFirmware(transport)
        firmware.step(SensorInputs())
        firmware.release()
        link, heard, end = Link(LinkConfig()), 0, time.monotonic() + 5.0
        while heard < 20 and time.monotonic() < end:
            transport.write(link.on_tick(time.monotonic_ns(), None))
            time.sleep(0.01)
            heard += len(link.on_bytes(transport.read_available(), time.monotonic_ns()))
    finally:
        transport.close()
    assert heard >= 20
    assert link.state is LinkState.READY


def test_a_board_is_released_also_when_the_trial_breaks_off() -> None:
    """After Ctrl-C it waited for ticks until it was switched off."""
    need_gcc()
    board = FirmwareProcess()
    try:
        with pytest.raises(KeyboardInterrupt), open_target(board.port) as firmware:  # noqa: PT012
            firmware.step(SensorInputs())
            raise KeyboardInterrupt
        transport, heard, end = SerialTransport(LinkConfig(port=board.port)), b"", time.monotonic() + 5.0
        while not heard and time.monotonic() < end:
            time.sleep(0.01)
            heard = transport.read_available()  # telemetry comes without being asked for
        transport.close()
    finally:
        board.stop()
    assert heard


class SlowStarter(LibraryTransport):
    """A board that boots for a while: what it is told meanwhile is lost."""

    def __init__(self, library: FirmwareLibrary, boots_for: int) -> None:
        super().__init__(library)
        self.boots_for = boots_for

    def write(self, data: bytes) -> None:
        if self.boots_for <= 0:
            super().write(data)

    def read_available(self) -> bytes:
        self.boots_for -= 1
        return super().read_available() if self.boots_for <= 0 else b""


def test_a_board_that_boots_slowly_is_waited_for_and_a_dead_one_is_not() -> None:
    need_gcc()
    library = FirmwareLibrary(5)

    def let_it_run() -> None:
        library.step(SensorInputs())

    firmware = LockstepFirmware(SlowStarter(library, 40), wait=let_it_run, patience=20)
    assert play(firmware, SCENARIOS["handshake"]())[0] == GOLDEN["handshake"]
    again = LockstepFirmware(
        SlowStarter(library, 1), wait=let_it_run, patience=20
    )  # left in lockstep: it answers HELLO
    assert play(again, SCENARIOS["handshake"]())[0] == GOLDEN["handshake"]
    with pytest.raises(LinkError, match="says nothing"):
        LockstepFirmware(SlowStarter(library, 1000), wait=let_it_run, patience=20)


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

    for name, script in SCENARIOS.items():
        sys.stdout.write(f'    "{name}": "{play(FirmwareLibrary(), script())[0]}",\n')
