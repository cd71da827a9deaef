/* Vectors and reset for the MPS2 board with AN500 (Cortex-M7), as QEMU models it. */
#include <stdint.h>
#include <string.h>

extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _estack[];
int main(void);
void reset_handler(void);
void fault_handler(void);
void systick_handler(void);
void uart0_rx_handler(void);

/* Any fault: stand still and say nothing; the host sees silence. */
void fault_handler(void)
{
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

#define EXTERNAL 16

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const vector_t vectors[EXTERNAL + 32] = {
    [0] = (vector_t)(uintptr_t)_estack,
    [1] = reset_handler,
    [2 ... 14] = fault_handler,
    [15] = systick_handler,
    [EXTERNAL + 0] = uart0_rx_handler,
    [EXTERNAL + 1 ... EXTERNAL + 31] = fault_handler,
};
