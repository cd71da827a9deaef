"""Which TensorRT is this? Features are probed, never inferred from the version.

From 8.6 over 10 to 11 names came and went (EXPLICIT_BATCH and the precision flags are gone in 11, the binding calls in
10), and a workstation and a Jetson are usually a major version apart.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from robot.core.errors import DetectorError, MissingExtraError

_TENSOR_NAME_CALLS = ("num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_shape", "get_tensor_dtype")


@dataclass(frozen=True, kw_only=True)
class TensorRt:
    """A TensorRT module and what it can do.

    Args:
        module: the imported package.
        version: e.g. `10.3.0`; plans run only on the very same one.
        explicit_batch_flag: networks must be asked for with it (8.x); accepted and ignored in 10; gone in 11.
        precision_flags: FP16 and INT8 are builder flags (to 10.x); without them the network's own types rule (11).
    """

    module: Any
    version: str
    explicit_batch_flag: bool
    precision_flags: bool

    @property
    def network_flags(self) -> int:
        """What `create_network` must be given."""
        flags = self.module.NetworkDefinitionCreationFlag
        return 1 << int(flags.EXPLICIT_BATCH) if self.explicit_batch_flag else 0


def import_tensorrt() -> TensorRt:
    """Import TensorRT and probe it.

    Raises:
        MissingExtraError: it is not installed, or its libraries do not load.
        DetectorError: it is older than 8.5 and has no tensor-name calls.
    """
    try:
        module = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:  # OSError: libnvinfer is missing or of another version
        raise MissingExtraError(
            f"TensorRT's Python package does not load ({error})",
            hint="on a Jetson: sudo apt-get install python3-libnvinfer, and make the environment with "
            "python3 -m venv --system-site-packages .venv",
        ) from error
    version = str(getattr(module, "__version__", "unknown"))
    lacking = [name for name in _TENSOR_NAME_CALLS if not hasattr(module.ICudaEngine, name)]
    lacking += [] if hasattr(module.IExecutionContext, "execute_async_v3") else ["execute_async_v3"]
    if lacking:
        raise DetectorError(
            f"TensorRT {version} is too old: it has no {', '.join(lacking)}",
            hint="flash JetPack 6 (TensorRT 8.5 or later); on an original Nano: "
            'backend = "onnxruntime", providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]',
        )
    return TensorRt(
        module=module,
        version=version,
        explicit_batch_flag=hasattr(module.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"),
        precision_flags=hasattr(module.BuilderFlag, "FP16") and hasattr(module.BuilderFlag, "INT8"),
    )
