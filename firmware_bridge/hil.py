"""Opens a firmware by the name of where it runs, in lockstep, freshly booted."""

from __future__ import annotations

import hashlib
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypedDict

from firmware_bridge.config import LinkConfig
from firmware_bridge.emulation.qemu import QemuMps2
from firmware_bridge.emulation.stm32f767 import EmulatedStm32
from firmware_bridge.firmware.build import build_mps2_an500, build_stm32f767
from firmware_bridge.firmware.library import ActuatorOutputs, FirmwareLibrary, SensorInputs
from firmware_bridge.firmware.target import Firmware
from firmware_bridge.link.framing import FrameDecoder
from firmware_bridge.protocol.generated import Hello
from firmware_bridge.transport.base import Transport, open_transport
from firmware_bridge.transport.lockstep import LockstepFirmware
from robot.core.errors import LinkError

TARGETS = ("library", "pty", "unicorn", "qemu")
"""Names that need no hardware; any other is a serial port (or `tcp://HOST:PORT`) with a test build behind it."""


_WAIT_S, _ANSWER_S = 0.01, 5.0


class _Waiting(TypedDict, total=False):
    wait: Callable[[], None]
    patience: int


@contextmanager
def open_target(name: str, boot_id: int = 1) -> Iterator[Firmware]:
    """Yield the firmware on that target, at device time 0.

    Raises:
        LinkError: a compiler or port is missing, or nobody answers.
        MissingExtraError: the emulator is not installed.
    """
    if name == "library":
        yield FirmwareLibrary(boot_id)
    elif name == "unicorn":
        chip = EmulatedStm32(build_stm32f767(lockstep=True))
        yield LockstepFirmware(chip, boot_id, wait=_millisecond(chip), patience=50)
    else:
        if name != "qemu" and "/" not in name and name != "pty":
            raise LinkError(
                f"no target '{name}'", hint=f"one of {', '.join(TARGETS)}, a serial device or tcp://HOST:PORT"
            )
        transport = (
            QemuMps2(build_mps2_an500(lockstep=True)) if name == "qemu" else open_transport(LinkConfig(port=name))
        )
        try:
            firmware = LockstepFirmware(transport, boot_id, **_waiting(transport))
            try:
                yield firmware
            except BaseException:  # Ctrl-C too
                with suppress(LinkError):  # what went wrong first is what is told
                    firmware.release()
                raise
            firmware.release()  # or a board would wait for ticks until somebody switches it off
        finally:
            transport.close()


def _waiting(transport: Transport) -> _Waiting:
    """Sleep on the descriptor, where there is one, instead of asking again and again."""
    fileno: Callable[[], int] | None = getattr(transport, "fileno", None)
    if fileno is None:
        return {}

    def wait() -> None:
        select.select([fileno()], [], [], _WAIT_S)

    return {"wait": wait, "patience": round(_ANSWER_S / _WAIT_S)}


def _millisecond(chip: EmulatedStm32) -> Callable[[], None]:
    return lambda: chip.advance_us(1000)


class Witness:
    """A firmware whose every word and actuator value goes into a hash."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._digest = hashlib.sha256()
        self._decoder = FrameDecoder()
        self._revision = ""
        self.steps = 0

    @property
    def sha256(self) -> str:
        """Hash of all that was sent and driven so far."""
        return self._digest.hexdigest()

    @property
    def revision(self) -> str:
        """What the firmware's HELLO says that it was built from; empty before the handshake."""
        return self._revision

    def step(self, sensors: SensorInputs, dt_us: int = 1000) -> ActuatorOutputs:
        """See `Firmware.step`."""
        out = self._firmware.step(sensors, dt_us)
        self._digest.update(repr(out).encode())
        self.steps += 1
        return out

    def receive(self, data: bytes) -> None:
        """See `Firmware.receive`."""
        self._firmware.receive(data)

    def transmit(self) -> bytes:
        """See `Firmware.transmit`."""
        data = self._firmware.transmit()
        self._digest.update(data)
        if not self._revision:
            hellos = [m for m in self._decoder.feed(data) if isinstance(m, Hello)]
            self._revision = hellos[0].revision.rstrip(b"\0").decode(errors="replace") if hellos else ""
        return data
