/* The core as a shared library: several robots in one process, driven in lockstep by whoever holds them. */
#include "../../core/blk_core.h"

#include <string.h>

size_t blk_lib_size(void);
void blk_lib_step(blk_core_t *core, uint32_t dt_us, const blk_sensors_t *sensors, blk_actuators_t *out);
void blk_lib_receive(blk_core_t *core, const uint8_t *data, size_t size);
void blk_lib_init(blk_core_t *core, uint32_t boot_id, const char *revision);

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
