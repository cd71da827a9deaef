"""The link's configuration: the port's electrical settings and the times of the state machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkConfig:
    """How to reach the microcontroller and how patient to be.

    Attributes:
        port: a device (`/dev/ttyTHS1`, `/dev/serial/by-id/...`), `tcp://HOST:PORT` (ser2net, socat), or `pty` for the
            firmware core on a pseudo-terminal.
        baud: bits per second; 64 bytes take 0.69 ms at 921600 and 0.32 ms at 2 Mbaud. Stay at or below 3 Mbaud.
        parity: `N`, `E` or `O`; a pseudo-terminal has none.
        stop_bits: 1, or 2 where a Jetson UART above 115200 baud needs it (TX2).
        low_latency: ask the driver to hand bytes over at once (FTDI: 1 ms instead of 16).
        hello_interval_ms: between two handshakes while there is none.
        lost_after_ms: silence after which the link is down; telemetry comes every 5 ms.
        health_interval_ms: between two requests for the device's counters.
        parameter_retry_ms: a parameter that was not confirmed is sent again after this time.
    """

    port: str = "/dev/ttyTHS1"
    baud: int = 921_600
    parity: str = "N"
    stop_bits: int = 1
    low_latency: bool = True
    hello_interval_ms: int = 20
    lost_after_ms: int = 100
    health_interval_ms: int = 1000
    parameter_retry_ms: int = 50

    def __post_init__(self) -> None:
        if not 9_600 <= self.baud <= 12_000_000:
            raise ValueError(f"baud must be 9600..12000000, not {self.baud}")
        if self.parity not in ("N", "E", "O"):
            raise ValueError(f"parity must be N, E or O, not {self.parity!r}")
        if self.stop_bits not in (1, 2):
            raise ValueError(f"stop_bits must be 1 or 2, not {self.stop_bits}")
        for name in ("hello_interval_ms", "lost_after_ms", "health_interval_ms", "parameter_retry_ms"):
            if not 1 <= getattr(self, name) <= 60_000:
                raise ValueError(f"{name} must be 1..60000, not {getattr(self, name)}")
