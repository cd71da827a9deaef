"""The GPU's facts, from the driver library itself: no CUDA context, no package, so even a laptop gets a clear answer.

Source of names and numbers: CUDA driver API, cuda.h (CUdevice_attribute).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from robot.core.errors import DetectorError

_MULTIPROCESSOR_COUNT, _INTEGRATED, _CC_MAJOR, _CC_MINOR = 16, 18, 75, 76
ON_THE_PROCESSOR = 'backend = "onnxruntime", providers = ["CPUExecutionProvider"]'
NO_GPU_HINT = (
    f"on a Jetson: is this JetPack, and is the user in the groups video and render? Without a GPU: {ON_THE_PROCESSOR}"
)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU.

    Args:
        name: as the driver gives it, e.g. `Orin`.
        compute_capability: (8, 7) for Orin.
        multiprocessors: how many; Orin modules of the same name differ in it.
        driver: CUDA version of the driver, e.g. 12060 for 12.6.
        integrated: it shares the processor's memory, as on every Jetson.
    """

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    driver: int
    integrated: bool

    @property
    def arch(self) -> str:
        """Nvcc's name of its machine code, e.g. `sm_87`."""
        return "sm_{}{}".format(*self.compute_capability)

    @property
    def description(self) -> str:
        """For logs and reports."""
        version = f"{self.driver // 1000}.{self.driver % 1000 // 10}"
        return f"{self.name} ({self.arch}, {self.multiprocessors} multiprocessors, driver for CUDA {version})"


def read_gpu(library: str = "libcuda.so.1", index: int = 0) -> Gpu:
    """Ask the driver about a GPU.

    Args:
        library: the driver's shared library.
        index: which GPU.

    Raises:
        DetectorError: no driver, or it sees no such GPU.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise DetectorError(f"no NVIDIA driver on this machine ({error})", hint=NO_GPU_HINT) from error

    def call(function: str, *arguments: object) -> None:
        status = getattr(cuda, function)(*arguments)
        if status != 0:
            text = ctypes.c_char_p()
            cuda.cuGetErrorName(status, ctypes.byref(text))
            reason = (text.value or b"unknown error").decode()
            raise DetectorError(
                f"the NVIDIA driver gives no GPU: {function} says {reason} ({status})", hint=NO_GPU_HINT
            )

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), which, device)
        return value.value

    call("cuInit", 0)
    device, driver, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    call("cuDeviceGet", ctypes.byref(device), index)
    call("cuDeviceGetName", name, len(name), device)
    call("cuDriverGetVersion", ctypes.byref(driver))
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=(attribute(_CC_MAJOR), attribute(_CC_MINOR)),
        multiprocessors=attribute(_MULTIPROCESSOR_COUNT),
        driver=driver.value,
        integrated=bool(attribute(_INTEGRATED)),
    )
