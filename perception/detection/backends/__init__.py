"""Backends: whatever runs the network. One module each; its name is what a config says.

A module defines `open_backend(onnx_path, meta, config) -> Backend`. It raises `DetectorError`, with the mend, when
what was asked for is not there; it never falls back to something else.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from perception.detection.config import DetectionConfig
from perception.detection.model import ModelMeta
from robot.core.errors import DetectorError


class Backend(Protocol):
    """A network that is ready to run."""

    description: str
    """What really runs it, for logs, e.g. `onnxruntime 1.31.1 CPUExecutionProvider, 1 thread`."""

    def run(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map a (1, 3, H, W) blob to logits (A, C) and offsets (A, 4)."""
        ...


def backend_names() -> tuple[str, ...]:
    """Return the backends that this installation has."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__"))


def open_backend(onnx_path: Path, meta: ModelMeta, config: DetectionConfig) -> Backend:
    """Open the backend that the config names.

    Raises:
        DetectorError: no such backend, or it cannot run here.
    """
    if config.backend not in backend_names():
        raise DetectorError(f"no detector backend '{config.backend}'", hint=f"one of: {', '.join(backend_names())}")
    module = importlib.import_module(f"{__name__}.{config.backend}")
    return cast(Backend, module.open_backend(onnx_path, meta, config))
