/* Frames on the wire: COBS(type, seq, payload, CRC-16 little-endian) and a zero byte. */
#ifndef BLK_FRAMING_H
#define BLK_FRAMING_H

#include "generated/blk_protocol.h"

#define BLK_RAW_MAX (BLK_PAYLOAD_MAX + 4u)
#define BLK_WIRE_MAX (BLK_RAW_MAX + 2u)
_Static_assert(BLK_RAW_MAX <= 254u, "one COBS block, so that its overhead is one byte");

typedef struct {
    uint32_t rx_ok, crc_errors, cobs_errors, length_errors, sequence_gaps, overruns;
} blk_rx_counters_t;

typedef struct {
    uint8_t buffer[BLK_RAW_MAX + 1u];
    size_t used;
    uint8_t too_long, seen, expected_seq;
    blk_rx_counters_t counters;
} blk_decoder_t;

typedef struct {
    uint8_t type, seq;
    size_t size;
    const uint8_t *payload; /* inside the decoder: valid until the next byte is pushed */
} blk_frame_t;

/* CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF; "123456789" gives 0x29B1. */
uint16_t blk_crc16(const uint8_t *data, size_t size);

/* Writes a whole frame to `wire` (room for BLK_WIRE_MAX) and returns its length; 0 when the payload is too long. */
size_t blk_frame_encode(uint8_t type, uint8_t seq, const void *payload, size_t size, uint8_t *wire);

/* Takes one byte; returns 1 when it completed a good frame, which is then in `frame`. */
int blk_decoder_push(blk_decoder_t *decoder, uint8_t byte, blk_frame_t *frame);

#endif
