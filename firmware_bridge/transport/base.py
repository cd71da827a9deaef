"""What every transport looks like, and how a configuration names one."""

from __future__ import annotations

from typing import Protocol

from firmware_bridge.config import LinkConfig


class Transport(Protocol):
    """A full-duplex byte pipe to one microcontroller. Nothing here blocks."""

    def read_available(self) -> bytes:
        """Return the bytes that have arrived; empty when there are none.

        Raises:
            LinkError: the device has gone; the transport is closed and may be opened again.
        """
        ...

    def write(self, data: bytes) -> None:
        """Hand over bytes to send; what the driver has no room for is dropped and counted, never waited for.

        Raises:
            LinkError: as in `read_available`.
        """
        ...

    def close(self) -> None:
        """Let go of the device; harmless when repeated."""
        ...


def open_transport(config: LinkConfig) -> Transport:
    """Open what `config.port` names: a serial device, `tcp://HOST:PORT`, or `pty` for the firmware core in a process.

    Raises:
        LinkError: the port is missing, busy or not allowed; the hint says what to type.
    """
    # Imported here so that a robot without gcc, or a test without pyserial, needs only what it uses.
    if config.port == "pty":
        from firmware_bridge.transport.pty import PtyTransport

        return PtyTransport(config)
    if config.port.startswith("tcp://"):
        from firmware_bridge.transport.tcp import TcpTransport

        return TcpTransport(config)
    from firmware_bridge.transport.serial_port import SerialTransport

    return SerialTransport(config)
