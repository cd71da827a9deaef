"""CUDA through pycuda: the primary context, and memory that both sides can reach.

TensorRT uses the CUDA runtime's primary context, so that one is retained (a context of our own would make its objects
foreign: "invalid resource handle"). It is pushed for the length of each call and popped at its end, whatever happens:
any thread may then use the detector, one at a time, and nothing is left on a stack for pycuda to abort over at exit.
Source: pycuda 2026.1, src/cpp/cuda.hpp and src/wrapper/wrap_cudadrv.cpp.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from perception.detection.backends.nvidia.gpu import NO_GPU_HINT
from robot.core.errors import DetectorError, MissingExtraError


class Cuda:
    """One GPU's primary context.

    Args:
        integrated: host and device share memory: map host pages instead of copying.
        index: which GPU.

    Raises:
        MissingExtraError: pycuda is not installed.
        DetectorError: CUDA cannot start.
    """

    def __init__(self, *, integrated: bool, index: int = 0) -> None:
        try:
            self.driver: Any = importlib.import_module("pycuda.driver")
        except ImportError as error:
            raise MissingExtraError(
                f"pycuda does not load ({error})",
                hint="PATH=/usr/local/cuda/bin:$PATH pip install 'blackout-robot[gpu]' (docs/gpu.md)",
            ) from error
        try:
            self.driver.init()
            device = self.driver.Device(index)
            self.mapped = integrated and bool(device.get_attribute(self.driver.device_attribute.CAN_MAP_HOST_MEMORY))
            self._context: Any = device.retain_primary_context()
        except self.driver.Error as error:
            raise DetectorError(f"CUDA cannot start: {error}", hint=NO_GPU_HINT) from error
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._context is None

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context this thread's for the length of a block; a second thread waits for its turn.

        Raises:
            DetectorError: after `close`, or CUDA failed inside the block (such a fault ends the context for good).
        """
        with self._lock:
            if self._context is None:
                raise DetectorError("the detector has been closed", hint="load it again")
            try:
                self._context.push()
                try:
                    yield
                finally:
                    self.driver.Context.pop()
            except self.driver.MemoryError as error:
                raise DetectorError(f"the GPU is out of memory: {error}", hint="end what else uses it") from error
            except self.driver.Error as error:
                raise DetectorError(
                    f"CUDA failed: {error}",
                    hint="start the process again; if it comes back, build the engine again and look at dmesg",
                ) from error

    def close(self) -> None:
        """Let the context go. Everything made in it must have been let go before, inside `current`."""
        self._context = None


class Pinned:
    """Page-locked host memory that the GPU reads or writes, either in place (mapped) or through a device copy.

    On a Jetson both are the same DRAM and mapping saves the copy; on a card with its own memory a copy is faster than
    reading over the bus. Make, use and drop it inside `Cuda.current`.

    Args:
        cuda: where.
        shape: of the array.
        dtype: of the array.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cuda = cuda
        flags = cuda.driver.host_alloc_flags.DEVICEMAP if cuda.mapped else 0
        self.host: NDArray[Any] = cuda.driver.pagelocked_empty(shape, np.dtype(dtype), mem_flags=flags)
        if cuda.mapped:
            self._device: Any = None
            self.address = int(self.host.base.get_device_pointer())
        else:
            self._device = cuda.driver.mem_alloc(self.host.nbytes)
            self.address = int(self._device)

    def to_device(self, stream: Any) -> None:
        """Queue the copy to the GPU, where one is needed."""
        if self._device is not None:
            self._cuda.driver.memcpy_htod_async(self._device, self.host, stream)

    def to_host(self, stream: Any) -> None:
        """Queue the copy from the GPU, where one is needed; `host` is valid once the stream has been synchronised."""
        if self._device is not None:
            self._cuda.driver.memcpy_dtoh_async(self.host, self._device, stream)

    def free(self) -> None:
        """Free the device's copy; the host pages go with the last array that looks at them."""
        if self._device is not None:
            self._device.free()
            self._device = None
        del self.host
