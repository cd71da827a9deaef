/* A board with nothing connected: the link works, the battery reads zero, so it latches a stop after a second and
 * never drives. Copy this file for a real board and fill in:
 *   encoders  TIM1, TIM3, TIM4, TIM8 in encoder mode (SMCR.SMS = 3); add (int16_t)(CNT - last) to a 32-bit sum
 *   IMU       SPI at <= 10 MHz, data-ready on an EXTI line; gyro z in rad/s, acceleration along body x and y in m/s2
 *   bridges   center-aligned PWM at 20..40 kHz; duty 0 shorts the motor (both low sides on)
 *   battery, capacitor   ADC with the divider of the board; current by a shunt or Hall sensor, 0 A where there is none
 *   kicker    one-pulse timer per coil, so that a crashed core cannot hold it on; hardware interlock against charging
 */
#include "board.h"

#include <string.h>

void board_init(void)
{
}

void board_read(blk_sensors_t *sensors)
{
    memset(sensors, 0, sizeof *sensors);
}

void board_write(const blk_actuators_t *actuators)
{
    (void)actuators;
}
