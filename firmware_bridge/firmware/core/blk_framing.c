#include "blk_framing.h"

#include <string.h>

uint16_t blk_crc16(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xFFFFu;
    for (size_t i = 0; i < size; i++) {
        /* One byte at a time without a table: 6 operations, and 512 bytes of flash saved. */
        uint32_t x = ((crc >> 8) ^ data[i]) & 0xFFu;
        x ^= x >> 4;
        crc = ((crc << 8) ^ (x << 12) ^ (x << 5) ^ x) & 0xFFFFu;
    }
    return (uint16_t)crc;
}

size_t blk_frame_encode(uint8_t type, uint8_t seq, const void *payload, size_t size, uint8_t *wire)
{
    uint8_t raw[BLK_RAW_MAX] = {0};
    if (size > BLK_PAYLOAD_MAX) {
        return 0;
    }
    raw[0] = type;
    raw[1] = seq;
    if (size > 0u) {
        memcpy(&raw[2], payload, size);
    }
    const uint16_t crc = blk_crc16(raw, size + 2u);
    raw[size + 2u] = (uint8_t)(crc & 0xFFu);
    raw[size + 3u] = (uint8_t)(crc >> 8);

    size_t code_at = 0; /* COBS: each zero becomes the distance to the next one */
    size_t out = 1;
    for (size_t i = 0; i < size + 4u; i++) {
        if (raw[i] == 0u) {
            wire[code_at] = (uint8_t)(out - code_at);
            code_at = out++;
        } else {
            wire[out++] = raw[i];
        }
    }
    wire[code_at] = (uint8_t)(out - code_at);
    wire[out++] = 0;
    return out;
}

/* Decodes in place; returns the decoded length, or 0 when the bytes are not COBS. */
static size_t cobs_decode(uint8_t *data, size_t size)
{
    size_t in = 0;
    size_t out = 0;
    while (in < size) {
        const size_t code = data[in++];
        if (code == 0u || code - 1u > size - in) {
            return 0;
        }
        /* What is written never overtakes what is read; the bounds on `out` only help the prover. */
        for (size_t i = 1; i < code && in < size && out < BLK_RAW_MAX; i++) {
            data[out++] = data[in++];
        }
        if (code != 0xFFu && in < size && out < BLK_RAW_MAX) {
            data[out++] = 0;
        }
    }
    return out;
}

int blk_decoder_push(blk_decoder_t *decoder, uint8_t byte, blk_frame_t *frame)
{
    if (byte != 0u) {
        if (decoder->used < sizeof decoder->buffer) {
            decoder->buffer[decoder->used++] = byte;
        } else {
            decoder->too_long = 1;
        }
        return 0;
    }
    const size_t wire_size = decoder->used;
    const uint8_t too_long = decoder->too_long;
    decoder->used = 0;
    decoder->too_long = 0;
    if (too_long != 0u) {
        decoder->counters.overruns++;
        return 0;
    }
    if (wire_size == 0u || wire_size > sizeof decoder->buffer) {
        return 0; /* an idle delimiter; the second test only helps the prover */
    }
    const size_t size = cobs_decode(decoder->buffer, wire_size);
    if (size == 0u) {
        decoder->counters.cobs_errors++;
        return 0;
    }
    if (size < 4u) {
        decoder->counters.length_errors++;
        return 0;
    }
    const uint8_t *raw = decoder->buffer;
    if (blk_crc16(raw, size - 2u) != (uint16_t)(raw[size - 2u] | (raw[size - 1u] << 8))) {
        decoder->counters.crc_errors++;
        return 0;
    }
    const size_t payload_size = size - 4u;
    const int expected_size = blk_payload_size(raw[0]);
    /* Another version's HELLO may be longer or shorter; its hash, the first four bytes, is what tells. */
    const int hello = raw[0] == BLK_MSG_HELLO && payload_size >= 4u;
    if (!hello && (expected_size < 0 || payload_size != (size_t)expected_size)) {
        decoder->counters.length_errors++;
        return 0;
    }
    if (raw[0] != BLK_MSG_TICK) { /* TICK is out of band: not numbered, not counted */
        if (decoder->seen != 0u && !hello) { /* a HELLO may come from a sender that has just started to count */
            decoder->counters.sequence_gaps += (uint8_t)(raw[1] - decoder->expected_seq);
        }
        decoder->seen = 1;
        decoder->expected_seq = (uint8_t)(raw[1] + 1u);
        decoder->counters.rx_ok++;
    }
    frame->type = raw[0];
    frame->seq = raw[1];
    frame->size = payload_size;
    frame->payload = &raw[2];
    return 1;
}
