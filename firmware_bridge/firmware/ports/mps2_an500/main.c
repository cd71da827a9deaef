/* The core on QEMU's mps2-an500: a Cortex-M7 with a one-byte UART, a timer, and no robot around it. In lockstep the
 * sensors come with TICK; in free run they say that the robot stands still with a full battery. */
#include "../../core/blk_core.h"

#include <string.h>

#ifndef BLK_REVISION
#define BLK_REVISION "unknown"
#endif

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define TIMER0_CTRL REG(0x40000000u)
#define TIMER0_VALUE REG(0x40000004u)
#define TIMER0_RELOAD REG(0x40000008u)
#define UART0_DATA REG(0x40004000u)
#define UART0_STATE REG(0x40004004u)
#define UART0_CTRL REG(0x40004008u)
#define UART0_INTCLEAR REG(0x4000400Cu)
#define UART0_BAUDDIV REG(0x40004010u)
#define SYSTICK_CSR REG(0xE000E010u)
#define SYSTICK_RVR REG(0xE000E014u)
#define SYSTICK_CVR REG(0xE000E018u)
#define NVIC_ISER0 REG(0xE000E100u)

#define TX_FULL (1u << 0)
#define RX_FULL (1u << 1)
#define RX_OVERRUN (1u << 3)
#define CLOCK_MHZ 25u
#define PERIOD_US 1000u
#define RX_SIZE 1024u /* a power of two */

void port_stop(void);
void systick_handler(void);
void uart0_rx_handler(void);

static blk_core_t core;
static uint8_t rx_ring[RX_SIZE];
static volatile uint32_t rx_head, rx_lost, rx_overrun;
static volatile uint32_t awake; /* something to do: a frame's end or a millisecond; each look at a device costs QEMU much */
static uint32_t rx_tail;

void port_stop(void) /* nothing is driven here */
{
}

void systick_handler(void) /* time itself comes from TIMER0 */
{
    awake = 1u;
}

void uart0_rx_handler(void)
{
    UART0_INTCLEAR = 2u;
    if ((UART0_STATE & RX_OVERRUN) != 0u) {
        UART0_STATE = RX_OVERRUN;
        rx_overrun++;
    }
    while ((UART0_STATE & RX_FULL) != 0u) {
        const uint8_t byte = (uint8_t)UART0_DATA;
        if (rx_head - rx_tail < RX_SIZE) {
            rx_ring[rx_head % RX_SIZE] = byte;
            rx_head++;
            awake |= byte == 0u ? 1u : 0u;
        } else {
            rx_lost++;
        }
    }
}

static uint64_t time_us(void)
{
    static uint32_t last = 0xFFFFFFFFu;
    static uint64_t cycles;
    const uint32_t now = TIMER0_VALUE; /* counts down, and wraps every 171 s */
    const uint32_t passed = last - now;
    cycles += passed;
    last = now;
    return cycles / CLOCK_MHZ;
}

static void receive(void)
{
    core.uart_overrun = rx_overrun;
    core.rx_ring_overflow = rx_lost;
    const uint64_t now_us = time_us();
    while (rx_tail != rx_head) {
        blk_core_receive(&core, now_us, &rx_ring[rx_tail % RX_SIZE], 1u);
        rx_tail++;
    }
}

static void transmit(void)
{
    uint8_t byte;
    while ((UART0_STATE & TX_FULL) == 0u && blk_core_transmit(&core, &byte, 1u) != 0u) {
        UART0_DATA = byte;
    }
}

int main(void)
{
    const blk_sensors_t sensors = {.battery_v = 24.0f};
    blk_actuators_t actuators;
    const char revision[] = BLK_REVISION;
    TIMER0_RELOAD = 0xFFFFFFFFu;
    TIMER0_VALUE = 0xFFFFFFFFu;
    TIMER0_CTRL = 1u;
    UART0_BAUDDIV = 16u;
    UART0_CTRL = (1u << 3) | (1u << 1) | (1u << 0); /* receive interrupt, receiver, transmitter */
    NVIC_ISER0 = 1u;
    SYSTICK_RVR = CLOCK_MHZ * 1000u - 1u;
    SYSTICK_CVR = 0u;
    SYSTICK_CSR = 7u;
    blk_core_init(&core, (uint32_t)time_us() + 1u); /* no random numbers here */
    memcpy(core.revision, revision, sizeof revision - 1u < sizeof core.revision ? sizeof revision - 1u : sizeof core.revision);
    uint64_t due_us = time_us();
    for (;;) {
        receive();
        const uint64_t now_us = time_us();
        if (now_us >= due_us) {
            due_us = due_us + PERIOD_US > now_us + PERIOD_US / 2u ? due_us + PERIOD_US : now_us + PERIOD_US / 2u;
            blk_core_step(&core, now_us, &sensors, &actuators);
        }
        transmit();
        /* With interrupts held back, so that what comes between the look and the sleep still wakes us. */
        __asm volatile("cpsid i" ::: "memory");
        while (awake == 0u) {
            __asm volatile("wfi\n cpsie i\n isb\n cpsid i" ::: "memory");
        }
        awake = 0u;
        __asm volatile("cpsie i" ::: "memory");
    }
}
