"""The microcontroller's firmware: C sources, how to build them here, and the core as a library."""
