/* libFuzzer: any bytes at any times, on a core that has shaken hands, with control cycles in between; and what one end
 * encodes the other must decode. ASan and UBSan watch; the assertions are the safety properties. */
#include "../core/blk_core.h"
#include "../core/blk_math.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const uint8_t *data, size_t size)
{
    blk_decoder_t decoder = {0};
    blk_frame_t frame;
    uint8_t wire[BLK_WIRE_MAX];
    const uint8_t type = (uint8_t)(data[0] % 16u);
    const int wanted = blk_payload_size(type);
    const size_t used = wanted >= 0 ? (size_t)wanted : size - 1u;
    if (used > size - 1u) {
        return;
    }
    const size_t length = blk_frame_encode(type, 7u, &data[1], used, wire);
    assert((length == 0u) == (used > BLK_PAYLOAD_MAX));
    int found = 0;
    for (size_t i = 0; i < length; i++) {
        found += blk_decoder_push(&decoder, wire[i], &frame);
    }
    if (wanted >= 0) {
        assert(found == 1 && frame.type == type && frame.size == used && memcmp(frame.payload, &data[1], used) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static blk_core_t core;
    uint8_t wire[BLK_WIRE_MAX], out[256];
    blk_actuators_t act;
    blk_sensors_t sensors = {.battery_v = 24.0f};
    uint64_t t_us = 0;
    uint8_t seq = 0;
    if (size < 2u) {
        return 0;
    }
    round_trip(data, size);
    blk_core_init(&core, 1u);
    const blk_hello_t hello = {.schema_hash = BLK_SCHEMA_HASH};
    blk_core_receive(&core, t_us, wire, blk_frame_encode(BLK_MSG_HELLO, seq++, &hello, sizeof hello, wire));
    for (size_t at = 0; at + 2u <= size;) {
        /* One byte says what comes: raw bytes, a frame with a good CRC around raw bytes, or so many cycles. */
        const uint8_t what = data[at++];
        size_t n = (size_t)what & 63u;
        n = n < size - at ? n : size - at;
        if (what < 64u) {
            blk_core_receive(&core, t_us, &data[at], n);
            at += n;
        } else if (what < 192u) {
            const uint8_t type = (uint8_t)(data[at] % 16u);
            const int wanted = blk_payload_size(type);
            uint8_t payload[BLK_PAYLOAD_MAX] = {0};
            const size_t length = wanted > 0 ? (size_t)wanted : 0u;
            memcpy(payload, &data[at], length < n ? length : n);
            at += length < n ? length : n;
            blk_core_receive(&core, t_us, wire, blk_frame_encode(type, seq++, payload, length, wire));
        } else {
            for (size_t i = 0; i < n; i++) {
                t_us += 1000u;
                sensors.wheel_ticks[i % BLK_WHEELS] += (int32_t)what;
                sensors.break_beam = what & 1u;
                sensors.kicker_v = (float)what;
                sensors.current_a = (float)(what & 63u);
                blk_core_step(&core, t_us, &sensors, &act);
                for (int w = 0; w < BLK_WHEELS; w++) {
                    assert(blk_abs(act.wheel_duty[w]) <= 1.0f); /* false for NaN too */
                }
                assert(blk_abs(act.dribbler_duty) <= 1.0f);
                assert(act.kick_speed_m_s >= 0.0f && act.kick_speed_m_s <= 6.5f);
                /* After a TICK the cycles are those of the TICKs: this call did nothing. */
                assert(core.state == BLK_ARMED || (act.charge == 0u && act.kick_flat_us + act.kick_chip_us == 0u));
                assert(core.lockstep || core.state != BLK_ARMED || core.estop_cause == BLK_ESTOP_CAUSE_NONE);
            }
        }
        while (blk_core_transmit(&core, out, sizeof out) != 0u) {
        }
    }
    return 0;
}
