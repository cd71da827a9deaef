"""What an engine belongs to. A plan runs only on the TensorRT and the GPU it was built with, and says so badly.

So engines are files named by a hash over everything that they depend on; the whole key lies beside each in JSON, and
a miss can be explained by what differs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from perception.detection.backends.nvidia.gpu import Gpu
from perception.detection.backends.nvidia.onnx_graph import VERSION as GRAPH_VERSION
from perception.detection.config import EngineConfig

FORMAT = 1
"""Of the cache's files: raise it when their meaning changes."""

_WORDS = {
    "format": "cache format",
    "onnx_sha256": "model file",
    "graph_version": "model conversion",
    "runtime": "TensorRT",
    "gpu": "GPU",
    "compute_capability": "compute capability",
    "multiprocessors": "multiprocessors",
    "driver": "driver",
    "precision": "precision",
    "workspace_mib": "workspace_mib",
    "optimization_level": "optimization_level",
    "sparse": "sparse",
    "dla_core": "dla_core",
}


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything that an engine depends on.

    Args:
        onnx_sha256: of the model file.
        runtime: what builds it, with its version, e.g. `TensorRT 10.3.0`.
        gpu, compute_capability, multiprocessors, driver: see `Gpu`.
        precision: `fp32`, `fp16` or `int8`.
        workspace_mib, optimization_level, sparse, dla_core: see `EngineConfig`.
        graph_version: of the code that makes the model fit.
        format: of the cache's files.
    """

    onnx_sha256: str
    runtime: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    driver: int
    precision: str
    workspace_mib: int
    optimization_level: int
    sparse: bool
    dla_core: int
    graph_version: int = GRAPH_VERSION
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """16 hex digits over all of it."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: dict[str, object]) -> list[str]:
        """Return in words where another engine's key (from JSON) differs: `TensorRT: 10.3.0 there, 10.16.2 here`."""
        here = dataclasses.asdict(self)
        return [
            f"{_WORDS[name]}: {_short(other.get(name))} there, {_short(value)} here"
            for name, value in here.items()
            if other.get(name) != value
        ]


def engine_key(onnx_sha256: str, precision: str, config: EngineConfig, gpu: Gpu, runtime: str) -> EngineKey:
    """Return the key of a model on this GPU under this configuration."""
    return EngineKey(
        onnx_sha256=onnx_sha256,
        runtime=runtime,
        gpu=gpu.name,
        compute_capability="{}.{}".format(*gpu.compute_capability),
        multiprocessors=gpu.multiprocessors,
        driver=gpu.driver,
        precision=precision,
        workspace_mib=config.workspace_mib,
        optimization_level=config.optimization_level,
        sparse=config.sparse,
        dla_core=config.dla_core,
    )


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
