"""TensorRT itself, through pycuda: an engine that `blackout build-engine` built, run on one stream.

Never builds: that takes minutes and a robot would stand still without a word. Missing, foreign and damaged engines are
errors that name the command. With `engine.gpu_letterbox` the picture goes up as it came from the camera and a CUDA
kernel writes the network's input; then the stage time `preprocess` is the time to queue that, and `inference` is the
GPU's.
"""

from __future__ import annotations

import atexit
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perception.detection.backends.nvidia.api import TensorRt, import_tensorrt
from perception.detection.backends.nvidia.cache import EngineCache, build_command, cache_directory
from perception.detection.backends.nvidia.cuda import Cuda
from perception.detection.backends.nvidia.engine import Engine, PlanRefusedError
from perception.detection.backends.nvidia.gpu import Gpu, read_gpu
from perception.detection.backends.nvidia.gpu_letterbox import GpuLetterbox, find_kernel
from perception.detection.backends.nvidia.keys import engine_key
from perception.detection.config import DetectionConfig
from perception.detection.letterbox import Placement
from perception.detection.model import ModelMeta
from robot.core.errors import DetectorError, RobotError

_LOG = logging.getLogger(__name__)
INPUT, LOGITS, OFFSETS = "images", "logits", "offsets"
_ON_DEVICE = np.empty((1, 3, 0, 0), np.float32)
"""What `letterbox` returns for a blob: the real one is in the GPU's memory."""


def engine_precision(config: DetectionConfig, meta: ModelMeta) -> str:
    """Return the precision that a model's engine has: of an int8 file int8; else as configured, `auto` being fp16."""
    if meta.precision == "int8":
        return "int8"
    return "fp16" if config.precision == "auto" else config.precision


def tensor_shapes(meta: ModelMeta) -> dict[str, tuple[int, ...]]:
    """Return the network's tensors by name, as its JSON says."""
    width, height = meta.anchors.input_size_px
    count = meta.anchors.count
    return {INPUT: (1, 3, height, width), LOGITS: (1, count, len(meta.classes)), OFFSETS: (1, count, 4)}


class TensorRtBackend:
    """An engine, ready to run; usable from any thread, one call at a time.

    Raises:
        DetectorError: no GPU, no engine for this model, GPU and TensorRT, a damaged one, or no kernel.
        MissingExtraError: TensorRT or pycuda is not installed.
    """

    def __init__(self, meta: ModelMeta, config: DetectionConfig, gpu: Gpu, api: TensorRt) -> None:
        precision = engine_precision(config, meta)
        cache = EngineCache(cache_directory(config.engine))
        key = engine_key(meta.sha256, precision, config.engine, gpu, f"TensorRT {api.version}")
        command = build_command(config, precision, cache.directory)
        plan = cache.read_engine(config.model, key, command)
        on_gpu = config.engine.gpu_letterbox
        kernel = find_kernel(cache.directory, gpu.arch) if on_gpu else None
        self._cuda = Cuda(integrated=gpu.integrated)
        self._engine: Engine | None = None
        self._letterbox: GpuLetterbox | None = None
        try:
            with self._cuda.current():
                self._engine = Engine(api, self._cuda, plan, tensor_shapes(meta), INPUT, fed_on_device=on_gpu)
                if kernel is not None:
                    self._letterbox = GpuLetterbox(
                        self._cuda, kernel, meta.anchors.input_size_px, self._engine.input_address, self._engine.stream
                    )
        except PlanRefusedError as error:
            self.close()
            path = cache.engine_path(config.model, key)
            if not error.out_of_memory:
                cache.discard(path)
            kept = "; it was kept, memory being the reason" if error.out_of_memory else "; it has been deleted"
            raise DetectorError(f"{error.message} ({path.name}{kept})", hint=command) from error
        except BaseException:
            self.close()
            raise
        memory = "mapped" if self._cuda.mapped else "copied"
        where = "GPU" if on_gpu else "processor"
        self.description = (
            f"TensorRT {api.version} {precision} on {gpu.description}, {memory} buffers, letterbox on the {where}"
        )
        atexit.register(self._close_at_exit)

    @property
    def letterboxes(self) -> bool:
        """True where `letterbox` takes the place of the processor's."""
        return self._letterbox is not None

    def letterbox(self, image_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Placement]:
        """Queue a (h, w, 3) uint8 BGR picture's way into the input; give what it returns to `run`, next."""
        with self._cuda.current():
            if self._letterbox is None:
                raise DetectorError("this engine is fed by the processor", hint="engine.gpu_letterbox = true")
            return _ON_DEVICE, self._letterbox(image_bgr)

    def run(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map a (1, 3, H, W) blob, or what `letterbox` queued, to logits (A, C) and offsets (A, 4).

        The results are views of page-locked memory, valid until the next call.

        Raises:
            DetectorError: the GPU or TensorRT failed.
        """
        with self._cuda.current():
            if self._engine is None:
                raise DetectorError("the detector has been closed", hint="load it again")
            if blob is not _ON_DEVICE:
                self._engine.set_input(blob)
            self._engine.run()
            return self._engine.output(LOGITS)[0], self._engine.output(OFFSETS)[0]

    def close(self) -> None:
        """Free everything on the GPU; calling it again does nothing."""
        atexit.unregister(self._close_at_exit)
        if self._cuda.closed:
            return
        try:
            with self._cuda.current():
                if self._letterbox is not None and self._engine is not None:
                    self._engine.stream.synchronize()
                    self._letterbox.close()
                self._letterbox = None
                if self._engine is not None:
                    self._engine.close()
                self._engine = None
        finally:
            self._cuda.close()

    def _close_at_exit(self) -> None:
        """Before pycuda's own end, which aborts over what it finds; a dead GPU must not make a clean exit a crash."""
        try:
            self.close()
        except RobotError as error:
            _LOG.warning("closing the detector: %s", error)


def open_backend(onnx_path: Path, meta: ModelMeta, config: DetectionConfig) -> TensorRtBackend:
    """Open the engine of a model; see `TensorRtBackend`."""
    return TensorRtBackend(meta, config, read_gpu(), import_tensorrt())
