"""How the firmware gets onto the chip: the commands, and running one when a probe is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from robot.core.errors import LinkError


def flash_commands(elf: Path) -> tuple[str, ...]:
    """Return the command lines that write `elf`, the shortest first."""
    binary = elf.with_suffix(".bin")
    return (
        f"arm-none-eabi-objcopy -O binary {elf} {binary} && "
        f"st-flash --connect-under-reset --reset write {binary} 0x08000000",
        f'openocd -f interface/stlink.cfg -f target/stm32f7x.cfg -c "program {elf} verify reset exit"',
    )


def flash(elf: Path) -> str:
    """Write `elf` with OpenOCD, verify it and reset the chip; returns OpenOCD's last line.

    Raises:
        LinkError: OpenOCD or the probe is missing, or verification failed; the hint has the command lines.
    """
    by_hand = "with a probe at hand, one of:\n    " + "\n    ".join(flash_commands(elf))
    openocd = shutil.which("openocd")
    if openocd is None:
        raise LinkError("openocd is not installed, so nothing was flashed", hint=f"apt-get install openocd; {by_hand}")
    command = [openocd, "-f", "interface/stlink.cfg", "-f", "target/stm32f7x.cfg"]
    done = subprocess.run(
        [*command, "-c", f"program {elf} verify reset exit"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        errors = [line for line in said if line.startswith("Error")] or said[
            -1:
        ]  # its last line only says that it ends
        raise LinkError(f"openocd did not flash: {'; '.join(errors)}", hint=by_hand)
    return (done.stderr.strip().splitlines() or ["done"])[-1]
