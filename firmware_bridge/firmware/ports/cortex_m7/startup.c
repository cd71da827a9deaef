/* Vectors and reset of both Cortex-M7 ports: copy .data, clear .bss, switch the FPU on, go. Which of the chip's own
 * interrupts are used is in the port's vectors.h. */
#include <stdint.h>
#include <string.h>

extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _estack[];
int main(void);
void reset_handler(void);
void fault_handler(void);
void systick_handler(void);
void port_stop(void);

#define CORE_VECTORS 16 /* in front of the chip's own */

#include "vectors.h"

/* Any fault: outputs off, then nothing. The F767's independent watchdog resets it, in about 50 ms, into the stopped
 * state; of QEMU's board the host hears no more. */
void fault_handler(void)
{
    port_stop();
    for (;;) {
    }
}

__attribute__((noreturn)) void reset_handler(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to the FPU */
    __asm volatile("dsb\n isb");
    memcpy(_sdata, _sidata, (size_t)((uint8_t *)_edata - (uint8_t *)_sdata));
    memset(_sbss, 0, (size_t)((uint8_t *)_ebss - (uint8_t *)_sbss));
    (void)main();
    for (;;) {
    }
}

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const vector_t vectors[] = {
    [0] = (vector_t)(uintptr_t)_estack,
    [1] = reset_handler,
    [2 ... 14] = fault_handler,
    [15] = systick_handler,
    CHIP_VECTORS
};
