/* The chip's own interrupts for the common startup.c (RM0410, table 46). */
#ifndef VECTORS_H
#define VECTORS_H

#include "regs.h"

void usart1_handler(void);
void dma2_stream7_handler(void);

#define CHIP_VECTORS                                                                                                   \
    [CORE_VECTORS + 0 ... CORE_VECTORS + IRQ_USART1 - 1] = fault_handler,                                              \
    [CORE_VECTORS + IRQ_USART1] = usart1_handler,                                                                      \
    [CORE_VECTORS + IRQ_USART1 + 1 ... CORE_VECTORS + IRQ_DMA2_STREAM7 - 1] = fault_handler,                           \
    [CORE_VECTORS + IRQ_DMA2_STREAM7] = dma2_stream7_handler,                                                          \
    [CORE_VECTORS + IRQ_DMA2_STREAM7 + 1 ... CORE_VECTORS + 109] = fault_handler,

#endif
