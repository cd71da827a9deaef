"""The two codecs, Python's and C's, agree on every byte: on good frames, on damaged ones and on noise."""

from __future__ import annotations

import ctypes

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.firmware.library import load_library
from firmware_bridge.link.framing import FrameDecoder, crc16, encode_frame
from firmware_bridge.protocol.generated import CLASS_OF, PAYLOAD_MAX, TYPE_OF, MessageType
from tests.firmware_bench import need_gcc
from tests.unit.test_link_framing import any_message

COUNTERS = ("rx_ok", "crc_errors", "cobs_errors", "length_errors", "sequence_gaps", "overruns")


class CDecoder:
    def __init__(self) -> None:
        need_gcc()
        self.library = load_library()
        self.decoder = ctypes.create_string_buffer(self.library.blk_lib_decoder_size())

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        room = 65536
        out = ctypes.create_string_buffer(room)
        used = self.library.blk_lib_decode(self.decoder, data, len(data), out, room)
        frames, at = [], 0
        while at < used:
            size = out.raw[at + 2]
            frames.append((out.raw[at], out.raw[at + 3 : at + 3 + size]))
            at += 3 + size
        return frames

    def counters(self) -> tuple[int, ...]:
        return tuple(self.library.blk_lib_counters(self.decoder)[i] for i in range(len(COUNTERS)))


def c_encode(message_type: int, seq: int, payload: bytes) -> bytes:
    wire = ctypes.create_string_buffer(PAYLOAD_MAX + 16)
    n = load_library().blk_frame_encode(message_type, seq, payload, len(payload), wire)
    return wire.raw[:n]


@settings(deadline=None)
@given(message=any_message(), seq=st.integers(0, 255))
def test_both_encode_the_same_bytes(message: object, seq: int) -> None:
    need_gcc()
    message_type, payload = TYPE_OF[type(message)], message.pack()  # type: ignore[index, attr-defined]
    wire = encode_frame(message_type, seq, payload)
    assert c_encode(message_type, seq, payload) == wire
    assert CDecoder().feed(wire) == [(message_type, payload)]


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_same_crc(data: bytes) -> None:
    need_gcc()
    assert load_library().blk_crc16(data, len(data)) == crc16(data)


@st.composite
def damaged_stream(draw: st.DrawFn) -> bytes:
    out = b""
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            message = draw(any_message())
            wire = bytearray(encode_frame(TYPE_OF[type(message)], draw(st.integers(0, 255)), message.pack()))
        else:  # frames of any type and length, and plain noise
            body = draw(st.binary(max_size=120))
            wire = bytearray(encode_frame(draw(st.integers(0, 255)), 0, body[:80]) if draw(st.booleans()) else body)
        for _ in range(draw(st.integers(0, 2))):
            if wire:
                at = draw(st.integers(0, len(wire) - 1))
                kind = draw(st.sampled_from(("flip", "drop", "twice")))
                if kind == "flip":
                    wire[at] ^= 1 << draw(st.integers(0, 7))
                elif kind == "drop":
                    del wire[at]
                else:
                    wire.insert(at, wire[at])
        out += bytes(wire)
    return out


@settings(max_examples=300, deadline=None)
@given(stream=damaged_stream(), cut=st.integers(0, 500))
def test_both_decode_the_same_frames_and_count_the_same_damage(stream: bytes, cut: int) -> None:
    python, c = FrameDecoder(), CDecoder()
    messages = python.feed(stream[:cut]) + python.feed(stream[cut:])
    frames = c.feed(stream[:cut]) + c.feed(stream[cut:])
    assert [TYPE_OF[type(m)] for m in messages] == [t for t, _ in frames]
    for message, (message_type, payload) in zip(messages, frames, strict=True):
        size = CLASS_OF[message_type][0].size
        assert message.pack() == payload.ljust(size, b"\0")[:size] or any(v != v for v in message)
    # A device only ever receives TICK out of band, a host TICK_ACK: elsewhere the counting must agree too.
    if not {MessageType.TICK, MessageType.TICK_ACK} & {t for t, _ in frames}:
        assert tuple(getattr(python.counters, name) for name in COUNTERS) == c.counters()
