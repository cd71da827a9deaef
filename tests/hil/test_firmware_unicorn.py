"""The STM32F767's own ELF in an emulated chip, in virtual time: boot, DMA, line errors, watchdogs, stack.

In lockstep it plays the golden scenarios and the watchdog with the other targets (test_firmware_golden, _watchdog).
"""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.emulation.elf import ElfFile
from firmware_bridge.emulation.stm32f767 import LINE_ERRORS, EmulatedStm32
from firmware_bridge.firmware import build
from firmware_bridge.firmware.build import build_stm32f767
from firmware_bridge.firmware.library import ActuatorOutputs, SensorInputs
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.protocol.generated import (
    SCHEMA_HASH,
    AnyMessage,
    Command,
    CommandFlag,
    EstopCause,
    FaultBit,
    Health,
    HealthRequest,
    Hello,
    Parameter,
    ParamGet,
    ParamSet,
    StateFlag,
    Telemetry,
    Tick,
)
from firmware_bridge.transport.lockstep import LockstepFirmware
from robot.core.errors import LinkError
from tests.firmware_bench import MotorBench, need_target


class Chip:
    """The match build in free run, spoken to frame by frame."""

    def __init__(self) -> None:
        need_target("unicorn")
        self.stm = EmulatedStm32(build_stm32f767())
        self.encoder, self.decoder = FrameEncoder(), FrameDecoder()
        self.messages: list[AnyMessage] = []
        self.seq = 0

    def send(self, message: AnyMessage) -> None:
        self.stm.write(self.encoder.encode(message))

    def command(self, vx_m_s: float = 0.5) -> None:
        self.seq += 1
        stamp_ns = 10**12 + self.stm.time_us * 1000
        self.send(Command(self.seq, int(CommandFlag.ARM), vx_m_s, 0.0, 0.0, 0.0, 0.0, 100, stamp_ns))

    def run(self, ms: int) -> None:
        for _ in range(ms):
            self.stm.advance_us(1000)
            self.messages += self.decoder.feed(self.stm.read_available())

    def latest(self, kind: type) -> AnyMessage:
        return next(m for m in reversed(self.messages) if isinstance(m, kind))

    def health(self) -> Health:
        self.send(HealthRequest())
        self.run(2)
        found = self.latest(Health)
        assert isinstance(found, Health)
        return found


@pytest.fixture
def chip() -> Chip:
    return Chip()


def test_boots_stopped_and_talks(chip: Chip) -> None:
    chip.run(20)
    telemetry = [m for m in chip.messages if isinstance(m, Telemetry)]
    assert len(telemetry) >= 4
    assert {b.t_mcu_us - a.t_mcu_us for a, b in itertools.pairwise(telemetry)} == {5000}
    assert telemetry[-1].flags == 0
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    chip.run(2)
    hello = chip.latest(Hello)
    assert isinstance(hello, Hello)
    assert (hello.schema_hash, hello.boot_id, hello.lockstep) == (SCHEMA_HASH, 1, 0)


def test_watchdog_to_the_millisecond(chip: Chip) -> None:
    chip.send(ParamSet(Parameter.TELEMETRY_PERIOD_MS, 1.0))
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    chip.run(20)
    for _ in range(10):
        chip.command()
        chip.run(10)
    last_us = chip.stm.time_us - 10_000  # when the last command was written
    chip.run(200)
    armed = [m for m in chip.messages if isinstance(m, Telemetry) and m.flags & StateFlag.ARMED]
    assert 100_000 - 1000 <= armed[-1].t_mcu_us - last_us <= 100_000 + 1000
    found = chip.latest(Telemetry)
    assert isinstance(found, Telemetry)
    assert found.faults & FaultBit.COMMAND_TIMEOUT


def test_the_match_build_brakes_its_wheels_in_time(chip: Chip) -> None:
    """The binary that goes to a match, in free run, with motors around it: the duty at its pins in each millisecond."""
    bench, duties = MotorBench(), []

    def board(out: ActuatorOutputs) -> SensorInputs:
        duties.append((chip.stm.time_us, out.wheel_duty[2]))
        return bench.step(out.wheel_duty)

    chip.stm.attach_board(board)
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    for _ in range(40):
        chip.command(1.5)
        chip.run(10)
    assert bench.twist[0] == pytest.approx(1.5, abs=0.06)
    last_us = chip.stm.time_us - 10_000  # when the last command was written
    chip.run(600)
    driving = [duty for t_us, duty in duties if last_us < t_us < last_us + 99_000]
    braking_us = next(t_us for t_us, duty in duties if t_us > last_us and duty < min(driving) - 0.05)
    assert 99_000 <= braking_us - last_us <= 102_000
    assert abs(bench.twist[0]) < 0.02
    assert duties[-1][1] == 0.0


@pytest.mark.parametrize(
    ("parity", "stop_bits", "cr1", "cr2"), [(0, 1, 0, 0), (1, 2, 0x1400, 0x2000), (2, 1, 0x1600, 0)]
)
def test_the_line_is_set_up_as_the_board_says(
    parity: int, stop_bits: int, cr1: int, cr2: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_target("unicorn")
    for part in ("core", "ports"):
        shutil.copytree(build.HERE / part, tmp_path / part)
    board = tmp_path / "ports" / "stm32f767" / "board.h"
    text = board.read_text(encoding="utf-8")
    assert int(re.search(r"BOARD_BAUD (\d+)u", text)[1]) == LinkConfig().baud, "both ends by default"  # type: ignore[index]
    text = text.replace("BOARD_PARITY 0", f"BOARD_PARITY {parity}")
    board.write_text(text.replace("BOARD_STOP_BITS 1", f"BOARD_STOP_BITS {stop_bits}"), encoding="utf-8")
    for name, value in (("HERE", tmp_path), ("CORE", tmp_path / "core"), ("PORTS", tmp_path / "ports")):
        monkeypatch.setattr(build, name, value)
    registers = EmulatedStm32(build_stm32f767())._registers
    assert registers[0x40011000] & 0x1600 == cr1  # M0 (nine bits), PCE, PS
    assert registers.get(0x40011004, 0) & 0x3000 == cr2
    assert registers[0x4001100C] == 117  # 108 MHz / 921600


def test_a_match_build_does_not_obey_tick(chip: Chip) -> None:
    chip.send(Tick(1, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0))
    chip.run(20)
    assert chip.health().rejected == 1
    assert [m.t_mcu_us for m in chip.messages if isinstance(m, Telemetry)][-1] >= 20_000, "it keeps its own time"
    with pytest.raises(LinkError, match="did not answer"):
        LockstepFirmware(chip.stm, wait=lambda: chip.stm.advance_us(1000), patience=20)


@pytest.mark.parametrize("name", sorted(LINE_ERRORS))
def test_line_errors_are_cleared_counted_and_survived(chip: Chip, name: str) -> None:
    chip.run(10)
    chip.send(ParamGet(1))
    chip.stm.line_error(name, lose=3)
    chip.run(5)
    chip.send(ParamGet(2))
    chip.send(ParamGet(3))
    chip.run(5)
    health = chip.health()
    counts = {"ORE": health.uart_overrun, "FE": health.uart_framing, "NE": health.uart_noise, "PE": health.uart_parity}
    assert counts == {other: int(other == name) for other in LINE_ERRORS}
    assert health.crc_errors + health.cobs_errors + health.length_errors <= 1
    assert health.rx_ok >= 2, "one error costs one frame, not the link"


def test_more_bytes_than_the_ring_holds_in_one_go(chip: Chip) -> None:
    for _ in range(300):
        chip.send(ParamGet(1))
    chip.run(30)
    assert chip.health().rx_ok == 301
    assert chip.health().rx_ring_overflow == 0


def test_a_ring_that_was_lapped_is_counted_and_the_link_goes_on(chip: Chip) -> None:
    chip.run(10)
    chip.stm.flood(b"".join(chip.encoder.encode(ParamGet(1)) for _ in range(200)))  # 1800 bytes in a ring of 1024
    chip.run(5)
    health = chip.health()
    assert health.rx_ring_overflow == 1024
    assert health.rx_ok >= 1, "what comes afterwards is heard"
    before = health.rx_ok
    chip.send(ParamGet(2))
    chip.run(3)
    assert chip.health().rx_ok == before + 2


def test_a_battery_that_is_not_there_latches_a_stop(chip: Chip) -> None:
    chip.run(1100)
    assert chip.health().estop_cause == EstopCause.BATTERY


def test_a_hung_main_loop_is_reset_into_the_stopped_state(chip: Chip) -> None:
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    for _ in range(5):
        chip.command()
        chip.run(10)
    found = chip.latest(Telemetry)
    assert isinstance(found, Telemetry)
    assert found.flags & StateFlag.ARMED
    # Hang: SysTick is switched off, so that the loop sleeps for ever and the independent watchdog is not fed.
    chip.stm._registers[0xE000E010] = 0
    before = len(chip.messages)
    chip.run(60)
    assert chip.stm.resets == 1
    after = [m for m in chip.messages[before:] if isinstance(m, Telemetry)]
    assert after
    assert all(m.flags == 0 and m.t_mcu_us < 60_000 for m in after), "boots stopped, without a handshake, at time 0"


def test_a_crash_leaves_nothing_switched_on(chip: Chip) -> None:
    """Motors and charger kept their last values until the watchdog's reset."""
    driven: list[ActuatorOutputs] = []

    def board(out: ActuatorOutputs) -> SensorInputs:
        driven.append(out)
        return SensorInputs()

    chip.stm.attach_board(board)
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    for _ in range(5):
        chip.command()
        chip.run(10)
    assert any(driven[-1].wheel_duty)
    assert driven[-1].charge
    with pytest.raises(LinkError, match="does not come to rest"):
        chip.stm._interrupt(3)  # HardFault
    assert not any(driven[-1].wheel_duty)
    assert not driven[-1].charge


def test_the_clock_goes_on_when_its_counter_wraps(chip: Chip) -> None:
    chip.stm._started_us -= (2**32 - 30_000) // 5000 * 5000  # 71 minutes before
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    for _ in range(8):
        chip.command()
        chip.run(10)
    stamps = [m.t_mcu_us for m in chip.messages if isinstance(m, Telemetry)][2:]
    assert stamps[0] < 2**32 < stamps[-1]
    assert {b - a for a, b in itertools.pairwise(stamps)} == {5000}
    found = chip.latest(Telemetry)
    assert isinstance(found, Telemetry)
    assert found.flags & StateFlag.ARMED


def test_the_stack_is_shallow(chip: Chip) -> None:
    chip.send(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"test"))
    for _ in range(20):
        chip.command()
        chip.run(10)
    chip.health()
    bottom = ElfFile(build_stm32f767()).symbols()["_ebss"][0]
    used = chip.stm.stack_used(bottom)
    assert 200 < used < 4096
