"""Frames on the wire: COBS(type, seq, payload, CRC-16 little-endian) and a zero byte.

The C twin is `firmware/core/blk_framing.c`; a differential test holds the two together. COBS (Cheshire and Baker
1999) keeps zero out of the frame, so that a zero byte always ends one and a receiver is in step again after it.
"""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass, field

from cobs import cobs

from firmware_bridge.protocol.generated import (
    CLASS_OF,
    PAYLOAD_MAX,
    TYPE_OF,
    AnyMessage,
    MessageType,
)

DELIMITER = b"\0"
_WIRE_MAX = PAYLOAD_MAX + 5
"""Longest frame without its delimiter: type, seq, payload, CRC and one byte of COBS."""
# Plain numbers: comparing with an enumeration costs ten times as much.
_HELLO, _TICK, _TICK_ACK = int(MessageType.HELLO), int(MessageType.TICK), int(MessageType.TICK_ACK)
_LAYOUTS = {number: (layout.size, layout.unpack, cls._make) for number, (layout, cls) in CLASS_OF.items()}


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE; of b"123456789" it is 0x29B1."""
    return crc_hqx(data, 0xFFFF)


def encode_frame(message_type: int, seq: int, payload: bytes) -> bytes:
    """Return the frame with its delimiter.

    Args:
        message_type: 1..255.
        seq: 0..255, counts the sender's frames.
        payload: at most PAYLOAD_MAX bytes.
    """
    raw = bytes((message_type, seq)) + payload
    return bytes(cobs.encode(raw + crc_hqx(raw, 0xFFFF).to_bytes(2, "little"))) + DELIMITER


class FrameEncoder:
    """Numbers and frames one end's messages."""

    def __init__(self) -> None:
        self.frames = 0

    def encode(self, message: AnyMessage) -> bytes:
        """Return the message's frame with the next sequence number."""
        frame = encode_frame(TYPE_OF[type(message)], self.frames & 0xFF, message.pack())
        self.frames += 1
        return frame


@dataclass(slots=True)
class RxCounters:
    """What a receiver has seen; the names are those of HEALTH."""

    rx_ok: int = 0
    crc_errors: int = 0
    cobs_errors: int = 0
    length_errors: int = 0
    sequence_gaps: int = 0
    overruns: int = 0


@dataclass(slots=True)
class FrameDecoder:
    """Turns bytes, in pieces of any size, into messages; what is not a good frame is counted and skipped."""

    counters: RxCounters = field(default_factory=RxCounters)
    _rest: bytes = b""
    _too_long: bool = False
    _expected_seq: int = -1

    def feed(self, data: bytes) -> list[AnyMessage]:
        """Return the messages that these bytes complete, in order."""
        *wires, rest = (self._rest + data).split(DELIMITER)
        messages: list[AnyMessage] = []
        for wire in wires:
            if self._too_long or len(wire) > _WIRE_MAX:
                self._too_long = False
                self.counters.overruns += 1
            elif wire:
                message = self._decode(wire)
                if message is not None:
                    messages.append(message)
        if len(rest) > _WIRE_MAX:  # no delimiter in sight: remember only that
            self._too_long = True
            rest = b""
        self._rest = rest
        return messages

    def _decode(self, wire: bytes) -> AnyMessage | None:
        counters = self.counters
        try:
            raw = cobs.decode(wire)
        except cobs.DecodeError:
            counters.cobs_errors += 1
            return None
        if not raw:  # the device's decoder has no other word for it
            counters.cobs_errors += 1
            return None
        if len(raw) < 4:
            counters.length_errors += 1
            return None
        if crc_hqx(raw[:-2], 0xFFFF) != raw[-2] | raw[-1] << 8:
            counters.crc_errors += 1
            return None
        message_type, seq, payload = raw[0], raw[1], raw[2:-2]
        layout = _LAYOUTS.get(message_type)
        if layout is None:
            counters.length_errors += 1
            return None
        size, unpack, make = layout
        if message_type == _HELLO and len(payload) >= 4:
            # Another version's HELLO may have another length, and a sender that has just started counts from 0.
            payload = payload.ljust(size, b"\0")[:size]
            self._expected_seq = seq
        elif len(payload) != size:
            counters.length_errors += 1
            return None
        if message_type != _TICK and message_type != _TICK_ACK:  # those two are out of band
            if seq != self._expected_seq and self._expected_seq >= 0:
                counters.sequence_gaps += (seq - self._expected_seq) & 0xFF
            self._expected_seq = (seq + 1) & 0xFF
            counters.rx_ok += 1
        return make(unpack(payload))
