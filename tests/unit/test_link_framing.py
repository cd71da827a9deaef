"""Frames: what goes in comes out, however it is cut; what is damaged never comes out."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.link.framing import FrameDecoder, FrameEncoder, crc16, encode_frame
from firmware_bridge.protocol.generated import CLASS_OF, PAYLOAD_MAX, AnyMessage, HealthRequest, ParamGet, Telemetry

_BY_CODE = {
    "B": st.integers(0, 2**8 - 1),
    "H": st.integers(0, 2**16 - 1),
    "I": st.integers(0, 2**32 - 1),
    "Q": st.integers(0, 2**64 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "f": st.floats(width=32, allow_nan=False),
}


@st.composite
def any_message(draw: st.DrawFn) -> AnyMessage:
    layout, cls = CLASS_OF[draw(st.sampled_from(sorted(CLASS_OF)))]
    values: list[object] = []
    digits = ""
    for code in layout.format[1:]:
        if code.isdigit():
            digits += code
        elif code == "s":
            values.append(draw(st.binary(min_size=int(digits), max_size=int(digits))))
            digits = ""
        else:
            values.append(draw(_BY_CODE[code]))
    return cls(*values)  # type: ignore[arg-type]


def test_crc_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


@settings(deadline=None)
@given(messages=st.lists(any_message(), max_size=6), cuts=st.lists(st.integers(0, 700), max_size=8))
def test_round_trip_in_any_pieces(messages: list[AnyMessage], cuts: list[int]) -> None:
    encoder, decoder = FrameEncoder(), FrameDecoder()
    wire = b"".join(encoder.encode(m) for m in messages)
    out: list[AnyMessage] = []
    edges = [0, *sorted(min(c, len(wire)) for c in cuts), len(wire)]
    for start, end in itertools.pairwise(edges):
        out += decoder.feed(wire[start:end])
    assert out == messages
    counters = decoder.counters
    assert (counters.crc_errors, counters.cobs_errors, counters.length_errors, counters.overruns) == (0, 0, 0, 0)


@settings(deadline=None)
@given(message=any_message())
def test_no_zero_inside_a_frame(message: AnyMessage) -> None:
    wire = FrameEncoder().encode(message)
    assert wire.count(0) == 1
    assert wire[-1] == 0
    assert len(wire) <= PAYLOAD_MAX + 6


@settings(deadline=None)
@given(message=any_message(), data=st.data())
def test_one_flipped_bit_is_always_detected(message: AnyMessage, data: st.DataObject) -> None:
    wire = bytearray(FrameEncoder().encode(message))
    where = data.draw(st.integers(0, 8 * (len(wire) - 1) - 1))
    wire[where // 8] ^= 1 << (where % 8)
    assert FrameDecoder().feed(bytes(wire)) == []


@settings(max_examples=50, deadline=None)
@given(noise=st.binary(max_size=600), message=any_message())
def test_noise_is_never_accepted_and_the_next_frame_is(noise: bytes, message: AnyMessage) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(noise + b"\0") == []
    assert decoder.feed(FrameEncoder().encode(message)) == [message]
    assert decoder.counters.rx_ok <= 1


def test_every_kind_of_damage_has_its_counter() -> None:
    encoder, decoder = FrameEncoder(), FrameDecoder()
    good = encoder.encode(ParamGet(7))
    decoder.feed(good)
    decoder.feed(good[:1] + bytes((good[1] ^ 0x40,)) + good[2:])
    decoder.feed(b"\x09ab\0")
    decoder.feed(encode_frame(99, 1, b""))
    decoder.feed(encode_frame(6, 1, b"too long"))
    decoder.feed(b"x" * 500)
    decoder.feed(b"x" * 500 + b"\0")
    encoder.encode(HealthRequest())  # lost on the way
    encoder.encode(HealthRequest())
    decoder.feed(encoder.encode(ParamGet(7)))
    c = decoder.counters
    assert (c.rx_ok, c.crc_errors, c.cobs_errors, c.length_errors, c.overruns, c.sequence_gaps) == (2, 1, 1, 2, 1, 2)


def test_memory_is_bounded_without_a_delimiter() -> None:
    decoder = FrameDecoder()
    for _ in range(1000):
        decoder.feed(b"\x55" * 1000)
    assert len(decoder._rest) < 1000


def test_damaged_stream_yields_only_what_was_sent() -> None:
    random = np.random.default_rng(1)
    encoder, decoder = FrameEncoder(), FrameDecoder()
    sent = set()
    for i in range(3000):
        message = Telemetry(i, *random.standard_normal(16).astype(np.float32).tolist(), 1, 0, i, i, i)
        sent.add(message)
        wire = bytearray(encoder.encode(message))
        for at in np.nonzero(random.random(len(wire)) < 0.01)[0]:
            wire[at] ^= 1 << int(random.integers(8))
        assert sent.issuperset(decoder.feed(bytes(wire)))
    assert decoder.counters.crc_errors > 500
