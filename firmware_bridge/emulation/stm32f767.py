"""An STM32F767 around Unicorn's Cortex-M7: enough of its peripherals to run the firmware's ELF as it is.

Modelled: RCC, PWR and FLASH ready bits, TIM2 as a microsecond counter, USART1 with its error flags, DMA2 streams 2
(circular, receiving) and 7 (sending), SysTick, NVIC enable bits, IWDG with its reset, RNG. Time is virtual and moves
only with `advance_us`. The core is infinitely fast: interrupts are taken when it sleeps (WFI), in the order of their
numbers. Not modelled: baud rate and transfer times, nested or pre-empting interrupts, floating-point stacking.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from firmware_bridge.emulation.elf import ElfFile
from firmware_bridge.firmware.library import (
    ACTUATORS_SIZE,
    SENSORS_SIZE,
    ActuatorOutputs,
    SensorInputs,
    pack_sensors,
    unpack_actuators,
)
from robot.core.errors import LinkError, MissingExtraError

_FLASH, _FLASH_SIZE = 0x0800_0000, 0x20_0000
_DTCM, _DTCM_SIZE = 0x2000_0000, 0x2_0000
_REGIONS = ((0x4000_0000, 0x8_0000), (0x5006_0000, 0x1000), (0xE000_E000, 0x1000))
_RETURN = 0xFFFF_FFF8
_PATIENCE_US = 3_000_000

_ALWAYS_READY = frozenset({0x40023800, 0x40023808, 0x40007004, 0x50060804})  # RCC_CR, RCC_CFGR, PWR_CSR1, RNG_SR
_TIM2_CNT, _IWDG_KR, _IWDG_RLR, _RNG_DR = 0x40000024, 0x40003000, 0x40003008, 0x50060808
_CR1, _CR3, _ISR, _ICR = 0x40011000, 0x40011008, 0x4001101C, 0x40011020
_LISR, _HISR, _LIFCR, _HIFCR = 0x40026400, 0x40026404, 0x40026408, 0x4002640C
_S2CR, _S2NDTR, _S2M0AR = 0x40026440, 0x40026444, 0x4002644C
_S7CR, _S7NDTR, _S7M0AR = 0x400264B8, 0x400264BC, 0x400264C4
_SYSTICK_CSR, _ISER0 = 0xE000E010, 0xE000E100
_SYSTICK, _USART1, _DMA2_S7 = 15, 16 + 37, 16 + 70
_TCIF2, _TCIF7 = 1 << 21, 1 << 27
_IDLE = 1 << 4
LINE_ERRORS = {"PE": 1 << 0, "FE": 1 << 1, "NE": 1 << 2, "ORE": 1 << 3}


class EmulatedStm32:
    """One emulated microcontroller; a `Transport` at its serial port.

    Args:
        elf: the firmware, from `build_stm32f767`.
        random_word: what its random number generator says, which becomes the boot id.

    Raises:
        MissingExtraError: unicorn is not installed.
        LinkError: the ELF is missing, or the firmware did not reach its main loop.
    """

    traced: ClassVar[dict[Path, set[tuple[int, int]]] | None] = None
    """Given a dictionary, each ELF's blocks of code that run are kept in it, as (address, size): for coverage."""

    def __init__(self, elf: Path, random_word: int = 1) -> None:
        try:
            unicorn: Any = importlib.import_module("unicorn")
            self._const: Any = importlib.import_module("unicorn.arm_const")
        except ImportError as error:
            raise MissingExtraError("unicorn is not installed", hint="pip install 'blackout-robot[hil]'") from error
        self._failure: Any = unicorn.UcError
        self._hook_code: int = unicorn.UC_HOOK_CODE
        self._random_word = random_word
        self._elf = ElfFile(elf)
        self._segments = self._elf.segments()
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(self._const.UC_CPU_ARM_CORTEX_M7)
        self._uc.mem_map(_FLASH, _FLASH_SIZE)
        self._uc.mem_map(_DTCM, _DTCM_SIZE)
        for base, size in _REGIONS:
            self._uc.mmio_map(base, size, self._read, base, self._write, base)
        if self.traced is not None:
            blocks = self.traced.setdefault(elf, set())
            self._uc.hook_add(unicorn.UC_HOOK_BLOCK, lambda _uc, address, size, _data: blocks.add((address, size)))
        self.time_us = 0
        self.resets = -1
        self._sent = b""
        self.reset()

    # --- what surrounds the chip --------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power cycle: memory as after loading, peripherals off, run to the first sleep."""
        self.resets += 1
        self._registers: dict[int, int] = {}
        self._arriving = b""
        self._pending: set[int] = set()
        self._fed_us = self.time_us
        self._started_us = self.time_us
        self._uc.mem_write(_DTCM, b"\xa5" * _DTCM_SIZE)  # memory is noise at power-on; also shows the stack's depth
        for address, data in self._segments:
            self._uc.mem_write(address, data)
        stack, entry = struct.unpack("<II", self._uc.mem_read(_FLASH, 8))
        self._uc.reg_write(self._const.UC_ARM_REG_SP, stack)
        self._pc = self._execute(entry, 0)

    def advance_us(self, step_us: int) -> None:
        """Let virtual time pass, a SysTick each millisecond."""
        end_us = self.time_us + step_us
        while self.time_us < end_us:
            # The next millisecond of the device's own time.
            to_tick = 1000 - (self.time_us - self._started_us) % 1000
            self.time_us = min(self.time_us + to_tick, end_us)
            watched = self._registers.get(_IWDG_KR) is not None
            # LSI / 4 is 8 kHz: 125 us for each count of the reload register.
            if watched and self.time_us - self._fed_us > 125 * self._registers.get(_IWDG_RLR, 0xFFF):
                self.reset()
                continue
            if (self.time_us - self._started_us) % 1000 == 0 and self._registers.get(_SYSTICK_CSR, 0) & 3 == 3:
                self._pending.add(_SYSTICK)
            self._run()

    def line_error(self, name: str, lose: int = 0) -> None:
        """Raise a receiver error flag (`PE`, `FE`, `NE`, `ORE`) and lose so many of the bytes that arrive next."""
        self._arriving = self._arriving[lose:]
        self._registers[_ISR] = self._registers.get(_ISR, 0) | LINE_ERRORS[name]
        enabled = self._registers.get(_CR1, 0) >> 8 & 1 if name == "PE" else self._registers.get(_CR3, 0) & 1
        if enabled:
            self._raise(_USART1)

    def attach_board(self, board: Callable[[ActuatorOutputs], SensorInputs]) -> None:
        """Put a robot around a build whose own board is bare: `board` is asked once a control cycle.

        It is given what the cycle drives, and says what the next one's sensors see. The firmware itself is unchanged:
        its sensor values are put into place as `blk_core_step` is entered, and read as `board_write` is.
        """
        symbols, c, uc = self._elf.symbols(), self._const, self._uc
        seen = [board(unpack_actuators(bytes(ACTUATORS_SIZE)))]

        def sense(_uc: Any, _address: int, _size: int, _data: Any) -> None:
            buffer = bytearray(SENSORS_SIZE)
            pack_sensors(seen[0], buffer)
            (sensors,) = struct.unpack("<I", uc.mem_read(uc.reg_read(c.UC_ARM_REG_SP), 4))  # the fourth argument
            uc.mem_write(sensors, bytes(buffer))

        def drive(_uc: Any, _address: int, _size: int, _data: Any) -> None:
            seen[0] = board(unpack_actuators(bytes(uc.mem_read(uc.reg_read(c.UC_ARM_REG_R0), ACTUATORS_SIZE))))

        for name, hook in (("blk_core_step", sense), ("board_write", drive)):
            at = symbols[name][0] & ~1
            uc.hook_add(self._hook_code, hook, begin=at, end=at)
        uc.ctl_flush_tb()  # what was translated before knows nothing of the hooks

    def flood(self, data: bytes) -> None:
        """Let bytes arrive while the core is busy with something else: DMA fills the ring, and nobody looks."""
        self._arriving += data
        while self._arriving and self._transfer():
            pass

    def stack_used(self, bottom: int) -> int:
        """Bytes of stack that were ever written, above the address `bottom` (the end of .bss)."""
        memory = bytes(self._uc.mem_read(bottom, _DTCM + _DTCM_SIZE - bottom))
        return len(memory.lstrip(b"\xa5"))

    # --- its serial port as a transport -------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        self._arriving += data

    def read_available(self) -> bytes:
        """See `Transport.read_available`; the firmware works on what has arrived, and no time passes."""
        self._run()
        sent, self._sent = self._sent, b""
        return sent

    def close(self) -> None:
        """See `Transport.close`."""

    # --- the core -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Deliver what has arrived, and run for as long as something wakes the core."""
        self._deliver()
        while self._pending:
            while self._pending:
                number = min(self._pending)
                self._pending.discard(number)
                self._interrupt(number)
            self._pc = self._execute(self._pc, 0)
            self._deliver()

    def _execute(self, start: int, until: int) -> int:
        try:
            self._uc.emu_start(start | 1, until, timeout=_PATIENCE_US)
        except self._failure as error:
            where = int(self._uc.reg_read(self._const.UC_ARM_REG_PC))
            if until == where == _RETURN:  # the emulated core refuses to fetch there, as it must
                return where
            raise LinkError(f"the emulated firmware crashed at 0x{where:08X}: {error}") from error
        where = int(self._uc.reg_read(self._const.UC_ARM_REG_PC))
        if where != until and bytes(self._uc.mem_read(where - 2, 2)) != b"\x30\xbf":  # not after a WFI
            raise LinkError(f"the emulated firmware does not come to rest; it is at 0x{where:08X}")
        return where

    def _interrupt(self, number: int) -> None:
        """Exception entry and return as ARMv7-M does it, without the floating-point frame."""
        c, uc = self._const, self._uc
        kept = (c.UC_ARM_REG_R0, c.UC_ARM_REG_R1, c.UC_ARM_REG_R2, c.UC_ARM_REG_R3, c.UC_ARM_REG_R12, c.UC_ARM_REG_LR)
        values = [uc.reg_read(r) for r in kept]
        flags, stack = uc.reg_read(c.UC_ARM_REG_CPSR), uc.reg_read(c.UC_ARM_REG_SP)
        frame = (stack - 32) & ~7
        uc.mem_write(frame, struct.pack("<8I", *values, self._pc, flags & 0xFFFF_FFFF))
        uc.reg_write(c.UC_ARM_REG_SP, frame)
        uc.reg_write(c.UC_ARM_REG_LR, 0xFFFF_FFF9)
        (handler,) = struct.unpack("<I", uc.mem_read(_FLASH + 4 * number, 4))
        self._execute(handler, _RETURN)
        for register, value in zip(kept, values, strict=True):
            uc.reg_write(register, value)
        uc.reg_write(c.UC_ARM_REG_CPSR, flags)
        uc.reg_write(c.UC_ARM_REG_SP, stack)

    def _raise(self, number: int) -> None:
        line = number - 16
        if self._registers.get(_ISER0 + line // 32 * 4, 0) >> (line % 32) & 1:
            self._pending.add(number)

    # --- the peripherals ----------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Bytes on the wire into the receive ring, at most half a ring before the core may look."""
        if self._arriving and self._transfer():
            r = self._registers
            r[_ISR] = r.get(_ISR, 0) | _IDLE
            if r.get(_CR1, 0) & 1 << 4:
                self._raise(_USART1)

    def _transfer(self) -> bool:
        """Move half a ring of what arrives by DMA; false when nothing is moved."""
        r = self._registers
        if not r.get(_S2CR, 0) & 1 or not r.get(_CR3, 0) & 0x40:
            return False
        if r.get(_ISR, 0) & LINE_ERRORS["ORE"]:  # nothing comes in until the flag is cleared
            self._arriving = b""
            return False
        size = r[_S2CR + 0x1000_0000]
        data, self._arriving = self._arriving[: size // 2], self._arriving[size // 2 :]
        at = size - r[_S2NDTR]
        first = data[: size - at]
        self._uc.mem_write(r[_S2M0AR] + at, first)
        if len(first) == size - at:
            r[_LISR] = r.get(_LISR, 0) | _TCIF2
            self._uc.mem_write(r[_S2M0AR], data[len(first) :])
        r[_S2NDTR] = size - (at + len(data)) % size
        return True

    def _read(self, _uc: Any, offset: int, _size: int, base: int) -> int:
        address = base + offset
        if address in _ALWAYS_READY:
            return 0xFFFF_FFFF
        if address == _TIM2_CNT:
            return (self.time_us - self._started_us) & 0xFFFF_FFFF
        if address == _RNG_DR:
            return self._random_word
        return self._registers.get(address, 0)

    def _write(self, _uc: Any, offset: int, _size: int, value: int, base: int) -> None:
        address, r = base + offset, self._registers
        if address == _ICR:
            r[_ISR] = r.get(_ISR, 0) & ~value
        elif address in (_LIFCR, _HIFCR):
            r[address - 8] = r.get(address - 8, 0) & ~value
        elif _ISER0 <= address < _ISER0 + 16:
            r[address] = r.get(address, 0) | value
        elif address == _IWDG_KR:
            r[address] = value
            self._fed_us = self.time_us
        elif address == _S7CR and value & 1:
            self._sent += bytes(self._uc.mem_read(r[_S7M0AR], r[_S7NDTR]))
            r[_S7CR], r[_S7NDTR] = value & ~1, 0
            r[_HISR] = r.get(_HISR, 0) | _TCIF7
            if value & 1 << 4:
                self._raise(_DMA2_S7)
        else:
            if address == _S2CR and value & 1:  # remember the reload value of the circular transfer
                r[_S2CR + 0x1000_0000] = r[_S2NDTR]
            r[address] = value
