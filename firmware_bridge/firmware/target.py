"""What the simulator needs of a firmware, wherever it runs: in this process, on a pseudo-terminal, in an emulator."""

from __future__ import annotations

from typing import Protocol

from firmware_bridge.firmware.library import ActuatorOutputs, SensorInputs


class Firmware(Protocol):
    """A microcontroller in lockstep: its time is the sum of its steps. Equal calls give equal bytes on every target."""

    def step(self, sensors: SensorInputs, dt_us: int = 1000) -> ActuatorOutputs:
        """Run one control cycle of `dt_us` microseconds on these sensor values."""
        ...

    def receive(self, data: bytes) -> None:
        """Bytes that arrive at its serial port now; its next cycle begins with them."""
        ...

    def transmit(self) -> bytes:
        """Take the bytes that it has sent since the last call."""
        ...
