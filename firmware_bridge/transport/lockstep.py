"""A firmware behind a byte pipe, moved tick by tick: TICK carries the sensors there, TICK_ACK the duties back."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from firmware_bridge.firmware.library import ActuatorOutputs, SensorInputs
from firmware_bridge.link.framing import DELIMITER, FrameDecoder, encode_frame
from firmware_bridge.protocol.generated import SCHEMA_HASH, Hello, MessageType, Tick, TickAck
from firmware_bridge.transport.base import Transport
from robot.core.errors import LinkError

_RELEASE_US = 0xFFFF_FFFF
_BOOT_PATIENCE = 4
_MOST_BYTES = 1 << 16
"""A firmware that says so much else without an answer is not going to answer."""


def _wait_a_little() -> None:
    time.sleep(20e-6)


class LockstepFirmware:
    """Makes a firmware on another target look like `FirmwareLibrary`: same calls, same bytes.

    Args:
        transport: to a test build that obeys TICK.
        boot_id: taken by the firmware in the reset with which lockstep begins.
        wait: called while the answer is not there yet.
        patience: so many waits in a row that bring nothing are an error. (Some ports bring byte by byte: waits between
            bytes do not count.)

    Raises:
        LinkError: nothing is heard, or no answer: the firmware is not running, or is a match build.
    """

    def __init__(
        self,
        transport: Transport,
        boot_id: int = 1,
        *,
        wait: Callable[[], None] = _wait_a_little,
        patience: int = 100_000,
    ) -> None:
        self._transport = transport
        self._wait = wait
        self._patience = patience
        self._rest = b""
        self._sent = b""
        self._to_send = b""
        self._tick = 0
        self._boot_id = boot_id
        self._wait_for_life()
        self._exchange(_restart(boot_id, 0))
        self._sent = b""  # whatever it said before the reset

    def _wait_for_life(self) -> None:
        # It may still be booting, and what comes then is lost: the restart is sent to one that speaks. In free run it
        # does so by itself, in a lockstep that somebody left behind it answers HELLO.
        hello = DELIMITER + encode_frame(MessageType.HELLO, 0, Hello(SCHEMA_HASH, 0, 1, 0, 0, b"lockstep").pack())
        for i in range(_BOOT_PATIENCE * self._patience):
            if i % max(self._patience // 20, 1) == 0:
                self._transport.write(hello)
            if self._transport.read_available():
                return
            self._wait()
        raise LinkError("the firmware says nothing", hint="is it powered and running, and is the port's baud right?")

    def release(self) -> None:
        """Restart it once more, and let it run by its own clock again; the transport stays open.

        Raises:
            LinkError: no answer.
        """
        self._to_send = b""
        self._exchange(_restart(self._boot_id, _RELEASE_US))

    def step(self, sensors: SensorInputs, dt_us: int = 1000) -> ActuatorOutputs:
        """See `Firmware.step`."""
        s = sensors
        self._tick += 1
        ack = self._exchange(
            Tick(
                self._tick,
                dt_us,
                *s.wheel_ticks,
                s.gyro_z_rad_s,
                s.accel_x_m_s2,
                s.accel_y_m_s2,
                s.battery_v,
                s.current_a,
                s.kicker_v,
                s.dribbler_rad_s,
                int(s.break_beam),
            )
        )
        return ActuatorOutputs(
            wheel_duty=(ack.wheel_duty_0, ack.wheel_duty_1, ack.wheel_duty_2, ack.wheel_duty_3),
            dribbler_duty=ack.dribbler_duty,
            kick_speed_m_s=ack.kick_speed_m_s,
            kick_flat_us=ack.kick_flat_us,
            kick_chip_us=ack.kick_chip_us,
            charge=ack.charge != 0,
        )

    def receive(self, data: bytes) -> None:
        """See `Firmware.receive`; the bytes travel with the next tick, at the same device time."""
        self._to_send += data

    def transmit(self) -> bytes:
        """See `Firmware.transmit`."""
        sent, self._sent = self._sent, b""
        return sent

    def _exchange(self, tick: Tick) -> TickAck:
        # Half a frame waits for its end, or it would swallow the TICK; the firmware acts at the end alone, so that
        # nothing changes by it.
        whole, delimiter, self._to_send = self._to_send.rpartition(DELIMITER)
        self._transport.write(whole + delimiter + encode_frame(MessageType.TICK, tick.tick & 0xFF, tick.pack()))
        in_vain = heard = 0
        while in_vain < self._patience and heard < _MOST_BYTES:
            data = self._transport.read_available()
            if not data:
                in_vain += 1
                self._wait()
                continue
            in_vain, heard = 0, heard + len(data)
            *wires, self._rest = (self._rest + data).split(DELIMITER)
            found = None
            for wire in wires:
                ack = _as_ack(wire)
                if ack is None:
                    self._sent += wire + DELIMITER
                elif ack.tick == tick.tick:
                    found = ack
            if found is not None:
                return found
        raise LinkError(
            f"the firmware did not answer tick {tick.tick}",
            hint="is it running, and a test build (HELLO says lockstep 1)?",
        )


def _restart(boot_id: int, dt_us: int) -> Tick:
    return Tick(boot_id, dt_us, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)


def _as_ack(wire: bytes) -> TickAck | None:
    # An ACK's frame has one length only, which spares decoding the rest.
    if len(wire) != _ACK_WIRE:
        return None
    messages = FrameDecoder().feed(wire + DELIMITER)
    return messages[0] if messages and isinstance(messages[0], TickAck) else None


_ACK_WIRE = struct.calcsize("<I4fffHHB") + 5
