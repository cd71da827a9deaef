"""Builds the C firmware for this computer with gcc; results are kept by the hash of their sources."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from robot.core.errors import LinkError

HERE = Path(__file__).resolve().parent
CORE = HERE / "core"
PORTS = HERE / "ports"
APT_LINE = "sudo apt-get install gcc libc6-dev"
ARM_APT_LINE = "sudo apt-get install --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi"

C_FLAGS = (
    "-std=c11",
    "-O2",
    "-fno-math-errno",  # sqrtf is one instruction
    "-ffp-contract=off",  # no fused multiply-add: the same bits on every target
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wdouble-promotion",
    "-Wmissing-prototypes",
    "-Werror",
)

CORTEX_M7_FLAGS = (
    "-mcpu=cortex-m7",
    "-mthumb",
    # Single precision only, though this chip has double: the four double additions a cycle cost nothing in software,
    # and the same ELF runs in the emulator, whose Cortex-M7 has the smaller unit.
    "-mfpu=fpv5-sp-d16",
    "-mfloat-abi=hard",
    "-ffreestanding",
    "-nostartfiles",
    "-ffunction-sections",
    "-Wl,--gc-sections",
    "--specs=nosys.specs",
    "--specs=nano.specs",
    "-g",  # lines for debugger and coverage; the code is the same, and none of it goes to the chip
    f"-ffile-prefix-map={HERE}=.",
)


def core_sources() -> list[Path]:
    """The core's C files and headers, in a fixed order."""
    return sorted([*CORE.rglob("*.c"), *CORE.rglob("*.h")])


def source_hash(files: list[Path], *flags: str) -> str:
    """First 11 hex digits of the SHA-256 over flags, file names and contents."""
    digest = hashlib.sha256(repr(flags).encode())
    for path in files:
        digest.update(f"\n{path.relative_to(HERE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:11]


def revision() -> str:
    """What the firmware says in HELLO: the hash of its core, equal in every port."""
    return source_hash(core_sources())


def build_folder() -> Path:
    """Where results are kept: beside the sources, or in the user's cache when that is read-only."""
    beside = HERE / "build"
    try:
        beside.mkdir(exist_ok=True)
    except OSError:
        beside = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "blackout" / "firmware"
        beside.mkdir(parents=True, exist_ok=True)
    if os.access(beside, os.W_OK):
        return beside
    cache = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "blackout" / "firmware"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def build_library(*, lockstep: bool = True) -> Path:
    """Build (or find) the core as a shared library.

    Args:
        lockstep: obey TICK frames; match builds do not.

    Raises:
        LinkError: gcc is missing or refuses the sources; the message has its words.
    """
    flags = (*C_FLAGS, "-fPIC", "-shared", "-fvisibility=default", f"-DBLK_LOCKSTEP={int(lockstep)}")
    return _compile("libblackout_firmware", ".so", (PORTS / "host_library",), flags)


def build_host_pty() -> Path:
    """Build (or find) the program that runs the core in real time on a pseudo-terminal, with a small wheel model.

    Raises:
        LinkError: see `build_library`.
    """
    return _compile("blackout_host_pty", "", (PORTS / "host_pty",), (*C_FLAGS, "-DBLK_LOCKSTEP=1", "-D_GNU_SOURCE"))


def build_stm32f767(*, lockstep: bool = False) -> Path:
    """Build (or find) the ELF for the robot's STM32F767.

    Args:
        lockstep: obey TICK frames, for tests; the build for matches does not.

    Raises:
        LinkError: arm-none-eabi-gcc is missing or refuses the sources.
    """
    return _build_cortex_m7("stm32f767", lockstep)


def build_mps2_an500(*, lockstep: bool = True) -> Path:
    """Build (or find) the ELF for QEMU's mps2-an500.

    Args:
        lockstep: obey TICK frames.

    Raises:
        LinkError: see `build_stm32f767`.
    """
    return _build_cortex_m7("mps2_an500", lockstep)


def _build_cortex_m7(name: str, lockstep: bool) -> Path:
    port = PORTS / name
    flags = (
        *C_FLAGS,
        *CORTEX_M7_FLAGS,
        f"-I{port}",
        f"-DBLK_LOCKSTEP={int(lockstep)}",
        f'-DBLK_REVISION="{revision()}"',
        "-T",
        str(port / f"{name}.ld"),
    )
    target = f"blackout_{name}_test" if lockstep else f"blackout_{name}"
    folders = (PORTS / "cortex_m7", port)
    return _compile(target, ".elf", folders, flags, compiler="arm-none-eabi-gcc", mend=ARM_APT_LINE)


def _compile(
    name: str,
    suffix: str,
    folders: tuple[Path, ...],
    flags: tuple[str, ...],
    compiler: str = "gcc",
    mend: str = APT_LINE,
) -> Path:
    sources = core_sources()
    for folder in folders:
        sources += sorted([*folder.glob("*.[ch]"), *folder.glob("*.ld")])
    bare = (flag.replace(str(HERE), "") for flag in flags)  # where the project lies stays out of the hash
    target = build_folder() / f"{name}-{source_hash(sources, *bare)}{suffix}"
    if target.exists():
        return target
    gcc = shutil.which(compiler)
    if gcc is None:
        raise LinkError(f"{compiler} is not installed: the firmware cannot be built", hint=mend)
    # Built under another name and moved into place, so that several processes may build at once.
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        built = Path(scratch) / target.name
        command = [gcc, *flags, *(str(s) for s in sources if s.suffix == ".c"), "-o", str(built)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LinkError(f"{compiler} refused the firmware:\n{done.stderr.strip()}", hint=mend)
        built.replace(target)
    return target
