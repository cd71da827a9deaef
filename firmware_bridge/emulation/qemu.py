"""The firmware on QEMU's mps2-an500 (Cortex-M7 with FPU), spoken to over its serial port.

QEMU runs in real time beside us and models neither baud rate nor DMA: in lockstep it proves compiler, core and
arithmetic on another machine; it says nothing about throughput.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from firmware_bridge.transport.tcp import SocketTransport
from robot.core.errors import LinkError

QEMU = "qemu-system-arm"
QEMU_APT_LINE = "sudo apt-get install --no-install-recommends qemu-system-arm"
_START_S = 10.0
_STOP_S = 2.0


class QemuMps2(SocketTransport):
    """A QEMU process that runs `elf`; closing the transport ends it.

    Raises:
        LinkError: QEMU is missing, or did not start; the message has its words.
    """

    def __init__(self, elf: Path) -> None:
        qemu = shutil.which(QEMU)
        if qemu is None:
            raise LinkError(f"{QEMU} is not installed", hint=QEMU_APT_LINE)
        # QEMU comes to us, so that nobody has to guess when it is ready, nor which port is free.
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/serial")
            listener.listen(1)
            listener.settimeout(_START_S)
            command = [qemu, "-M", "mps2-an500", "-kernel", str(elf), "-display", "none", "-monitor", "none"]
            command += ["-chardev", f"socket,id=s0,path={folder}/serial", "-serial", "chardev:s0"]
            setpriv = shutil.which("setpriv")  # ends QEMU when we end, however that is
            self._process = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            try:
                connection, _ = listener.accept()
            except TimeoutError as error:
                self._stop()
                said = self._process.stderr.read().decode() if self._process.stderr else ""
                raise LinkError(f"QEMU did not start: {said.strip()}", hint=QEMU_APT_LINE) from error
        super().__init__(connection, "QEMU's serial port")

    @property
    def pid(self) -> int:
        """QEMU's process number."""
        return self._process.pid

    def close(self) -> None:
        """Close the port and end QEMU."""
        super().close()
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None and not self._process.stderr.closed:
            self._process.stderr.close()
