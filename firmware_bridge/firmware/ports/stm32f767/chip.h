/* The chip's services for main.c: clocks, time, the serial port, the watchdog. */
#ifndef CHIP_H
#define CHIP_H

#include "../../core/blk_core.h"

void chip_init(void);
uint64_t chip_time_us(void);
uint32_t chip_random(void);
void chip_feed_watchdog(void);

/* Hands newly received bytes to the core, and the errors that the receiver saw. */
void chip_receive(blk_core_t *core);

/* Starts the next transfer when the last one is done. */
void chip_transmit(blk_core_t *core);

#endif
