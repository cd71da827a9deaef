"""The letterbox on the GPU: one upload of the camera's bytes, one kernel that writes the network's input.

Same placement, same grey levels, same normalisation as `perception.detection.letterbox`, bit for bit (the arithmetic
is in kernels/letterbox_math.h and is compared in tests/unit/test_detection_kernel.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.detection.backends.nvidia.cuda import Cuda, Pinned
from perception.detection.kernels.build import ENTRY, kernel_path
from perception.detection.letterbox import PAD_VALUE, Placement, placement
from robot.core.errors import DetectorError

ARGUMENTS = "PPiiiiiiiiii"
"""The kernel's parameters: picture, input, picture width and height, row bytes, resized width and height, offset x and
y, input width and height, pad value (kernels/letterbox.cu)."""
BLOCK = (32, 8, 1)


def find_kernel(folder: Path, arch: str) -> Path:
    """Return the compiled kernel for an architecture (`sm_87`): its cubin, or PTX.

    Raises:
        DetectorError: neither has been built from this version's source.
    """
    for name in (arch, arch.replace("sm_", "compute_")):
        if kernel_path(folder, name).is_file():
            return kernel_path(folder, name)
    raise DetectorError(
        f"the letterbox kernel has not been compiled for {arch}: no {kernel_path(folder, arch)}",
        hint=f"python -m perception.detection.kernels.build --arch {arch} --out {folder}; "
        "or letterbox on the processor: engine.gpu_letterbox = false",
    )


class GpuLetterbox:
    """Uploads pictures and letterboxes them into an input tensor. Made, called and closed inside `Cuda.current`.

    Args:
        cuda: the context that is current.
        kernel: the compiled kernel.
        input_size_px: (width, height) of the network's input.
        input_address: device address of the (1, 3, height, width) float32 input.
        stream: where the work is queued, before the network's.

    Raises:
        DetectorError: the driver refuses the kernel.
    """

    def __init__(
        self, cuda: Cuda, kernel: Path, input_size_px: tuple[int, int], input_address: int, stream: Any
    ) -> None:
        self._cuda, self._stream = cuda, stream
        self._input_size_px, self._input_address = input_size_px, input_address
        code = kernel.read_bytes() + (b"\0" if kernel.suffix == ".ptx" else b"")  # the driver reads PTX as C text
        try:
            self._module: Any = cuda.driver.module_from_buffer(code)
        except cuda.driver.Error as error:
            raise DetectorError(
                f"the driver refuses {kernel.name}: {error}",
                hint=f"compile it with this machine's own CUDA: python -m perception.detection.kernels.build "
                f"--arch {kernel.name.split('-')[1]} --out {kernel.parent}",
            ) from error
        self._function: Any = self._module.get_function(ENTRY)
        self._function.prepare(ARGUMENTS)
        self._picture: Pinned | None = None
        self._placement: Placement | None = None
        width, height = input_size_px
        self._grid = (-(-width // BLOCK[0]), -(-height // BLOCK[1]), 1)

    def __call__(self, image_bgr: NDArray[np.uint8]) -> Placement:
        """Queue upload and kernel for a (h, w, 3) uint8 BGR picture; returns where it lies in the input."""
        picture, at = self._picture, self._placement
        if picture is None or at is None or picture.host.shape != image_bgr.shape:
            if picture is not None:
                self._stream.synchronize()  # the GPU may still read the old one
                picture.free()
            self._picture = picture = Pinned(self._cuda, image_bgr.shape, np.uint8)
            self._placement = at = placement((image_bgr.shape[1], image_bgr.shape[0]), self._input_size_px)
        np.copyto(picture.host, image_bgr)
        picture.to_device(self._stream)
        self._function.prepared_async_call(
            self._grid,
            BLOCK,
            self._stream,
            picture.address,
            self._input_address,
            *at.picture_size_px,
            3 * at.picture_size_px[0],
            *at.resized_px,
            *at.offset_px,
            *self._input_size_px,
            PAD_VALUE,
        )
        return at

    def close(self) -> None:
        """Free the picture's memory and unload the kernel; nothing may be running."""
        if self._picture is not None:
            self._picture.free()
            self._picture = None
        self._function = self._module = None
