"""Opens a firmware by the name of where it runs, in lockstep, freshly booted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from firmware_bridge.config import LinkConfig
from firmware_bridge.emulation.stm32f767 import EmulatedStm32
from firmware_bridge.firmware.build import build_stm32f767
from firmware_bridge.firmware.library import ActuatorOutputs, FirmwareLibrary, SensorInputs
from firmware_bridge.firmware.target import Firmware
from firmware_bridge.transport.lockstep import LockstepFirmware
from firmware_bridge.transport.pty import PtyTransport
from firmware_bridge.transport.serial_port import SerialTransport

TARGETS = ("library", "pty", "unicorn")
"""Names that need no hardware; any other is the path of a serial port with a test build behind it."""


@contextmanager
def open_target(name: str, boot_id: int = 1) -> Iterator[Firmware]:
    """Yield the firmware on that target, at device time 0.

    Raises:
        LinkError: a compiler or port is missing, or nobody answers.
        MissingExtraError: the emulator is not installed.
    """
    if name == "library":
        yield FirmwareLibrary(boot_id)
    elif name == "unicorn":
        chip = EmulatedStm32(build_stm32f767(lockstep=True))
        yield LockstepFirmware(chip, boot_id, wait=_millisecond(chip), patience=50)
    else:
        transport = PtyTransport(LinkConfig(port=name)) if name == "pty" else SerialTransport(LinkConfig(port=name))
        try:
            yield LockstepFirmware(transport, boot_id)
        finally:
            transport.close()


def _millisecond(chip: EmulatedStm32) -> Callable[[], None]:
    return lambda: chip.advance_us(1000)


class Witness:
    """A firmware whose every word and actuator value goes into a hash."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._digest = hashlib.sha256()
        self.steps = 0

    @property
    def sha256(self) -> str:
        """Hash of all that was sent and driven so far."""
        return self._digest.hexdigest()

    def step(self, sensors: SensorInputs, dt_us: int = 1000) -> ActuatorOutputs:
        """See `Firmware.step`."""
        out = self._firmware.step(sensors, dt_us)
        self._digest.update(repr(out).encode())
        self.steps += 1
        return out

    def receive(self, data: bytes) -> None:
        """See `Firmware.receive`."""
        self._firmware.receive(data)

    def transmit(self) -> bytes:
        """See `Firmware.transmit`."""
        data = self._firmware.transmit()
        self._digest.update(data)
        return data
