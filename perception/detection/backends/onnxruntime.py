"""ONNX Runtime, with the execution providers that the config allows and no others.

ONNX Runtime falls back to the processor without a word when a GPU provider cannot start: a robot would then play with a
tenth of its frame rate. So the providers of the session are compared with those asked for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perception.detection.backends.nvidia.providers import CPU, provider_list, session_model, uses_gpu
from perception.detection.config import DetectionConfig
from perception.detection.model import ModelMeta
from robot.core.errors import DetectorError, MissingExtraError, RobotError

__all__ = ["CPU", "OnnxRuntimeBackend", "check_providers", "open_backend"]
INPUT, OUTPUTS = "images", ("logits", "offsets")


class OnnxRuntimeBackend:
    """One inference session.

    Args:
        onnx_path: the model.
        meta: its JSON.
        config: providers, precision, threads, engine options.
        building: let the TensorRT provider build its engine (`blackout build-engine`).

    Raises:
        DetectorError: a provider did not come up, or the file's inputs and outputs do not fit its JSON.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, onnx_path: Path, meta: ModelMeta, config: DetectionConfig, *, building: bool = False) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(
                "onnxruntime is not installed", hint="pip install onnxruntime (on a Jetson: NVIDIA's wheel)"
            ) from error
        missing = [p for p in config.providers if p not in onnxruntime.get_available_providers()]
        if missing:
            raise DetectorError(
                f"this onnxruntime has no {', '.join(missing)}",
                hint=f'install a build that has it, or set providers = ["{CPU}"]',
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning second thread takes a core from control and from the camera; measured in docs/results-detector.md.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if config.spin else "0")
        # No input or output binding: a call costs 3.4 us without and 2.1 us with it, and a network milliseconds.
        providers = provider_list(meta, config, onnxruntime.__version__, building=building)
        if uses_gpu(config) and CPU not in config.providers:
            # The processor is always a session's last resort; here no node of the network may end on it.
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                session_model(onnx_path, meta, config), options, providers=providers, enable_fallback=0
            )
        except RobotError:
            raise
        except Exception as error:
            mend = f'blackout doctor; or set providers = ["{CPU}"]' if uses_gpu(config) else "export it again"
            raise DetectorError(f"onnxruntime cannot load {onnx_path}: {error}", hint=mend) from error
        self._session.disable_fallback()  # nor may a failed run be tried again on the processor
        check_providers(config.providers, tuple(self._session.get_providers()))
        width, height = meta.anchors.input_size_px
        expected = {INPUT: [1, 3, height, width], "logits": [1, meta.anchors.count, len(meta.classes)]}
        expected["offsets"] = [1, meta.anchors.count, 4]
        actual = {v.name: v.shape for v in (*self._session.get_inputs(), *self._session.get_outputs())}
        if actual != expected:
            raise DetectorError(
                f"{onnx_path.name} has {actual}, its JSON says {expected}",
                hint="export it again: python -m perception.training.export RUN",
            )
        threads = "1 thread" if config.threads == 1 else f"{config.threads} threads"
        self.description = f"onnxruntime {onnxruntime.__version__} {', '.join(config.providers)}, {threads}"

    def run(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map a (1, 3, H, W) blob to logits (A, C) and offsets (A, 4)."""
        logits, offsets = self._session.run(OUTPUTS, {INPUT: blob})
        return logits[0], offsets[0]


def check_providers(asked: tuple[str, ...], running: tuple[str, ...]) -> None:
    """Raise where the session's providers are not those asked for (the processor is always its last resort).

    Raises:
        DetectorError: one did not come up.
    """
    lost = [p for p in asked if p not in running]
    if lost:
        raise DetectorError(
            f"onnxruntime started without {', '.join(lost)} (running: {', '.join(running)})",
            hint=f'check the driver and CUDA libraries, or set providers = ["{CPU}"]',
        )


def open_backend(onnx_path: Path, meta: ModelMeta, config: DetectionConfig) -> OnnxRuntimeBackend:
    """Open the session."""
    return OnnxRuntimeBackend(onnx_path, meta, config)
