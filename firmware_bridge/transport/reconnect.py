"""Getting a lost port back: by its stable name, and not too often.

A USB device that is plugged in again may get another number (/dev/ttyACM0 becomes ttyACM1). Its name below
/dev/serial/by-id is made of maker, product and serial number, and stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from firmware_bridge.config import LinkConfig
from firmware_bridge.transport.base import Transport, open_transport
from firmware_bridge.transport.ports import stable_name
from robot.core.errors import LinkError

FIRST_S, LONGEST_S = 0.05, 0.5


class Backoff:
    """How long to wait before each attempt: 50 ms, then twice as long each time, half a second at the most."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The wait before the next attempt."""
        wait_s, self._next_s = self._next_s, min(2.0 * self._next_s, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """An attempt succeeded."""
        self._next_s = self._first_s


class StablePort:
    """Opens a configured port, and after it was lost opens it by the stable name that it had.

    Args:
        config: where the port is now.
        opener: opens a transport; given in tests.
    """

    def __init__(self, config: LinkConfig, opener: Callable[[LinkConfig], Transport] = open_transport) -> None:
        self._config = config
        self._open = opener
        self.name = ""

    def open(self) -> Transport:
        """Open it: by its stable name where it once had one and that name is here, else as configured.

        Raises:
            LinkError: missing, busy or forbidden; the hint says what to type.
        """
        if self.name:
            try:
                return self._open(replace(self._config, port=self.name))
            except LinkError:
                if self.name == self._config.port:
                    raise
        transport = self._open(self._config)
        self.name = stable_name(self._config.port)
        return transport
