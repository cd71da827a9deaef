"""The firmware core in a process of its own, in real time, behind a real (pseudo-)terminal."""

from __future__ import annotations

import select
import subprocess
from dataclasses import replace
from pathlib import Path

from firmware_bridge.config import LinkConfig
from firmware_bridge.firmware.build import build_host_pty, revision
from firmware_bridge.transport.serial_port import SerialTransport
from robot.core.errors import LinkError

_START_S = 5.0
_STOP_S = 2.0


class FirmwareProcess:
    """Runs the host_pty firmware; `port` is its terminal. It ends with `stop`, or when this process ends.

    Args:
        boot_id: what it tells the host in HELLO.
        link: a path to make (and remove) as a link to the terminal: a stable name over restarts, as udev gives.

    Raises:
        LinkError: gcc is missing, or the process did not start.
    """

    def __init__(self, boot_id: int = 1, link: Path | None = None) -> None:
        self._link = link
        # Its standard input is a pipe that only we hold: when we end, however that is, the process sees it close.
        self._process = subprocess.Popen(
            [str(build_host_pty()), revision(), str(boot_id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the host: a board hears its STOP, it does not die with it
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_S)
        self.port = self._process.stdout.readline().decode().strip() if ready else ""
        if not self.port:
            self.stop()
            raise LinkError("the firmware process did not open a pseudo-terminal", hint="ls -l /dev/ptmx /dev/pts")
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.port)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def stop(self) -> None:
        """End the process and wait for it; harmless when repeated. To a client it looks like unplugging."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class PtyTransport(SerialTransport):
    """A serial transport to a firmware process that it starts and ends itself."""

    def __init__(self, config: LinkConfig, boot_id: int = 1) -> None:
        self.firmware = FirmwareProcess(boot_id)
        try:
            super().__init__(replace(config, port=self.firmware.port))
        except LinkError:
            self.firmware.stop()
            raise

    def close(self) -> None:
        """Close the port and end the process."""
        super().close()
        self.firmware.stop()
