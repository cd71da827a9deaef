"""The serial port of the control process: a thread reads and stamps, a lost device is opened again."""

from __future__ import annotations

import logging
import select
import threading
from collections import deque
from collections.abc import Callable

from firmware_bridge.transport.base import Transport
from firmware_bridge.transport.reconnect import Backoff
from robot.core.clock import Clock
from robot.core.errors import LinkError
from robot.core.messages import SerialChunk

LOG = logging.getLogger(__name__)

_WAIT_S = 0.05
_IDLE_S = 0.001


class SerialPort:
    """Reads in a thread, so that bytes are stamped when they arrive and not at the next tick. Writes never wait.

    Args:
        open_transport: opens the device; called again after it was lost, with a growing pause between attempts.
        clock: stamps chunks.

    Raises:
        LinkError: the device cannot be opened at the start.
    """

    def __init__(self, open_transport: Callable[[], Transport], clock: Clock) -> None:
        self.reopened = 0
        self._backoff = Backoff()
        self._open = open_transport
        self._clock = clock
        self._transport: Transport | None = open_transport()
        self._chunks: deque[SerialChunk] = deque()
        self._seq = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serial", daemon=True)
        self._thread.start()

    def take(self) -> tuple[SerialChunk, ...]:
        """Return the chunks that have arrived since the last call."""
        taken = []
        while self._chunks:
            taken.append(self._chunks.popleft())
        return tuple(taken)

    def write(self, data: bytes) -> None:
        """Send bytes; while the device is gone they are lost, as they would be on a cut wire."""
        transport = self._transport
        if transport is None or not data:
            return
        try:
            transport.write(data)
        except LinkError:
            self._lose(transport)

    def close(self) -> None:
        """End the thread and let go of the device."""
        self._closing.set()
        self._thread.join(2.0)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            transport = self._transport
            if transport is None:
                self._reopen()
                continue
            try:
                self._wait_for(transport)
                data = transport.read_available()
            except (LinkError, OSError, ValueError):
                self._lose(transport)
                continue
            if data:
                now_ns = self._clock.now_ns()
                self._chunks.append(
                    SerialChunk(seq=self._seq, t_capture_ns=now_ns, t_receive_ns=now_ns, valid=True, data=data)
                )
                self._seq += 1

    def _wait_for(self, transport: Transport) -> None:
        """Sleep until bytes are there: with select where the transport has a descriptor."""
        fileno = getattr(transport, "fileno", None)
        if fileno is None:
            self._closing.wait(_IDLE_S)
        else:
            select.select([fileno()], [], [], _WAIT_S)

    def _lose(self, transport: Transport) -> None:
        if self._transport is transport:
            self._transport = None
            LOG.warning("serial port lost")
            transport.close()

    def _reopen(self) -> None:
        if self._closing.wait(self._backoff.next_s()):
            return
        try:
            self._transport = self._open()
        except LinkError:
            return  # still gone: it is asked again in a moment, and the supervisor has long stopped the robot
        self._backoff.reset()
        self.reopened += 1
        LOG.warning("serial port is back")
