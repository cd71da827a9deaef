"""Backends: whatever runs the network. One module each; its name is what a config says.

A module defines `open_backend(onnx_path, meta, config) -> Backend`. It raises `DetectorError`, with the mend, when
what was asked for is not there; it never falls back to something else. Folders beside the modules are their parts.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from perception.detection.config import DetectionConfig
from perception.detection.letterbox import Letterbox, Placement
from perception.detection.model import ModelMeta
from robot.core.errors import DetectorError


class Backend(Protocol):
    """A network that is ready to run."""

    description: str
    """What really runs it, for logs, e.g. `onnxruntime 1.31.1 CPUExecutionProvider, 1 thread`."""

    def run(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map a (1, 3, H, W) blob to logits (A, C) and offsets (A, 4)."""
        ...


class Preprocess(Protocol):
    """Turns a picture into what `Backend.run` takes, and says where the picture lies in it."""

    def __call__(self, image_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Placement]:
        """Map a (h, w, 3) uint8 BGR picture to a blob; valid until the next call."""
        ...


def preprocessor(backend: Backend, input_size_px: tuple[int, int]) -> Preprocess:
    """Return the backend's own letterbox where it has one (on the GPU), else the processor's."""
    if getattr(backend, "letterboxes", False):
        return cast(Preprocess, backend.letterbox)  # type: ignore[attr-defined]
    return Letterbox(input_size_px)


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
