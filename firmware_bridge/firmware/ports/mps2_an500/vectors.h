/* The board's own interrupts for the common startup.c. */
#ifndef VECTORS_H
#define VECTORS_H

void uart0_rx_handler(void);

#define CHIP_VECTORS                                                                                                   \
    [CORE_VECTORS + 0] = uart0_rx_handler,                                                                             \
    [CORE_VECTORS + 1 ... CORE_VECTORS + 31] = fault_handler,

#endif
