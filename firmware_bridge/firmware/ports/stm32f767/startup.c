/* Vectors and reset: copy .data, clear .bss, switch the FPU on, go. */
#include <stdint.h>
#include <string.h>

extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _estack[];
int main(void);
void reset_handler(void);
void fault_handler(void);
void systick_handler(void);
void usart1_handler(void);
void dma2_stream7_handler(void);

/* Any fault: do nothing until the independent watchdog resets us, within 50 ms, into the stopped state. */
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
__attribute__((section(".vectors"), used)) static const vector_t vectors[EXTERNAL + 98] = {
    [0] = (vector_t)(uintptr_t)_estack,
    [1] = reset_handler,
    [2 ... 14] = fault_handler,
    [15] = systick_handler,
    [EXTERNAL + 0 ... EXTERNAL + 36] = fault_handler,
    [EXTERNAL + 37] = usart1_handler,
    [EXTERNAL + 38 ... EXTERNAL + 69] = fault_handler,
    [EXTERNAL + 70] = dma2_stream7_handler,
    [EXTERNAL + 71 ... EXTERNAL + 97] = fault_handler,
};
