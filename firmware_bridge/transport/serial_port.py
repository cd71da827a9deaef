"""A serial device through pyserial: opened exclusively, never blocking, honest about unplugging."""

from __future__ import annotations

import errno
import logging
import os
import select
import termios

import serial

from firmware_bridge.config import LinkConfig
from robot.core.errors import LinkError

LOG = logging.getLogger(__name__)
_CHUNK = 65536


class SerialTransport:
    """One open serial port (or pseudo-terminal).

    Args:
        config: port, baud, parity, stop bits, low latency.

    Raises:
        LinkError: missing, busy or forbidden; the hint says what to type.
    """

    def __init__(self, config: LinkConfig) -> None:
        self._name = config.port
        self.bytes_dropped = 0
        self._port: serial.Serial | None = self._open(config)

    def _open(self, config: LinkConfig) -> serial.Serial:
        is_pty = os.path.realpath(config.port).startswith("/dev/pts/")
        try:
            port = serial.Serial(
                config.port,
                baudrate=config.baud,
                # A pseudo-terminal refuses parity, and pyserial's object would stay broken after the refusal.
                parity=serial.PARITY_NONE if is_pty else config.parity,
                stopbits=serial.STOPBITS_ONE if is_pty else config.stop_bits,
                timeout=0,
                write_timeout=0,
                exclusive=True,
            )
        except (serial.SerialException, OSError, ValueError, termios.error) as error:
            raise _explain(config, error) from error
        if config.low_latency and not is_pty:
            try:
                port.set_low_latency_mode(True)
            except (ValueError, OSError, NotImplementedError) as error:
                LOG.info("%s: no low-latency mode (%s)", config.port, error)
        try:
            port.reset_input_buffer()  # what was sent before we came is history
        except (serial.SerialException, OSError, termios.error) as error:  # it went again: termios.error is no OSError
            port.close()
            raise _explain(config, error) from error
        return port

    def read_available(self) -> bytes:
        """See `Transport.read_available`."""
        port = self._port
        if port is None:
            raise self._gone(None)
        try:
            return self._read(port.fileno())
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: closed by another thread meanwhile
            raise self._gone(error) from error

    def _read(self, descriptor: int) -> bytes:
        # Not pyserial's read: one system call instead of four; at 1 kHz that is a fifth of this process's time.
        data = _take(descriptor)
        if data:
            return data
        events = select.poll()
        events.register(descriptor, select.POLLIN)
        if not events.poll(0):
            return b""
        data = _take(descriptor)  # it came between the two, or the driver says "read me" and has nothing: unplugged
        if not data:
            raise OSError(errno.EIO, "the driver reports data and has none: unplugged")
        return data

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        port = self._port
        if port is None:
            raise self._gone(None)
        try:
            sent = os.write(port.fileno(), data)  # pyserial's own write raises on a full buffer
        except BlockingIOError:
            sent = 0
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone(error) from error
        self.bytes_dropped += len(data) - sent

    def close(self) -> None:
        """See `Transport.close`."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def fileno(self) -> int:
        """The descriptor to wait on with select or poll."""
        if self._port is None:
            raise self._gone(None)
        return int(self._port.fileno())

    def _gone(self, error: Exception | None) -> LinkError:
        self.close()
        return LinkError(
            f"{self._name} has gone ({error or 'it is closed'})",
            hint="plug the microcontroller in again; the link comes back by itself",
        )


def _take(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return b""


def _explain(config: LinkConfig, error: Exception) -> LinkError:
    code = getattr(error, "errno", None)
    text = str(error)
    if code == errno.ENOENT:
        hint = "plug the microcontroller in, or set link.port; `ls /dev/serial/by-id` lists stable names"
    elif code == errno.EACCES:
        hint = 'sudo usermod -aG dialout "$USER", then log in again'
    elif code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        hint = f"another program holds it: fuser -v {config.port}"
    else:
        hint = "check link.port, link.baud, link.parity and link.stop_bits"
    return LinkError(f"cannot open {config.port}: {text}", hint=hint)
