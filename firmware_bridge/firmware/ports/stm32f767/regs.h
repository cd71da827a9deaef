/* The few registers of the STM32F767 that this port uses (ST RM0410). No vendor headers: nothing to license or fetch. */
#ifndef REGS_H
#define REGS_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RCC_CR REG(0x40023800u)
#define RCC_PLLCFGR REG(0x40023804u)
#define RCC_CFGR REG(0x40023808u)
#define RCC_AHB1ENR REG(0x40023830u)
#define RCC_AHB2ENR REG(0x40023834u)
#define RCC_APB1ENR REG(0x40023840u)
#define RCC_APB2ENR REG(0x40023844u)
#define PWR_CR1 REG(0x40007000u)
#define PWR_CSR1 REG(0x40007004u)
#define FLASH_ACR REG(0x40023C00u)
#define GPIOA_MODER REG(0x40020000u)
#define GPIOA_OSPEEDR REG(0x40020008u)
#define GPIOA_AFRH REG(0x40020024u)

#define USART1_CR1 REG(0x40011000u)
#define USART1_CR2 REG(0x40011004u)
#define USART1_CR3 REG(0x40011008u)
#define USART1_BRR REG(0x4001100Cu)
#define USART1_ISR REG(0x4001101Cu)
#define USART1_ICR REG(0x40011020u)
#define USART1_RDR 0x40011024u
#define USART1_TDR 0x40011028u
#define USART_PE (1u << 0)
#define USART_FE (1u << 1)
#define USART_NE (1u << 2)
#define USART_ORE (1u << 3)
#define USART_IDLE (1u << 4)

/* DMA2: stream 2 channel 4 is USART1_RX, stream 7 channel 4 is USART1_TX. */
#define DMA2_LISR REG(0x40026400u)
#define DMA2_LIFCR REG(0x40026408u)
#define DMA2_HIFCR REG(0x4002640Cu)
#define DMA2_S2CR REG(0x40026440u)
#define DMA2_S2NDTR REG(0x40026444u)
#define DMA2_S2PAR REG(0x40026448u)
#define DMA2_S2M0AR REG(0x4002644Cu)
#define DMA2_S7CR REG(0x400264B8u)
#define DMA2_S7NDTR REG(0x400264BCu)
#define DMA2_S7PAR REG(0x400264C0u)
#define DMA2_S7M0AR REG(0x400264C4u)
#define DMA_EN (1u << 0)
#define DMA_TCIE (1u << 4)
#define DMA_MEMORY_TO_PERIPHERAL (1u << 6)
#define DMA_CIRCULAR (1u << 8)
#define DMA_MINC (1u << 10)
#define DMA_CHANNEL_4 (4u << 25)
#define DMA2_TCIF2 (1u << 21)
#define DMA2_TCIF7 (1u << 27)
#define DMA2_ALL7 (0x3Du << 22)

#define TIM2_CR1 REG(0x40000000u)
#define TIM2_EGR REG(0x40000014u)
#define TIM2_CNT REG(0x40000024u)
#define TIM2_PSC REG(0x40000028u)
#define TIM2_ARR REG(0x4000002Cu)
#define IWDG_KR REG(0x40003000u)
#define IWDG_PR REG(0x40003004u)
#define IWDG_RLR REG(0x40003008u)
#define RNG_CR REG(0x50060800u)
#define RNG_SR REG(0x50060804u)
#define RNG_DR REG(0x50060808u)

#define SYSTICK_CSR REG(0xE000E010u)
#define SYSTICK_RVR REG(0xE000E014u)
#define SYSTICK_CVR REG(0xE000E018u)
#define NVIC_ISER1 REG(0xE000E104u)
#define NVIC_ISER2 REG(0xE000E108u)
#define IRQ_USART1 37u
#define IRQ_DMA2_STREAM7 70u

#endif
