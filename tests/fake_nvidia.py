"""A make-believe GPU for tests: pycuda and TensorRT with the documented names, answers and failures, on real memory.

Addresses are real; streams do nothing until they are synchronised; kernels and engines run on the processor. What a
real driver punishes with a crash is an error here: work without a current context, host memory given to the GPU, copies
from memory that is not page-locked. `World.journal` holds what happened, in order.
"""

from __future__ import annotations

import ctypes
import enum
import struct
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perception.detection.backends.nvidia.gpu import Gpu

ORIN = Gpu(name="Orin", compute_capability=(8, 7), multiprocessors=8, driver=12060, integrated=True)
CARD = Gpu(name="NVIDIA RTX A2000", compute_capability=(8, 6), multiprocessors=26, driver=13000, integrated=False)


class Error(Exception):
    """pycuda.driver.Error."""


class LogicError(Error):
    """pycuda.driver.LogicError."""


class MemoryError_(Error):
    """pycuda.driver.MemoryError."""


class World:
    """One GPU: its memory, its stacks of contexts, what happened, and which failure to play."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.stacks: dict[int, list[Any]] = {}
        self.reachable: dict[int, int] = {}
        self.fail: set[str] = set()
        self.kernel: Callable[..., None] | None = None
        self.builds: list[dict[str, Any]] = []
        self.streams: dict[int, Any] = {}
        self.dla_cores = 0

    @property
    def stack(self) -> list[Any]:
        return self.stacks.setdefault(threading.get_ident(), [])

    def note(self, what: str) -> None:
        """Record; anything that touches the GPU needs a current context."""
        if not self.stack:
            raise LogicError(f"{what}: no currently active context?")
        self.journal.append(what)

    def array(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Return memory at an address that the GPU can reach."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        assert self.reachable.get(address, 0) >= size, "illegal memory access"
        raw = (ctypes.c_ubyte * size).from_address(address)
        return np.frombuffer(raw, dtype).reshape(shape)


class _Allocation:
    """Page-locked host memory; the base of the arrays that look at it."""

    def __init__(self, world: World, shape: Any, dtype: Any, mapped: bool) -> None:
        self.memory = np.full(shape, 7, dtype)
        self.__array_interface__ = self.memory.__array_interface__
        self._world, self._mapped = world, mapped
        world.note("pinned" + (" mapped" if mapped else ""))
        if mapped:
            world.reachable[self.memory.ctypes.data] = self.memory.nbytes

    def get_device_pointer(self) -> int:
        if not self._mapped:
            raise LogicError("cuMemHostGetDevicePointer failed: invalid argument")
        return self.memory.ctypes.data

    def __del__(self) -> None:
        self._world.journal.append("free pinned" + ("" if self._world.stack else " WITHOUT CONTEXT"))
        self._world.reachable.pop(self.memory.ctypes.data, None)


class _DeviceAllocation:
    def __init__(self, world: World, nbytes: int) -> None:
        self._memory, self._world = np.full(nbytes, 9, np.uint8), world
        world.note("mem_alloc")
        world.reachable[int(self)] = nbytes

    def __int__(self) -> int:
        return int(self._memory.ctypes.data)

    def free(self) -> None:
        self._world.note("free device")
        del self._world.reachable[int(self)]


class _Stream:
    def __init__(self, world: World) -> None:
        world.note("stream")
        self.handle, self._world = id(self), world
        self.queue: list[Callable[[], None]] = []

    def synchronize(self) -> None:
        self._world.note("synchronize")
        if "synchronize" in self._world.fail:
            raise LogicError("cuStreamSynchronize failed: an illegal memory access was encountered")
        work, self.queue[:] = list(self.queue), []
        for item in work:
            item()

    def __del__(self) -> None:
        self._world.journal.append("stream gone")


def fake_pycuda(world: World) -> ModuleType:
    """Return a stand-in for `pycuda.driver`."""

    class Context:
        def push(self) -> None:
            world.stack.append(self)

        @staticmethod
        def pop() -> None:
            if not world.stack:
                raise LogicError("cannot pop context from empty stack")
            world.stack.pop()

    class Device:
        def __init__(self, index: int) -> None:
            if "device" in world.fail:
                raise LogicError("cuDeviceGet failed: invalid device ordinal")

        def get_attribute(self, which: str) -> int:
            return {"CAN_MAP_HOST_MEMORY": 1}[which]

        def retain_primary_context(self) -> Context:
            return Context()

    def new_stream() -> _Stream:
        stream = _Stream(world)
        world.streams[stream.handle] = weakref.proxy(stream)
        return stream

    def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        if "memory" in world.fail:
            raise MemoryError_("cuMemHostAlloc failed: out of memory")
        return np.asarray(_Allocation(world, shape, dtype, mem_flags == 2))

    def copy(name: str, device: Any, host: Any, stream: _Stream, work: Callable[[Any], None]) -> None:
        world.note(name)
        assert isinstance(host.base, _Allocation), "memory is not page-locked"
        stream.queue.append(lambda: work(world.array(int(device), host.shape, host.dtype)))

    class Function:
        def prepare(self, arguments: str) -> None:
            self._format = arguments

        def prepared_async_call(self, grid: Any, block: Any, stream: _Stream, *args: Any) -> None:
            world.note("kernel")
            struct.pack(self._format, *args)  # as pycuda does: wrong types and counts raise here
            width, height = args[9], args[10]
            assert grid[0] * block[0] >= width
            assert grid[1] * block[1] >= height
            picture = (args[3], args[4])

            def launch() -> None:
                assert world.kernel is not None
                world.array(args[0], picture, np.uint8)
                world.array(args[1], (3, height, width), np.float32)
                world.kernel(*args)

            stream.queue.append(launch)

    def module_from_buffer(code: bytes, options: Any = (), message_handler: Any = None) -> Any:
        world.note("module")
        if "module" in world.fail:
            raise LogicError("cuModuleLoadDataEx failed: device kernel image is invalid")
        assert b".version" not in code or code.endswith(b"\0"), "PTX is C text"
        return SimpleNamespace(get_function=lambda name: {"letterbox": Function()}[name])

    module = ModuleType("pycuda.driver")
    module.__dict__.update(
        Error=Error,
        LogicError=LogicError,
        MemoryError=MemoryError_,
        init=lambda: None,
        Device=Device,
        Context=Context,
        Stream=new_stream,
        device_attribute=SimpleNamespace(CAN_MAP_HOST_MEMORY="CAN_MAP_HOST_MEMORY"),
        host_alloc_flags=SimpleNamespace(DEVICEMAP=2),
        pagelocked_empty=pagelocked_empty,
        mem_alloc=lambda n: _DeviceAllocation(world, n),
        memcpy_htod_async=lambda d, h, s: copy("htod", d, h, s, lambda device: np.copyto(device, h)),
        memcpy_dtoh_async=lambda h, d, s: copy("dtoh", d, h, s, lambda device: np.copyto(h, device)),
        module_from_buffer=module_from_buffer,
    )
    return module


class Severity(enum.IntEnum):
    """trt.ILogger.Severity: the lower, the worse."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


def install(monkeypatch: pytest.MonkeyPatch, world: World, tensorrt: ModuleType | None, gpu: Gpu) -> None:
    """Put the fakes where the code imports the real ones, and let the driver report a GPU."""
    driver = fake_pycuda(world)
    parent = ModuleType("pycuda")
    parent.driver = driver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", parent)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    for module in ("gpu", "providers"):
        monkeypatch.setattr(f"perception.detection.backends.nvidia.{module}.read_gpu", lambda *_: gpu)
    monkeypatch.setattr("perception.detection.backends.tensorrt.read_gpu", lambda *_: gpu)


def build_host_kernel(folder: Path) -> Callable[..., None]:
    """Compile the kernel's arithmetic with the processor's compiler; returns a function of the kernel's arguments."""
    import shutil
    import subprocess

    from perception.detection.kernels.build import HERE

    if shutil.which("gcc") is None:
        pytest.skip("no gcc here: the kernel's arithmetic cannot be run on the processor")
    library = folder / "letterbox_host.so"
    flags = ["-O2", "-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(HERE / "letterbox_host.c"), "-o", str(library), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).letterbox
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int] * 10
    function.restype = None
    return function  # type: ignore[no-any-return]
