"""A make-believe TensorRT in three versions, with what each has and lacks; its engines run ONNX on the processor."""

from __future__ import annotations

import enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from tests.fake_nvidia import Severity, World


class TensorIOMode(enum.Enum):
    """trt.TensorIOMode."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class _HostMemory:
    """trt.IHostMemory: bytes() works, len() misleads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content

    def __len__(self) -> int:
        return 1


def _faults(model: onnx.ModelProto) -> list[str]:
    """What TensorRT's parser refuses in Q/DQ graphs."""
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            if zero.dtype != np.int8 or zero.any():
                found.append(f"{node.name}: zero point must be int8 and 0")
    return found


def fake_tensorrt(version: str, world: World) -> ModuleType:
    """Return a stand-in for `tensorrt` 8.6, 10.x or 11.x."""
    major = int(version.split(".")[0])

    class ILogger:
        def __init__(self) -> None:
            self.initialised = True

        def log(self, severity: Severity, msg: str) -> None:
            raise NotImplementedError

    ILogger.Severity = Severity  # type: ignore[attr-defined]

    class TimingCache:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def serialize(self) -> _HostMemory:
            return _HostMemory(self.content + b"+")

    class Options:
        def __init__(self) -> None:
            self.flags = {"TF32"}
            self.pools: dict[str, int] = {}
            self.builder_optimization_level = -1
            self.profiling_verbosity: Any = None
            self._cache: TimingCache | None = None
            if major >= 10:
                self.progress_monitor: Any = None

        def set_flag(self, flag: str) -> None:
            self.flags.add(flag)

        def clear_flag(self, flag: str) -> None:
            self.flags.discard(flag)

        def set_memory_pool_limit(self, pool: str, size: int) -> None:
            self.pools[pool] = size

        def create_timing_cache(self, content: bytes) -> TimingCache:
            return TimingCache(content)

        def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            if b"foreign" in cache.content:
                return False
            self._cache = cache
            return True

        def get_timing_cache(self) -> TimingCache | None:
            return self._cache

    class Network:
        content = b""

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            if "builder" in world.fail:
                logger.log(Severity.ERROR, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            assert logger.initialised, "ILogger.__init__ was not called"
            self._logger, self.num_DLA_cores = logger, world.dla_cores

        def create_network(self, flags: int = 0) -> Network:
            network = Network()
            network.explicit = major >= 10 or flags == 1  # type: ignore[attr-defined]
            assert major < 11 or flags == 0
            return network

        def create_builder_config(self) -> Options:
            return Options()

        def build_serialized_network(self, network: Network, options: Options) -> _HostMemory | None:
            monitor = getattr(options, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building Engine", None, 2)
                if not monitor.step_complete("Building Engine", 0):
                    return None
                monitor.phase_finish("Building Engine")
            if "build" in world.fail:
                self._logger.log(Severity.ERROR, "Could not find any implementation for node Conv_0")
                return None
            world.builds.append({"options": options, "network": network.content})
            return _HostMemory(b"PLAN|" + version.encode() + b"|" + network.content)

    class ParserError:
        def __init__(self, text: str) -> None:
            self.desc = lambda: text
            self.node = lambda: 3
            if major >= 10:
                self.node_name = lambda: "Conv_3"

    class OnnxParser:
        def __init__(self, network: Network, logger: ILogger) -> None:
            self._network, self._errors = network, list[ParserError]()

        def parse(self, content: bytes, path: str | None = None) -> bool:
            if not self._network.explicit:  # type: ignore[attr-defined]
                self._errors.append(ParserError("network must have explicit batch"))
                return False
            try:
                faults = _faults(onnx.load_from_string(content))
            except Exception as error:  # noqa: BLE001 - whatever protobuf says
                faults = [f"Failed to parse ONNX model: {type(error).__name__}"]
            self._errors += [ParserError(text) for text in faults]
            self._network.content = content
            return not faults

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> ParserError:
            return self._errors[index]

    class IExecutionContext:
        """Holds no engine, as in C++: whoever lets the engine go first is caught by the journal."""

        def __init__(self, engine: ICudaEngine) -> None:
            world.note("context")
            self._shapes, self._session, self._logger = engine.shapes, engine.session, engine.logger
            self._addresses: dict[str, int] = {}

        def set_tensor_address(self, name: str, address: int) -> bool:
            assert type(address) is int
            self._addresses[name] = address
            return "address" not in world.fail

        def infer_shapes(self) -> list[str]:
            return []

        def execute_async_v3(self, stream: int) -> bool:
            world.note("execute")
            assert set(self._addresses) == set(self._shapes)
            if "execute" in world.fail:
                self._logger.log(Severity.ERROR, "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime")
                return False
            shapes, session, addresses = self._shapes, self._session, dict(self._addresses)

            def work() -> None:
                blob = world.array(addresses["images"], shapes["images"], np.float32)
                for name, value in zip(("logits", "offsets"), session.run(None, {"images": blob}), strict=True):
                    world.array(addresses[name], value.shape, np.float32)[:] = value

            world.streams[stream].queue.append(work)
            return True

        def __del__(self) -> None:
            world.journal.append("context gone")

    class ICudaEngine:
        def __init__(self, content: bytes, logger: ILogger) -> None:
            self.logger = logger
            self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
            self.shapes = {t.name: tuple(t.shape) for t in tensors}
            self._names = list(self.shapes)
            self.num_io_tensors = len(tensors)

        num_io_tensors = 0

        def get_tensor_name(self, index: int) -> str:
            return self._names[index]

        def get_tensor_shape(self, name: str) -> list[int]:
            return list(self.shapes[name])

        def get_tensor_dtype(self, name: str) -> str:
            return "half" if "dtype" in world.fail else "float32"

        def get_tensor_mode(self, name: str) -> TensorIOMode:
            return TensorIOMode.INPUT if name == "images" else TensorIOMode.OUTPUT

        def create_execution_context(self) -> IExecutionContext | None:
            return None if "context" in world.fail else IExecutionContext(self)

        def __del__(self) -> None:
            world.journal.append("engine gone")

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            world.note("runtime")
            self._logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
            _, made_by, content = plan.split(b"|", 2)
            if "out of memory" in world.fail:
                self._logger.log(Severity.ERROR, "Requested amount of GPU memory could not be allocated")
                return None
            if "refuse" in world.fail or made_by.decode() != version:
                self._logger.log(Severity.ERROR, "Serialization assertion stdVersionRead == kSERIALIZATION failed")
                return None
            return ICudaEngine(content, self._logger)

        def __del__(self) -> None:
            world.journal.append("runtime gone")

    flags = {"SPARSE_WEIGHTS": "SPARSE_WEIGHTS", "GPU_FALLBACK": "GPU_FALLBACK", "TF32": "TF32"}
    network_flags: dict[str, int] = {}
    if major < 11:
        flags |= {"FP16": "FP16", "INT8": "INT8"}
        network_flags["EXPLICIT_BATCH"] = 0
    module = ModuleType("tensorrt")
    module.__dict__.update(
        __version__=version,
        ILogger=ILogger,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        ICudaEngine=ICudaEngine,
        IExecutionContext=IExecutionContext,
        NetworkDefinitionCreationFlag=SimpleNamespace(**network_flags),
        BuilderFlag=SimpleNamespace(**flags),
        MemoryPoolType=SimpleNamespace(WORKSPACE="WORKSPACE"),
        ProfilingVerbosity=SimpleNamespace(DETAILED="DETAILED"),
        DeviceType=SimpleNamespace(DLA="DLA"),
        TensorIOMode=TensorIOMode,
        float32="float32",
        init_libnvinfer_plugins=lambda logger, namespace: True,
    )
    if major >= 10:
        module.__dict__["IProgressMonitor"] = type("IProgressMonitor", (), {"__init__": lambda self: None})
    return module
