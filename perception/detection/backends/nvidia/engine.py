"""A TensorRT engine that runs: tensor-name calls (8.5 to 11), one stream, fixed addresses.

Every call here is made inside `Cuda.current()`. Order of teardown: buffers, execution context, engine, runtime, stream.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.detection.backends.nvidia.api import TensorRt
from perception.detection.backends.nvidia.build import make
from perception.detection.backends.nvidia.cuda import Cuda, Pinned
from perception.detection.backends.nvidia.log import tensorrt_logger
from robot.core.errors import DetectorError

REBUILD = "build the engine again"


class PlanRefusedError(DetectorError):
    """TensorRT does not take the plan; `out_of_memory` tells whether the plan may be sound all the same."""

    def __init__(self, message: str, *, hint: str, out_of_memory: bool) -> None:
        super().__init__(message, hint=hint)
        self.out_of_memory = out_of_memory


class Engine:
    """One engine, one execution context, one stream.

    Args:
        api: TensorRT, probed.
        cuda: the context that is current.
        plan: the serialised engine.
        shapes: every input and output by name, with the shape that the model's JSON demands.
        input_name: the one input.
        fed_on_device: something on the GPU writes the input (the letterbox kernel): it gets device memory, which the
            network may read again and again, and no host copy.

    Raises:
        PlanRefusedError: TensorRT does not take the plan.
        DetectorError: its tensors are not those of the model, or memory ran out.
    """

    def __init__(
        self,
        api: TensorRt,
        cuda: Cuda,
        plan: bytes,
        shapes: dict[str, tuple[int, ...]],
        input_name: str,
        *,
        fed_on_device: bool,
    ) -> None:
        self._api, self._cuda, self._input_name = api, cuda, input_name
        self._logger = tensorrt_logger(api.module)
        self._logger.take_errors()
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._device_input: Any = None
        self._buffers: dict[str, Pinned] = {}
        self.stream: Any = cuda.driver.Stream()
        try:
            self._load(plan)
            self._check_tensors(shapes)
            self._bind(shapes, fed_on_device)
        except BaseException:
            self.close()
            raise

    def _load(self, plan: bytes) -> None:
        trt = self._api.module
        if hasattr(trt, "init_libnvinfer_plugins"):
            trt.init_libnvinfer_plugins(self._logger, "")
        self._runtime = make(trt.Runtime, self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason = self._logger.take_errors()
            raise PlanRefusedError(
                f"TensorRT {self._api.version} refuses the engine: {reason}",
                hint=REBUILD,
                out_of_memory="memory" in reason.lower(),
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DetectorError(
                f"TensorRT cannot prepare the engine: {self._logger.take_errors()}",
                hint="end what else uses the GPU's memory",
            )

    def _bind(self, shapes: dict[str, tuple[int, ...]], fed_on_device: bool) -> None:
        for name, shape in shapes.items():
            if name == self._input_name and fed_on_device:
                self._device_input = self._cuda.driver.mem_alloc(4 * math.prod(shape))
                address = int(self._device_input)
            else:
                self._buffers[name] = Pinned(self._cuda, shape, np.float32)
                address = self._buffers[name].address
            if name == self._input_name:
                self.input_address = address
            if not self._context.set_tensor_address(name, address):
                raise DetectorError(
                    f"TensorRT refuses the buffer of '{name}': {self._logger.take_errors()}", hint=REBUILD
                )
        unknown = self._context.infer_shapes()
        if unknown:
            raise DetectorError(f"the engine leaves the shapes of {', '.join(unknown)} open", hint=REBUILD)

    def _check_tensors(self, shapes: dict[str, tuple[int, ...]]) -> None:
        trt, engine = self._api.module, self._engine
        found = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            found[name] = tuple(engine.get_tensor_shape(name))
            if engine.get_tensor_dtype(name) != trt.float32:
                raise DetectorError(
                    f"the engine's '{name}' is {engine.get_tensor_dtype(name)}, not float32", hint=REBUILD
                )
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if is_input != (name == self._input_name):
                raise DetectorError(f"the engine has '{name}' as {'in' if is_input else 'out'}put", hint=REBUILD)
        if found != shapes:
            raise DetectorError(f"the engine has {found}, the model's JSON says {shapes}", hint=REBUILD)

    def set_input(self, blob: NDArray[np.float32]) -> None:
        """Queue an input that was prepared on the processor."""
        buffer = self._buffers[self._input_name]
        np.copyto(buffer.host, blob)
        buffer.to_device(self.stream)

    def run(self) -> None:
        """Run on whatever the input holds, and wait for the end; then `output` gives the results.

        Raises:
            DetectorError: TensorRT would not start it.
        """
        if not self._context.execute_async_v3(self.stream.handle):
            self.stream.synchronize()  # copies that were queued before it must not outlive this call
            raise DetectorError(f"TensorRT would not run the engine: {self._logger.take_errors()}", hint=REBUILD)
        for name, buffer in self._buffers.items():
            if name != self._input_name:
                buffer.to_host(self.stream)
        self.stream.synchronize()

    def output(self, name: str) -> NDArray[np.float32]:
        """Return an output of the last `run`: a view, valid until the next one."""
        return self._buffers[name].host

    def close(self) -> None:
        """Free everything, in the order that TensorRT and CUDA need."""
        if self.stream is not None:
            self.stream.synchronize()
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers.clear()
        if self._device_input is not None:
            self._device_input.free()
            self._device_input = None
        self._context = None  # each of these lets a C++ object go; the order is TensorRT's
        self._engine = None
        self._runtime = None
        self.stream = None
