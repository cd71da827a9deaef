"""Compile the letterbox kernel with nvcc, for the GPU that will run it.

A cubin is machine code for one architecture and loads on every driver that knows it. PTX is compiled by the driver when
it is loaded, for that architecture and later ones; but a driver refuses PTX of a newer toolkit than itself, so build it
with the robot's own toolkit (`blackout build-engine` does) or an older one.

    python -m perception.detection.kernels.build --arch sm_87 --out runs/kernels        # cubin for an Orin
    python -m perception.detection.kernels.build --arch compute_87 --out runs/kernels   # PTX
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from robot.core.errors import DetectorError, RobotError

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "letterbox.cu"
ENTRY = "letterbox"
"""Name of the kernel inside the module."""
# Float arithmetic as on the processor: correctly rounded division, no multiplication fused with an addition.
NVCC_FLAGS = ("-prec-div=true", "-fmad=false")


def find_nvcc() -> Path:
    """Return CUDA's compiler: `$NVCC`, on PATH, or under `$CUDA_HOME` (/usr/local/cuda, which Jetsons leave off PATH).

    Raises:
        DetectorError: it is nowhere.
    """
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin" / "nvcc"
    for candidate in (os.environ.get("NVCC", ""), shutil.which("nvcc") or "", str(toolkit)):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise DetectorError(
        "nvcc, CUDA's compiler, is not installed: the letterbox kernel cannot be built",
        hint="sudo apt-get install cuda-nvcc-12-6 (the number is that of your CUDA), or set CUDA_HOME; "
        "or letterbox on the processor: engine.gpu_letterbox = false",
    )


def source_hash() -> str:
    """Return 12 hex digits over the kernel's source and the compiler's flags."""
    parts = [path.read_bytes() for path in (SOURCE, HERE / "letterbox_math.h")]
    return hashlib.sha256(b"\0".join([*parts, " ".join(NVCC_FLAGS).encode()])).hexdigest()[:12]


def kernel_path(folder: Path, arch: str) -> Path:
    """Return where the compiled kernel of this source for this architecture belongs."""
    suffix = "ptx" if arch.startswith("compute_") else "cubin"
    return folder / f"letterbox-{arch}-{source_hash()}.{suffix}"


def compile_kernel(arch: str, folder: Path) -> Path:
    """Compile for `sm_87` (cubin) or `compute_87` (PTX) into the folder; returns the file, which appears only whole.

    Raises:
        DetectorError: bad architecture name, no nvcc, or nvcc refuses (its message is in the error).
    """
    if not re.fullmatch(r"(sm|compute)_\d{2,3}[a-z]?", arch):
        raise DetectorError(f"no GPU architecture '{arch}'", hint="for example sm_87 (Orin) or compute_87 (PTX)")
    nvcc, target = find_nvcc(), kernel_path(folder, arch)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / target.name
        kind = "-ptx" if target.suffix == ".ptx" else "-cubin"
        command = [str(nvcc), kind, f"-arch={arch}", *NVCC_FLAGS, str(SOURCE), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not made.is_file():
            raise DetectorError(
                f"nvcc cannot compile the letterbox kernel for {arch}: {(done.stderr or done.stdout).strip()[-800:]}",
                hint=f"does this toolkit know the GPU? {nvcc} --list-gpu-arch",
            )
        os.replace(made, target)
    return target


def main(argv: list[str] | None = None) -> int:
    """Compile from the command line; returns 0, or 1 with the reason and the mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="sm_87", help="sm_87: cubin for an Orin; compute_87: PTX")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    args = parser.parse_args(argv)
    try:
        sys.stdout.write(f"{compile_kernel(args.arch, args.out)}\n")
    except RobotError as error:
        sys.stderr.write(f"error [{error.code}]: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
