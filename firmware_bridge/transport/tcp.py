"""A byte stream over a socket: a serial server in the network, or an emulator on this computer."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from firmware_bridge.config import LinkConfig
from robot.core.errors import LinkError

SCHEME = "tcp://"
_CONNECT_S = 2.0
_CHUNK = 65536


class SocketTransport:
    """A connected stream socket as a transport; it is closed with the transport."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        connection.setblocking(False)
        self._socket: socket.socket | None = connection
        self._name = name
        self.bytes_dropped = 0

    def read_available(self) -> bytes:
        """See `Transport.read_available`."""
        parts: list[bytes] = []
        while True:
            try:
                data = self._open().recv(_CHUNK)
            except BlockingIOError:
                return b"".join(parts)
            except OSError as error:
                raise self._gone(str(error)) from error
            if not data:
                if parts:  # hand over the last words first; the next call finds the end again
                    return b"".join(parts)
                raise self._gone("the other end has closed it")
            parts.append(data)

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        try:
            sent = self._open().send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._gone(str(error)) from error
        self.bytes_dropped += len(data) - sent

    def close(self) -> None:
        """See `Transport.close`."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def fileno(self) -> int:
        """The descriptor to wait on with select or poll."""
        return self._open().fileno()

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise self._gone("it is closed")
        return self._socket

    def _gone(self, reason: str) -> LinkError:
        self.close()
        return LinkError(
            f"{self._name} has gone ({reason})", hint="the link comes back by itself when it is there again"
        )


class TcpTransport(SocketTransport):
    """A client of `tcp://HOST:PORT`: ser2net, socat, a board with a network port.

    Raises:
        LinkError: nobody listens there, or the name is not of that form.
    """

    def __init__(self, config: LinkConfig) -> None:
        try:
            parts = urlsplit(config.port)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or not port:
            raise LinkError(f"{config.port} is not of the form {SCHEME}HOST:PORT", hint="set link.port")
        try:
            connection = socket.create_connection((host, port), timeout=_CONNECT_S)
        except OSError as error:
            hint = f"is the serial server running? For example: socat TCP-LISTEN:{port},reuseaddr /dev/ttyACM0,raw"
            raise LinkError(f"cannot open {config.port}: {error}", hint=hint) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a late command is a stale one
        super().__init__(connection, config.port)
