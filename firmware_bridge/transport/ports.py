"""Which serial ports are here, stable names first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

BY_ID = Path("/dev/serial/by-id")
ON_BOARD = ("/dev/ttyTHS1", "/dev/ttyTHS0", "/dev/ttyAMA0")
"""UARTs on the board's own pins, which no USB enumeration lists (Jetson, Raspberry Pi)."""


@dataclass(frozen=True, slots=True)
class PortInfo:
    """A port and what the system says about it."""

    path: str
    description: str


def stable_name(path: str) -> str:
    """Return the name below /dev/serial/by-id that leads to this device, or `path` itself where there is none."""
    if not path.startswith("/dev/") or Path(path).parent == BY_ID or not BY_ID.is_dir():
        return path
    device = Path(path).resolve()
    return next((str(link) for link in sorted(BY_ID.glob("*")) if link.resolve() == device), path)


def candidates() -> tuple[PortInfo, ...]:
    """Return the ports by which a microcontroller may be reached; a name in by-id survives replugging."""
    found: dict[str, PortInfo] = {}
    for link in sorted(BY_ID.glob("*")) if BY_ID.is_dir() else []:
        found[str(link.resolve())] = PortInfo(str(link), f"stable name of {link.resolve()}")
    for path in ON_BOARD:
        if Path(path).exists():
            found.setdefault(path, PortInfo(path, "UART on the board's pins (disable nvgetty on a Jetson)"))
    for port in sorted(list_ports.comports(), key=lambda p: p.device):
        if port.vid is not None:  # the rest are the board's unused UARTs
            found.setdefault(port.device, PortInfo(port.device, port.description))
    return tuple(found.values())
