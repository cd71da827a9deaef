/* Clocks at 216 MHz, TIM2 as a free-running microsecond counter, USART1 with circular DMA and idle-line interrupt.
 * All RAM is DTCM, which is not cached: DMA and the core see the same bytes without any maintenance. */
#include "chip.h"
#include "board.h"
#include "regs.h"

#define PATIENCE 200000u
#define PCLK2_HZ 108000000u
#define RX_SIZE 1024u /* 11 ms at 921600 baud; it is emptied every millisecond */
#define TX_SIZE 256u
#define CR1_PARITY (BOARD_PARITY == 0 ? 0u : (1u << 12) | (1u << 10) | (BOARD_PARITY == 2 ? 1u << 9 : 0u)) /* a ninth bit */
#define CR2_STOP_BITS (BOARD_STOP_BITS == 2 ? 2u << 12 : 0u)

static uint8_t rx_ring[RX_SIZE];
static uint8_t tx_buffer[TX_SIZE];
static uint32_t rx_tail;
static volatile uint32_t line_errors[4]; /* ORE, FE, NE, PE: counted by the interrupt, collected by the main loop */

void systick_handler(void);
void usart1_handler(void);
void dma2_stream7_handler(void);

static int wait_for(const volatile uint32_t *reg, uint32_t bits)
{
    for (uint32_t i = 0; i < PATIENCE; i++) {
        if ((*reg & bits) == bits) {
            return 1;
        }
    }
    return 0;
}

static void start_clocks(void)
{
    RCC_APB1ENR |= (1u << 28) | (1u << 0); /* PWR, TIM2 */
    RCC_AHB1ENR |= (1u << 22) | (1u << 0); /* DMA2, GPIOA */
    RCC_AHB2ENR |= (1u << 6);              /* RNG */
    RCC_APB2ENR |= (1u << 4);              /* USART1 */
    RCC_CR |= (1u << 16);                  /* HSE; without a crystal we go on with the 1 % RC oscillator */
    const int crystal = wait_for(&RCC_CR, 1u << 17);
    const uint32_t source_mhz = crystal ? BOARD_HSE_HZ / 1000000u : 16u;
    RCC_PLLCFGR = source_mhz | (432u << 6) | (crystal ? 1u << 22 : 0u) | (9u << 24); /* 432 MHz / 2, / 9 for RNG */
    RCC_CR |= (1u << 24);
    PWR_CR1 |= (3u << 14) | (1u << 16); /* scale 1, over-drive: needed above 180 MHz */
    (void)wait_for(&PWR_CSR1, 1u << 16);
    PWR_CR1 |= (1u << 17);
    (void)wait_for(&PWR_CSR1, 1u << 17);
    FLASH_ACR = (1u << 9) | (1u << 8) | 7u;
    (void)wait_for(&FLASH_ACR, 7u);
    (void)wait_for(&RCC_CR, 1u << 25);
    RCC_CFGR = (5u << 10) | (4u << 13) | 2u; /* APB1 54 MHz, APB2 108 MHz, PLL */
    (void)wait_for(&RCC_CFGR, 2u << 2);
}

static void start_serial(void)
{
    GPIOA_MODER = (GPIOA_MODER & ~(0xFu << 18)) | (0xAu << 18); /* PA9 TX, PA10 RX, alternate function 7 */
    GPIOA_OSPEEDR |= 0xFu << 18;
    GPIOA_AFRH = (GPIOA_AFRH & ~(0xFFu << 4)) | (0x77u << 4);
    DMA2_S2PAR = USART1_RDR;
    DMA2_S2M0AR = (uint32_t)(uintptr_t)rx_ring;
    DMA2_S2NDTR = RX_SIZE;
    DMA2_S2CR = DMA_CHANNEL_4 | DMA_MINC | DMA_CIRCULAR | DMA_EN;
    DMA2_S7PAR = USART1_TDR;
    USART1_BRR = (PCLK2_HZ + BOARD_BAUD / 2u) / BOARD_BAUD;
    USART1_CR2 = CR2_STOP_BITS;
    USART1_CR3 = (1u << 7) | (1u << 6) | (1u << 0); /* DMA both ways, error interrupt */
    USART1_CR1 = CR1_PARITY | (1u << 8) | (1u << 4) | (1u << 3) | (1u << 2) | 1u; /* parity and idle interrupts, TX, RX, on */
    NVIC_ISER1 = 1u << (IRQ_USART1 - 32u);
    NVIC_ISER2 = 1u << (IRQ_DMA2_STREAM7 - 64u);
}

void chip_init(void)
{
    start_clocks();
    TIM2_PSC = 108u - 1u; /* APB1 timers run at 108 MHz */
    TIM2_ARR = 0xFFFFFFFFu;
    TIM2_EGR = 1u;
    TIM2_CR1 = 1u;
    start_serial();
    SYSTICK_RVR = 216000u - 1u;
    SYSTICK_CVR = 0u;
    SYSTICK_CSR = 7u; /* wakes the main loop each millisecond; time itself comes from TIM2 */
    IWDG_KR = 0xCCCCu;
    IWDG_KR = 0x5555u;
    IWDG_PR = 0u;
    IWDG_RLR = 400u; /* 50 ms: then reset, and the robot boots stopped */
    IWDG_KR = 0xAAAAu;
}

uint64_t chip_time_us(void)
{
    static uint32_t last, high;
    const uint32_t now = TIM2_CNT;
    if (now < last) {
        high++; /* every 71 minutes */
    }
    last = now;
    return ((uint64_t)high << 32) | now;
}

uint32_t chip_random(void)
{
    RNG_CR = 1u << 2;
    return wait_for(&RNG_SR, 1u) ? RNG_DR : TIM2_CNT;
}

void chip_feed_watchdog(void)
{
    IWDG_KR = 0xAAAAu;
}

void chip_receive(blk_core_t *core)
{
    core->uart_overrun = line_errors[0];
    core->uart_framing = line_errors[1];
    core->uart_noise = line_errors[2];
    core->uart_parity = line_errors[3];
    const uint32_t wrapped = DMA2_LISR & DMA2_TCIF2;
    const uint32_t head = (RX_SIZE - DMA2_S2NDTR) % RX_SIZE;
    if (wrapped != 0u || head < rx_tail) {
        DMA2_LIFCR = DMA2_TCIF2; /* also when it wrapped between the two reads */
    }
    if (wrapped != 0u && head >= rx_tail) {
        core->rx_ring_overflow += RX_SIZE; /* lapped: what is in the ring is newer than where we stood */
        rx_tail = head;
    }
    const uint64_t now_us = chip_time_us();
    if (head < rx_tail) {
        blk_core_receive(core, now_us, &rx_ring[rx_tail], RX_SIZE - rx_tail);
        rx_tail = 0;
    }
    blk_core_receive(core, now_us, &rx_ring[rx_tail], head - rx_tail);
    rx_tail = head;
}

void chip_transmit(blk_core_t *core)
{
    if ((DMA2_S7CR & DMA_EN) != 0u) {
        return;
    }
    const size_t size = blk_core_transmit(core, tx_buffer, TX_SIZE);
    if (size == 0u) {
        return;
    }
    DMA2_HIFCR = DMA2_ALL7; /* a stream does not start with old flags standing */
    DMA2_S7M0AR = (uint32_t)(uintptr_t)tx_buffer;
    DMA2_S7NDTR = (uint32_t)size;
    DMA2_S7CR = DMA_CHANNEL_4 | DMA_MINC | DMA_MEMORY_TO_PERIPHERAL | DMA_TCIE | DMA_EN;
}

/* The interrupts only wake the main loop, count, and clear: an error flag left standing would stop reception. */
void systick_handler(void)
{
}

void usart1_handler(void)
{
    const uint32_t flags = USART1_ISR;
    USART1_ICR = flags & (USART_IDLE | USART_ORE | USART_NE | USART_FE | USART_PE);
    line_errors[0] += (flags & USART_ORE) != 0u;
    line_errors[1] += (flags & USART_FE) != 0u;
    line_errors[2] += (flags & USART_NE) != 0u;
    line_errors[3] += (flags & USART_PE) != 0u;
}

void dma2_stream7_handler(void)
{
    DMA2_HIFCR = DMA2_TCIF7;
}
