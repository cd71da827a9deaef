/* The core as a shared library: several robots in one process, driven in lockstep by whoever holds them. */
#include "../../core/blk_core.h"

#include <string.h>

size_t blk_lib_size(void);
void blk_lib_step(blk_core_t *core, uint32_t dt_us, const blk_sensors_t *sensors, blk_actuators_t *out);
void blk_lib_receive(blk_core_t *core, const uint8_t *data, size_t size);
void blk_lib_init(blk_core_t *core, uint32_t boot_id, const char *revision);
size_t blk_lib_decoder_size(void);
size_t blk_lib_decode(blk_decoder_t *decoder, const uint8_t *data, size_t size, uint8_t *out, size_t room);
const blk_rx_counters_t *blk_lib_counters(const blk_decoder_t *decoder);

size_t blk_lib_size(void)
{
    return sizeof(blk_core_t);
}

void blk_lib_init(blk_core_t *core, uint32_t boot_id, const char *revision)
{
    blk_core_init(core, boot_id);
    for (size_t i = 0; i < sizeof core->revision && revision[i] != '\0'; i++) {
        core->revision[i] = revision[i];
    }
}

void blk_lib_step(blk_core_t *core, uint32_t dt_us, const blk_sensors_t *sensors, blk_actuators_t *out)
{
    blk_core_step(core, core->t_us + dt_us, sensors, out);
}

void blk_lib_receive(blk_core_t *core, const uint8_t *data, size_t size)
{
    blk_core_receive(core, core->t_us, data, size);
}

size_t blk_lib_decoder_size(void)
{
    return sizeof(blk_decoder_t);
}

/* Writes each accepted frame as type, seq, size, payload; for the comparison with the Python codec. */
size_t blk_lib_decode(blk_decoder_t *decoder, const uint8_t *data, size_t size, uint8_t *out, size_t room)
{
    size_t used = 0;
    blk_frame_t frame;
    for (size_t i = 0; i < size; i++) {
        if (blk_decoder_push(decoder, data[i], &frame) != 0 && used + frame.size + 3u <= room) {
            out[used++] = frame.type;
            out[used++] = frame.seq;
            out[used++] = (uint8_t)frame.size;
            memcpy(&out[used], frame.payload, frame.size);
            used += frame.size;
        }
    }
    return used;
}

const blk_rx_counters_t *blk_lib_counters(const blk_decoder_t *decoder)
{
    return &decoder->counters;
}
