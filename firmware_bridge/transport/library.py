"""The firmware core in this process as a transport: bytes move when whoever holds the core steps it."""

from __future__ import annotations

from firmware_bridge.firmware.target import Firmware


class LibraryTransport:
    """Carries bytes to and from a `Firmware` that somebody else steps (a test, the simulator)."""

    def __init__(self, firmware: Firmware) -> None:
        self.firmware = firmware

    def read_available(self) -> bytes:
        """See `Transport.read_available`."""
        return self.firmware.transmit()

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        if data:
            self.firmware.receive(data)

    def close(self) -> None:
        """See `Transport.close`; the core belongs to whoever made it."""
