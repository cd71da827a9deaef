/* What a board's wiring decides. One file per board implements it; `board_bare.c` is the one with nothing connected. */
#ifndef BOARD_H
#define BOARD_H

#include "../../core/blk_core.h"

#define BOARD_HSE_HZ 8000000u  /* crystal; must be a whole number of MHz */
#define BOARD_BAUD 921600u     /* these three as in the host's link.baud, link.parity and link.stop_bits */
#define BOARD_PARITY 0         /* 0 none, 1 even, 2 odd */
#define BOARD_STOP_BITS 1      /* 1 or 2 */

/* Sets up pins, encoder timers, PWM, SPI for the IMU, ADC; called once, with the clocks running.
 * So does the watchdog already: what takes more than 20 ms calls chip_feed_watchdog() meanwhile. */
void board_init(void);

/* Reads all sensors; at most 200 us. Encoder counts are extended to 32 bit here. */
void board_read(blk_sensors_t *sensors);

/* Drives the bridges, the charger and the kicker; called each cycle, and with zeros when the core has crashed. In a
 * reset nobody calls it: the pins float, and the board's own resistors must hold all of it off. */
void board_write(const blk_actuators_t *actuators);

#endif
