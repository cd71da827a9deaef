"""Microcontrollers without the chip: the real firmware binary in an emulated STM32."""
