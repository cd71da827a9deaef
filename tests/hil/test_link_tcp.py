"""A serial server in the network: the firmware's terminal behind a TCP socket."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.link import Link, LinkState
from firmware_bridge.transport.base import Transport, open_transport
from firmware_bridge.transport.pty import PtyTransport
from firmware_bridge.transport.tcp import TcpTransport
from robot.core.errors import LinkError
from tests.firmware_bench import need_gcc


class SerialServer:
    """What ser2net does, for one client at a time."""

    def __init__(self) -> None:
        self.device = PtyTransport(LinkConfig(port="pty"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.client: socket.socket | None = None
        self.stop, self.drop = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stop.is_set():
            if self.drop.is_set():
                self.drop.clear()
                self.hang_up()
            watched = [self.listener, self.device, *([self.client] if self.client else [])]
            for ready in select.select(watched, [], [], 0.05)[0]:
                if ready is self.listener:
                    self.hang_up()
                    self.client = self.listener.accept()[0]
                    self.client.settimeout(1.0)  # a client that does not read must not hold the test up
                elif ready is self.device:
                    data = self.device.read_available()
                    if self.client and data:
                        self.client.sendall(data)
                elif ready is self.client:  # one that was hung up in this round is not asked again
                    data = self.client.recv(4096)
                    self.device.write(data)
                    if not data:
                        self.hang_up()
                        break

    def hang_up(self) -> None:
        client, self.client = self.client, None
        if client:
            client.close()

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
        self.hang_up()
        self.listener.close()
        self.device.close()


def read_twice(transport: Transport) -> None:
    """The first call may still hand over what came before the end."""
    transport.read_available()
    transport.read_available()


@pytest.fixture
def server() -> Iterator[SerialServer]:
    need_gcc()
    server = SerialServer()
    yield server
    server.close()


def test_the_link_comes_up_over_tcp_and_an_end_is_noticed(server: SerialServer) -> None:
    transport = open_transport(LinkConfig(port=server.port))
    assert isinstance(transport, TcpTransport)
    link, frames, start = Link(LinkConfig()), 0, time.monotonic()
    while frames < 50 and time.monotonic() - start < 10.0:
        transport.write(link.on_tick(time.monotonic_ns(), None))
        time.sleep(0.01)
        frames += len(link.on_bytes(transport.read_available(), time.monotonic_ns()))
    assert frames >= 50
    assert link.state is LinkState.READY
    health = link.health(time.monotonic_ns())
    assert (health.crc_errors, health.cobs_errors, health.sequence_gaps) == (0, 0, 0)
    transport.close()
    again = open_transport(LinkConfig(port=server.port))
    time.sleep(0.2)
    server.drop.set()
    time.sleep(0.5)
    with pytest.raises(LinkError, match="gone") as caught:
        read_twice(again)
    assert caught.value.recoverable
    again.close()


@pytest.mark.parametrize("port", ["tcp://", "tcp://host", "tcp://host:notanumber", "tcp://:5"])
def test_a_name_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(LinkError, match="HOST:PORT"):
        TcpTransport(LinkConfig(port=port))


def test_nobody_listening_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LinkError, match="cannot open") as caught:
        open_transport(LinkConfig(port=f"tcp://127.0.0.1:{port}"))
    assert "socat" in caught.value.hint
