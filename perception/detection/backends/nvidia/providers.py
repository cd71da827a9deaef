"""ONNX Runtime's GPU providers: their options, the model they are given, and the check that their engine was built.

Keys and values as in onnxruntime 1.16 to 1.31 (docs/execution-providers). The TensorRT provider's cache does not
notice another model, GPU or library: so each key has a directory of its own. It builds in silence when the session is
made: so a session is made only where `blackout build-engine --backend onnxruntime` has left its mark.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perception.detection.backends.nvidia.cache import build_command, cache_directory, write_whole
from perception.detection.backends.nvidia.gpu import Gpu, read_gpu
from perception.detection.backends.nvidia.keys import EngineKey, engine_key
from perception.detection.backends.nvidia.onnx_graph import network_for_tensorrt, to_half
from perception.detection.config import DetectionConfig
from perception.detection.model import ModelMeta
from robot.core.errors import DetectorError

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
MARK = "ready.json"
_GPU_MEMORY_BYTES = 1 << 30


def uses_gpu(config: DetectionConfig) -> bool:
    """Return whether any provider of NVIDIA's is allowed."""
    return CUDA in config.providers or TENSORRT in config.providers


def infer_library_version() -> str:
    """Return the versions of the TensorRT libraries that ONNX Runtime could load, newest first; `none` without any."""
    found = []
    for name in ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8"):
        try:
            found.append(str(ctypes.CDLL(name).getInferLibVersion()))
        except (OSError, AttributeError):
            continue
    return "+".join(found) or "none"


def session_key(meta: ModelMeta, config: DetectionConfig, gpu: Gpu, onnxruntime_version: str) -> EngineKey:
    """Return what a TensorRT-provider engine depends on."""
    runtime = f"onnxruntime {onnxruntime_version} with TensorRT {infer_library_version()}"
    return engine_key(meta.sha256, _precision(meta, config), config.engine, gpu, runtime)


def engine_directory(meta: ModelMeta, config: DetectionConfig, key: EngineKey) -> Path:
    """Return the directory of one key."""
    return cache_directory(config.engine) / f"onnxruntime-{meta.name}-{key.precision}-{key.digest}"


def mark_ready(directory: Path, key: EngineKey) -> None:
    """Say that the engine in a directory is whole: written once a session has been made and has run."""
    about = {"key": asdict(key), "engines": _engines(directory)}
    write_whole(directory / MARK, (json.dumps(about, indent=1) + "\n").encode())


def is_ready(directory: Path) -> bool:
    """Whether the engines in a directory are those that its mark names: of a lost one the provider builds another."""
    try:
        about = json.loads((directory / MARK).read_text(encoding="utf-8"))
        return bool(about["engines"] == _engines(directory))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _engines(directory: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(directory.glob("*.engine"))}


def provider_list(
    meta: ModelMeta, config: DetectionConfig, onnxruntime_version: str, *, building: bool
) -> list[str | tuple[str, dict[str, Any]]]:
    """Return the providers with their options, for `InferenceSession(providers=...)`.

    Args:
        meta: of the model.
        config: providers, precision, engine options.
        onnxruntime_version: goes into the key.
        building: allow the TensorRT provider to build (`blackout build-engine`); otherwise the engine must be there.

    Raises:
        DetectorError: no GPU, the engine has not been built, or the precision needs a GPU.
    """
    if not uses_gpu(config):
        if config.precision == "fp16":
            raise DetectorError(
                "fp16 runs on a GPU only", hint='precision = "fp32", or providers = ["CUDAExecutionProvider"]'
            )
        return list(config.providers)
    gpu = read_gpu()
    return [_with_options(name, meta, config, gpu, onnxruntime_version, building) for name in config.providers]


def _with_options(
    name: str, meta: ModelMeta, config: DetectionConfig, gpu: Gpu, version: str, building: bool
) -> str | tuple[str, dict[str, Any]]:
    if name == CUDA:
        return name, {
            "device_id": 0,
            "arena_extend_strategy": "kSameAsRequested",  # the default doubles, and a Jetson's memory is shared
            "gpu_mem_limit": _GPU_MEMORY_BYTES,
            "cudnn_conv_algo_search": "EXHAUSTIVE",  # shapes are fixed: searched once, in warm_up
        }
    if name != TENSORRT:
        return name
    key = session_key(meta, config, gpu, version)
    directory = engine_directory(meta, config, key)
    if building:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MARK).unlink(missing_ok=True)  # until this build has ended nothing here is whole
    elif not is_ready(directory):
        where = f"in {directory.parent}"
        if (directory / MARK).is_file():
            where = f"that is whole in {directory}: it was damaged"
        raise DetectorError(
            f"no TensorRT engine of ONNX Runtime for this model and GPU {where}",
            hint=build_command(config, key.precision, cache_directory(config.engine)),
        )
    options: dict[str, Any] = {
        "device_id": 0,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(directory),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(directory),
        "trt_max_workspace_size": config.engine.workspace_mib << 20,
        "trt_builder_optimization_level": config.engine.optimization_level,
        "trt_fp16_enable": key.precision in ("fp16", "int8"),
        "trt_int8_enable": key.precision == "int8",  # the model's own Q/DQ: no calibration table
        "trt_sparsity_enable": config.engine.sparse,
    }
    if config.engine.dla_core >= 0:
        options |= {"trt_dla_enable": True, "trt_dla_core": config.engine.dla_core}
    return name, options


def session_model(onnx_path: Path, meta: ModelMeta, config: DetectionConfig) -> str | bytes:
    """Return what to give `InferenceSession`: the file, or the model made fit for the GPU providers."""
    precision = _precision(meta, config)
    if TENSORRT in config.providers and precision == "int8":
        return network_for_tensorrt(onnx_path, precision, typed=False)
    if TENSORRT not in config.providers and CUDA in config.providers and precision == "fp16":
        return to_half(onnx_path.read_bytes())
    return str(onnx_path)


def _precision(meta: ModelMeta, config: DetectionConfig) -> str:
    if meta.precision == "int8":
        return "int8"
    auto = "fp16" if TENSORRT in config.providers else "fp32"
    return auto if config.precision == "auto" else config.precision
