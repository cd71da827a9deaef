/* STM32F767: the main loop. Bytes as they come, a control cycle each millisecond, sleep in between. */
#include "board.h"
#include "chip.h"

#include <string.h>

#ifndef BLK_REVISION
#define BLK_REVISION "unknown"
#endif

#define PERIOD_US 1000u

static blk_core_t core;

void port_stop(void);

void port_stop(void) /* by startup.c, when the core has crashed */
{
    static const blk_actuators_t off;
    board_write(&off);
}

int main(void)
{
    blk_sensors_t sensors;
    blk_actuators_t actuators;
    const char revision[] = BLK_REVISION;
    chip_init();
    board_init();
    blk_core_init(&core, chip_random());
    memcpy(core.revision, revision, sizeof revision - 1u < sizeof core.revision ? sizeof revision - 1u : sizeof core.revision);
    uint64_t due_us = chip_time_us();
    for (;;) {
        chip_receive(&core);
        const uint64_t now_us = chip_time_us();
        if (now_us >= due_us) {
            due_us = due_us + PERIOD_US > now_us + PERIOD_US / 2u ? due_us + PERIOD_US : now_us + PERIOD_US / 2u;
            board_read(&sensors);
            blk_core_step(&core, now_us, &sensors, &actuators);
            board_write(&actuators);
            chip_feed_watchdog();
        }
        chip_transmit(&core);
        __asm volatile("wfi");
    }
}
